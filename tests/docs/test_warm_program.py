"""The program that the examples start is like the real one for a shell."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.fixtures.configuration import release_toml
from tests.fixtures.process import started
from tests.fixtures.silence import GENEROUS_S

_SECRETS = {"JENKINS_RELEASE_SMB_USER": "u", "JENKINS_RELEASE_SMB_PASSWORD": "hunter2hunter2"}


def test_it_prints_and_ends_like_the_real_one(warm_program: Path, tmp_path: Path):
    """Arguments, folder, variables and mask; both streams and the status."""
    (tmp_path / "release.toml").write_text("[product]\nname = 7\n")
    real = [sys.executable, "-m", "jenkins_release"]
    script = 'umask 027; "$@" --result out/result.json; status=$?; stat -c %a out/result.json; exit $status'
    for words in (["candidate", "list", "--json"], ["candidate", "list", "it's \u00fc"], ["no-such"]):
        ends = []
        for program in (real, [str(warm_program / "jenkins-release")]):
            folder = tmp_path / f"{len(ends)}" / "out"
            folder.mkdir(parents=True, exist_ok=True)
            environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
            environ["JENKINS_RELEASE_CONFIG"] = "../release.toml"
            done = subprocess.run(
                ["sh", "-c", script, "sh", *program, *words],
                cwd=folder.parent,
                env=environ,
                capture_output=True,
                text=True,
                check=False,
            )
            ends.append((done.returncode, done.stdout, done.stderr))
        assert ends[0] == ends[1]
        assert ends[0][0] == 2, ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it_like_the_real_one(warm_program: Path, tmp_path: Path, number: signal.Signals):
    """SIGTERM comes through; after SIGKILL nothing goes on behind the caller's back."""
    config, result = tmp_path / "release.toml", tmp_path / "result.json"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(GENEROUS_S)
        config.write_text(release_toml(f"smb://127.0.0.1:{server.getsockname()[1]}/rc"))
        words = ["candidate", "list", "--config", str(config), "--result", str(result)]
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **_SECRETS}
        process = started([str(warm_program / "jenkins-release"), *words], environ)
        with server.accept()[0] as connection:
            process.send_signal(number)
            _, err = process.communicate(timeout=GENEROUS_S)
            connection.settimeout(GENEROUS_S)
            while connection.recv(4096):  # until the run, wherever it is, has ended
                pass
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGKILL: -9}[number], err
    if number == signal.SIGTERM:
        assert json.loads(result.read_text())["error"]["category"] == "interrupted"
