"""Servers that are tied to a process end with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jenkins_release.sandbox.dockerd import DockerDaemon
from jenkins_release.sandbox.process import alive
from jenkins_release.sandbox.stack import Sandbox
from tests.fixtures.share import eventually

_HEAD = """
import sys, time
from pathlib import Path
from jenkins_release.sandbox.dockerd import DockerDaemon
from jenkins_release.sandbox.process import Server
from jenkins_release.sandbox.registry import RegistryServer
from jenkins_release.sandbox.samba import SambaServer, SambaShare
folder = Path(sys.argv[1])
"""
_SERVERS = {
    "registry": "server = RegistryServer(folder)",
    # As root it changes its user, which clears a parent death signal (prctl(2)).
    "samba": "server = SambaServer(folder, {'x': SambaShare(folder / 'x')}, user='u', password='p')",
    "dockerd": "server = DockerDaemon(folder)",
    "stubborn": (
        "class Stubborn(Server):\n"
        "    def start(self, tied):\n"
        "        script = f'trap \"\" TERM; touch {folder}/ready; while :; do sleep 0.1; done'\n"
        "        super().start(['/bin/sh', '-c', script], (folder / 'ready').exists, tied=tied)\n"
        "import jenkins_release.sandbox.process as process\n"
        "process._GRACE_S = 0.5\n"
        "server = Stubborn('sleeper', folder)"
    ),
}
_HANGS_UP = ("env", "--default-signal=HUP")
"""For a parent that SIGHUP has to end, also where the tests ignore it, as under nohup."""
_RUN = """
server.start(tied=True)
print(server.pid(), flush=True)
time.sleep(600)
"""
_SMALL_DEMO = """
import sys
from jenkins_release.program import run
from jenkins_release.sandbox.demo import story
story.BASE_SIZE, story.OWN_SIZE = 1_000_000, 100_000
sys.argv = ["jenkins-release", "sandbox", "demo"]
run()
"""
"""The demo with small images: it is ended before they are moved."""


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a short path: those of Samba's sockets are limited."""
    with tempfile.TemporaryDirectory(prefix="jr-", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Callable[[str], tuple[subprocess.Popen[str], int]]]:
    """Start a process that starts a server, tied to it; returns the process and the server's pid."""
    started: list[tuple[subprocess.Popen[str], int]] = []

    def start(name: str) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [*_HANGS_UP, sys.executable, "-c", f"{_HEAD}{_SERVERS[name]}{_RUN}", str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.strip().isdigit(), f"it did not start: {line}"
        started.append((process, int(line)))
        return started[-1]

    yield start
    for process, pid in started:
        process.kill()
        process.communicate()
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def family(pid: int) -> dict[int, str]:
    """Return the process and its descendants with their names."""
    found = {}
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        found[current] = Path(f"/proc/{current}/comm").read_text().strip()
        for task in Path(f"/proc/{current}/task").iterdir():
            waiting += map(int, (task / "children").read_text().split())
    return found


@pytest.mark.parametrize(
    "server", [pytest.param(name, marks=pytest.mark.root if name == "dockerd" else ()) for name in _SERVERS]
)
def test_a_tied_server_ends_when_its_parent_is_killed(server, parent):
    """SIGKILL leaves no time to clean up. dockerd's containerd ends too, and who ignores SIGTERM."""
    process, pid = parent(server)
    everyone = family(pid)
    assert server != "dockerd" or "containerd" in everyone.values()
    process.kill()
    assert eventually(lambda: not [one for one in everyone if alive(one)], within_s=40), everyone


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_tied_server_ends_whatever_signal_ends_its_parent(number, parent):
    """A closed terminal, ``timeout`` and Ctrl-C, of a program that does not clean up."""
    process, pid = parent("registry")
    process.send_signal(number)
    assert eventually(lambda: not alive(pid), within_s=40)


def test_a_daemon_that_sudo_started_ends_with_its_parent(unprivileged):
    """The user may not send it a signal, and sudo clears a parent death signal."""
    unprivileged.let_sudo_in()
    script = f"{_HEAD}{_SERVERS['dockerd']}{_RUN}"
    process = subprocess.Popen(
        unprivileged.python(script, str(unprivileged.folder / "d")),
        env=unprivileged.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    try:
        assert Path(f"/proc/{pid}").stat().st_uid == 0
        everyone = family(pid)
        assert {"dockerd", "containerd"} <= set(everyone.values())
        process.kill()
        assert eventually(lambda: not [one for one in everyone if alive(one)], within_s=40), everyone
    finally:
        process.kill()
        process.communicate()
        if alive(pid):
            os.kill(pid, signal.SIGTERM)
            assert eventually(lambda: not alive(pid))
        DockerDaemon(unprivileged.folder / "d").remove_data()


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_no_server_is_left_of_a_start_that_is_ended(number, short_folder):
    """It may have no time to stop them: they are tied to it until all of them run."""
    box = short_folder / "box"
    environ = {"PATH": os.environ["PATH"], "DOCKER_HOST": f"unix://{short_folder}/none.sock"}
    process = subprocess.Popen(
        [*_HANGS_UP, sys.executable, "-m", "jenkins_release", "sandbox", "start", "--folder", str(box)],
        env=environ,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert eventually(lambda: (box / "ecr" / "ecr-front.pid").exists(), within_s=60)
        everyone = [
            one for pid in Sandbox(box, environ=environ).servers().values() if pid for one in family(pid)
        ]
        assert len(everyone) >= 4
        process.send_signal(number)
        assert process.wait(60) != 0
        assert eventually(lambda: not [one for one in everyone if alive(one)], within_s=60), everyone
        assert not any(Sandbox(box, environ=environ).servers().values())
    finally:
        process.kill()
        process.wait()
        Sandbox(box, environ=environ).remove()


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_of_a_demo_that_is_ended(number, short_folder):
    """Neither a server nor a file, of root or of the user, though an ended command has no time for that."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(short_folder),
        "TMPDIR": str(short_folder),
        "DOCKER_HOST": f"unix://{short_folder}/none.sock",
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(
        [*_HANGS_UP, sys.executable, "-c", _SMALL_DEMO],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert any("Jenkins exports the candidate" in line for line in process.stdout)
    (box,) = short_folder.glob("jenkins-release-demo-*/sandbox")
    pids = [pid for pid in Sandbox(box, environ=environ).servers().values() if pid]
    assert len(pids) == 5
    os.kill(process.pid, number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert eventually(lambda: not [pid for pid in pids if alive(pid)], within_s=60)
    assert eventually(lambda: not list(short_folder.glob("jenkins-release-demo-*")), within_s=60)
