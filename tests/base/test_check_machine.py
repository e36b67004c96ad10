"""`make demo` and `make test` look first: one list of what is missing, and nothing is changed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.fixtures.share import eventually
from tests.fixtures.unprivileged import SYSTEM_PYTHON, Unprivileged

_OLD = f"""#!/bin/sh
[ "$1" = -c ] && exec {SYSTEM_PYTHON} -c "import sys; sys.version_info = (3, 9, 2, 'final', 0)
$2"
exec {SYSTEM_PYTHON} "$@"
"""


_HEARS = ("env", "--default-signal=INT,TERM,HUP")
"""For what signals have to end, also where the tests ignore some, as under nohup."""


@pytest.fixture
def repository(unprivileged: Unprivileged) -> Path:
    """The Makefile and the scripts, in a folder of the user."""
    folder = unprivileged.folder / "repository"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    shutil.copy(ROOT / "Makefile", folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shutil.chown(folder, "nobody")
    return folder


def make(
    user: Unprivileged, repository: Path, *words: str, prepare: str = ":", **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run make as the user, on a machine that ``prepare`` changes for it (mount_namespaces(7))."""
    command = user.command("make", "-C", str(repository), *words)
    return subprocess.run(
        ["unshare", "--mount", "sh", "-ec", f'{prepare}\nexec "$@"', "sh", *command],
        env={"PYTHON": SYSTEM_PYTHON, **user.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def lines(ended: subprocess.CompletedProcess[str]) -> str:
    assert ended.returncode == 2, ended.stdout + ended.stderr
    return ended.stderr


@pytest.mark.parametrize("target", ["demo", "test", "setup"])
def test_everything_is_in_one_list(target: str, unprivileged: Unprivileged, repository: Path):
    """Python, packages, Docker and why not, disk space; the commands are for an administrator."""
    unprivileged.let_sudo_ask()
    old = unprivileged.folder / "bin" / "old-python"
    old.write_text(_OLD)
    old.chmod(0o755)
    small = unprivileged.folder / "small"
    small.mkdir()
    found = [path for name in ("docker-registry", "git", "awk") if (path := shutil.which(name))]
    hidden = "\n".join(f"mount --bind /dev/null {Path(path).resolve()}" for path in found)
    begun = time.monotonic()
    ended = make(
        unprivileged,
        repository,
        target,
        prepare=f"{hidden}\nmount -t tmpfs -o size=1m,mode=777 none {small}",
        PYTHON=str(old),
        TMPDIR=str(small),
    )
    assert time.monotonic() - begun < 30
    said = lines(ended)
    assert f"make {target} cannot run here: " in said
    assert "Python 3.11 or newer: " in said
    assert "is 3.9.2" in said
    packages = "docker-registry" if target == "demo" else "docker-registry git"
    assert f"\n    apt-get install -y --no-install-recommends {packages}\n" in said
    none = f"{unprivileged.folder}/none.sock"
    docker = f"a Docker daemon: no Docker daemon listens on {none}; and one of the sandbox's own takes root"
    for text in (docker, "sudo: a password is required", "usermod -aG docker nobody"):
        assert (text in said) is (target != "setup")  # which starts none
    assert ("disk space: the demo needs 1000 MB" in said) is (target == "demo")
    assert "Nothing was installed or changed." in said
    assert "awk" not in said  # nothing needs one
    assert sorted(path.name for path in repository.iterdir()) == ["Makefile", "scripts"]


def test_a_socket_that_the_user_may_not_use_is_named(unprivileged: Unprivileged, repository: Path):
    """With the group that owns it."""
    path = unprivileged.folder / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o660)
        said = lines(make(unprivileged, repository, "demo", DOCKER_HOST=f"unix://{path}"))
    assert f"nobody may not use {path}: it belongs to the group root" in said


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b'HTTP/1.0 200 OK\r\n\r\n{"Components": [{"Name": "Podman Engine"}]}', "is Podman, which cannot"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no Docker daemon answers on"),
    ],
)
def test_what_is_no_docker_daemon_is_named(
    answer: bytes, reason: str, unprivileged: Unprivileged, repository: Path
):
    """Podman by its name, and what is no daemon at all."""
    path = unprivileged.folder / "docker.sock"
    program = (
        "import socket, sys\n"
        "server = socket.socket(socket.AF_UNIX)\nserver.bind(sys.argv[1])\nserver.listen()\n"
        "print(flush=True)\n"
        "while True:\n"
        "    client, _ = server.accept()\n"
        "    client.recv(1000)\n"
        f"    client.sendall({answer!r})\n"
        "    client.close()\n"
    )
    with subprocess.Popen(
        unprivileged.command(SYSTEM_PYTHON, "-c", program, str(path)), stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()
        try:
            said = lines(make(unprivileged, repository, "demo", DOCKER_HOST=f"unix://{path}"))
        finally:
            server.kill()
    assert reason in said


def test_a_daemon_that_the_user_may_use_is_enough(
    docker_daemon, unprivileged: Unprivileged, repository: Path
):
    """Without root and sudo nothing is missing then; what is set up stays as it is."""
    theirs = Path(docker_daemon.base_url.removeprefix("unix://"))
    path = unprivileged.folder / "docker.sock"
    # Another way to the same daemon, which lets the user in as its group would.
    relay = (
        "import socket, sys, threading\n"
        "def copy(a, b):\n"
        "    while piece := a.recv(65536): b.sendall(piece)\n"
        "    b.shutdown(socket.SHUT_WR)\n"
        "server = socket.socket(socket.AF_UNIX)\nserver.bind(sys.argv[1])\nserver.listen()\n"
        "import os; os.chmod(sys.argv[1], 0o666); print(flush=True)\n"
        "while True:\n"
        "    client, _ = server.accept()\n"
        "    daemon = socket.socket(socket.AF_UNIX); daemon.connect(sys.argv[2])\n"
        "    for pair in ((client, daemon), (daemon, client)):\n"
        "        threading.Thread(target=copy, args=pair, daemon=True).start()\n"
    )
    with subprocess.Popen(
        [SYSTEM_PYTHON, "-c", relay, str(path), str(theirs)], stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()
        try:
            ended = make(unprivileged, repository, "machine-demo", DOCKER_HOST=f"unix://{path}")
        finally:
            server.kill()
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_installation_that_is_ended_lets_services_start_again(number: int, unprivileged: Unprivileged):
    """While packages are installed no service may start; Debian's shell runs no EXIT trap on a signal."""
    apt, begun = unprivileged.folder / "bin" / "apt-get", unprivileged.folder / "begun"
    apt.write_text(f"#!/bin/sh\ntouch {begun}\nexec sleep 60\n")
    apt.chmod(0o755)
    # Nothing is in /usr/sbin: packages are missing, and what is written there is seen here only.
    script = 'mount -t tmpfs none /usr/sbin\ntrap : INT TERM HUP\n"$@" || true\nls /usr/sbin'
    process = subprocess.Popen(
        [
            "unshare",
            "--mount",
            *_HEARS,
            "sh",
            "-c",
            script,
            "sh",
            ROOT / "scripts" / "install-debian-packages",
            "demo",
        ],
        env={**unprivileged.environ, "TMPDIR": str(unprivileged.folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert eventually(begun.exists)
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "policy-rc.d" not in out, err
    assert [path.name for path in unprivileged.folder.iterdir() if path.name.startswith("tmp.")] == []


def test_it_names_the_packages_that_the_program_names():
    """The list of the scripts has every package that the sandbox asks for."""
    from jenkins_release.sandbox.needs import DAEMON, PROGRAMS

    script = (ROOT / "scripts" / "debian-packages").read_text()
    demo = script[script.index("demo() {") : script.index("setup)")]
    for package in {*PROGRAMS.values(), *DAEMON.values()}:
        assert f" {package}\n" in demo
