"""``sandbox start --domain`` and ``sandbox demo --domain``: a release on a share as companies have it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.remains import left_behind

PROGRAM = [sys.executable, "-m", "jenkins_release"]
LOCATION = r"\\corp.example\share\data\release_candidate"

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]


def jenkins_release(*words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("JENKINS_RELEASE_")}
    done = subprocess.run(
        [*PROGRAM, *words], env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Folder of a sandbox, which is removed without a trace."""
    path = tmp_path / "box"
    yield path
    jenkins_release("sandbox", "stop", "--folder", str(path), "--remove")
    assert not path.exists()
    assert left_behind(path) == []


def test_commands_work_in_its_network(folder: Path) -> None:
    """Started, looked at, used, stopped, and started again with what it stored."""
    at = ("--folder", str(folder))
    started = jenkins_release("sandbox", "start", "--domain", *at)
    assert f"share {LOCATION}" in started.stderr
    assert "JENKINS_RELEASE_SMB_PASSWORD" not in started.stdout
    assert str(folder / "domain" / "release.keytab") in started.stdout
    status = json.loads(jenkins_release("sandbox", "status", *at, "--json").stdout)
    assert set(status["servers"]) >= {"dockerd", "samba-dc1", "smbd-fs1", "smbd-fs2"}
    assert all(status["servers"].values())
    # Nothing of it is on the machine's own network.
    with pytest.raises(OSError, match=r".*"), socket.create_connection(("127.0.0.1", 445), timeout=2):
        pass
    inside = ("sandbox", "enter", *at, "--", *PROGRAM)
    doctor = json.loads(jenkins_release(*inside, "doctor", "--for", "build", "--json").stdout)
    found = {check["name"]: check for check in doctor["checks"] if check["name"].startswith("share")}
    assert {check["status"] for check in found.values()} == {"ok"}, found
    assert "in use" in found[r"share: target fs1.corp.example\data"]["said"]
    assert "could be used instead" in found[r"share: target fs2.corp.example\data"]["said"]
    exported = jenkins_release(*inside, "candidate", "export", "--version", "8.1.0", "--build", "42", "-v")
    assert rf"{LOCATION}\SkyDRM\8.1.0\42" in exported.stdout + exported.stderr
    assert (
        "with Kerberos as release@CORP.EXAMPLE for cifs/fs1.corp.example, SMB 3.1.1, encrypted"
        in exported.stderr
    )
    assert rf"{LOCATION} is \\fs1.corp.example\data\release_candidate" in exported.stderr
    listed = jenkins_release(*inside, "candidate", "list").stdout
    assert "8.1.0/42" in listed
    jenkins_release("sandbox", "stop", *at)
    assert left_behind(folder) == []
    jenkins_release("sandbox", "start", *at)
    assert jenkins_release(*inside, "candidate", "list").stdout == listed


def test_a_whole_release() -> None:
    """The demo's path, through the domain-based DFS path with a keytab."""
    done = jenkins_release("sandbox", "demo", "--domain")
    assert f"share {LOCATION}" in done.stdout
    assert "19 steps, all as expected." in done.stdout
