"""What a user without rights gets to read: everything that is missing, at once, before anything is made."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.fixtures.unprivileged import Unprivileged

_MAIN = "sys.exit(jenkins_release.cli.entry.main(sys.argv[1:]))"


def run(user: Unprivileged, *words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        user.python(f"{before}\n{_MAIN}", *words),
        env=user.environ,
        cwd=user.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("command", ["start", "demo"])
def test_without_sudo_everything_is_said_at_once(command: str, unprivileged: Unprivileged):
    """Docker, root and a Python package: each with what to do."""
    begun = time.monotonic()
    ended = run(unprivileged, "sandbox", command, before="sys.modules['moto'] = None")
    assert ended.returncode == 2, ended.stderr
    assert "the sandbox cannot start here: 3 things are missing" in ended.stderr
    assert "Python packages are not installed (moto): pip install 'jenkins-release[sandbox]'" in ended.stderr
    assert "starting a private Docker daemon requires root: sudo" in ended.stderr
    assert f"no Docker daemon answers at unix://{unprivileged.folder}/none.sock" in ended.stderr
    assert "usermod -aG docker" in ended.stderr
    assert time.monotonic() - begun < 60
    assert [path.name for path in unprivileged.folder.iterdir()] == ["bin"]


@pytest.mark.parametrize("command", [["start"], ["demo"], ["demo", "--folder", "box"]])
def test_a_sudo_that_asks_is_named(command: list[str], unprivileged: Unprivileged):
    """The cause is what sudo said, not that something could not be cleaned up."""
    unprivileged.let_sudo_ask()
    ended = run(unprivileged, "sandbox", *command)
    assert ended.returncode == 2, ended.stderr
    assert "requires root: sudo: a password is required" in ended.stderr
    assert "usermod -aG docker" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [path.name for path in unprivileged.folder.iterdir()] == ["bin"]


def test_a_sudo_that_asks_later_hides_nothing(unprivileged: Unprivileged):
    """It let in at first, and asks when the daemon starts: the clean-up cannot go on either."""
    asked = unprivileged.folder / "bin" / "asked"
    unprivileged.let_sudo(
        f"[ -e {asked} ] || {{ touch {asked}; exit 0; }}\necho 'sudo: a password is required' >&2; exit 1"
    )
    ended = run(unprivileged, "sandbox", "demo")
    assert ended.returncode == 5, ended.stderr
    assert "error: dockerd ended with status 1: sudo: a password is required" in ended.stderr
    assert "Traceback" not in ended.stderr
