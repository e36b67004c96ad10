"""Servers of the sandbox: which process is one, what its start leaves, and that every wait for it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from jenkins_release.base.errors import RemoteError
from jenkins_release.sandbox.aws.moto_server import MotoServer
from jenkins_release.sandbox.front.server import EcrServer
from jenkins_release.sandbox.process import LOOPBACK, Server, alive, free_port
from jenkins_release.sandbox.registry import RegistryServer
from tests.fixtures.share import eventually
from tests.fixtures.unprivileged import Unprivileged

SLEEP = ["/bin/sleep", "600"]


class Starts(Protocol):
    """A server with a port."""

    def start(self, *, tied: bool = False) -> int:
        """Start it."""

    def pid(self) -> int | None:
        """Return its pid."""

    def stop(self) -> None:
        """End it."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that does nothing."""
    made = Server("sleeper", tmp_path)
    yield made
    made.stop()


def test_a_pid_that_is_another_process_by_now_is_left_alone(server: Server):
    """After a restart of the machine the number in the pid file may be anybody's."""
    with subprocess.Popen(SLEEP) as other:
        try:
            moment = time.monotonic()
            assert eventually(lambda: time.monotonic() > moment + 0.1)  # ten ticks of proc_pid_stat(5)
            old = server.start(SLEEP, lambda: True)
            known = server.pid_file.read_text()
            server.stop()
            server.pid_file.write_text(known.replace(str(old), str(other.pid), 1))
            assert server.pid() is None
            server.stop()
            assert other.poll() is None
        finally:
            other.kill()


def test_a_running_server_is_not_started_twice(server: Server):
    """The second one would take the pid file, and the first would stay behind for ever."""
    first = server.start(SLEEP, lambda: True)
    try:
        assert server.start(SLEEP, lambda: True) == first
        server.stop()
        assert not alive(first)
    finally:
        if alive(first):
            os.kill(first, signal.SIGKILL)


def test_a_start_that_is_interrupted_leaves_no_server(server: Server):
    """Ctrl-C comes while it is not ready yet."""
    seen: list[int | None] = []

    def ready() -> bool:
        seen.append(server.pid())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        server.start(SLEEP, ready)
    (pid,) = seen
    assert pid is not None
    assert not alive(pid)
    assert not server.pid_file.exists()


def test_the_log_of_an_earlier_start_is_no_reason(server: Server):
    """The log goes on from start to start; an error quotes what this one wrote."""
    with pytest.raises(RemoteError, match="ended with status 3: the disk is full"):
        server.start(["/bin/sh", "-c", "echo the disk is full; exit 3"], lambda: False)
    with pytest.raises(RemoteError, match="ended with status 4: it wrote nothing to its log"):
        server.start(["/bin/sh", "-c", "exit 4"], lambda: False)


def test_of_a_long_log_the_last_lines_are_told(server: Server):
    """Without reading what came before."""
    script = "head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; for i in 1 2 3 4 5; do echo $i; done; exit 3"
    with pytest.raises(RemoteError, match=r"ended with status 3: 1 / 2 / 3 / 4 / 5$"):
        server.start(["/bin/sh", "-c", script], lambda: False)


@pytest.mark.parametrize(
    ("script", "why"), [("echo no room >&2; exit 1", "no room"), ("exit 0", "its watchdog says nothing")]
)
def test_a_watchdog_that_does_not_begin_is_an_error(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, why: str
):
    """Else the server would stay when this process is killed."""
    broken = tmp_path / "python"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(RemoteError, match=f"sleeper cannot be tied to this process: {why}"):
        server.start(SLEEP, lambda: True, tied=True)
    assert server.pid() is None


def test_a_tied_server_that_ends_at_once_is_told_as_such(server: Server):
    """There may be nothing left to watch."""
    with pytest.raises(RemoteError, match="ended with status 3: no luck"):
        server.start(["/bin/sh", "-c", "echo no luck; exit 3"], lambda: False, tied=True)


@pytest.mark.parametrize("kind", ["registry", "ecr", "moto"])
def test_whoever_has_the_port_is_not_taken_for_the_server(kind: str, tmp_path: Path):
    """The port is free when it is chosen, and may be somebody's when a stopped sandbox starts again."""
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        made: dict[str, Starts] = {
            "registry": RegistryServer(tmp_path, port=port),
            "ecr": EcrServer(tmp_path, free_port(), port=port),
            "moto": MotoServer(tmp_path, port=port),
        }
        server = made[kind]
        try:
            with pytest.raises(RemoteError, match=f"port {port} is taken"):
                server.start(tied=True)
            assert server.pid() is None
        finally:
            server.stop()


def test_a_server_of_root_that_sudo_no_longer_ends_is_named(unprivileged: Unprivileged):
    """Neither is it waited for without end, nor forgotten: its pid stays known."""
    unprivileged.let_sudo_in()
    sudo = unprivileged.folder / "bin" / "sudo"
    script = (
        "from pathlib import Path\n"
        "from jenkins_release.base.errors import ReleaseError\n"
        "from jenkins_release.sandbox.process import Server\n"
        "server = Server('sleeper', Path(sys.argv[1]) / 'state', root=True)\n"
        "print(server.start(['sleep', '600'], lambda: True), flush=True)\n"
        "sys.stdin.readline()\n"
        "try:\n"
        "    server.stop(timeout_s=0.5)\n"
        "except ReleaseError as error:\n"
        "    print(error, flush=True)\n"
        "print(server.pid(), flush=True)\n"
    )
    process = subprocess.Popen(
        unprivileged.python(script, str(unprivileged.folder)),
        env=unprivileged.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    try:
        assert eventually(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
        sudo.unlink()
        unprivileged.let_sudo_ask()
        said, _ = process.communicate("\n", timeout=60)
        assert f"sleeper, process {pid}, does not end: sudo: a password is required" in said
        assert said.splitlines()[-1] == str(pid)
    finally:
        process.kill()
        process.communicate()
        os.kill(pid, signal.SIGKILL)


def test_it_stays_when_it_is_untied(tmp_path: Path):
    """While a sandbox starts its servers end with the command; afterwards they stay."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom jenkins_release.sandbox.process import Server\n"
        "server = Server('sleeper', Path(sys.argv[1]))\n"
        "server.start(['sleep', '600'], lambda: True, tied=True)\nserver.untie()\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)
    server = Server("sleeper", tmp_path)
    pid = server.pid()
    try:
        assert pid is not None
        # A watchdog that saw its parent end would have ended it within milliseconds.
        assert not eventually(lambda: not alive(pid), within_s=2)
    finally:
        server.stop()
    assert not alive(pid)
