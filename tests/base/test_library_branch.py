"""The branch with vars/ alone, on real repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

SCRIPT = ROOT / "scripts" / "write-library-branch"


class Repository:
    """A git repository with vars/ and much else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Riley")
        self.git("config", "user.email", "riley@example.com")
        self.commit({"vars/step.groovy": "void call() { }\n", "tests/big.bin": os.urandom(2_000_000).hex()})

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.folder), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, files: dict[str, str]) -> str:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "change")
        return self.git("rev-parse", "HEAD")

    def write(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([SCRIPT, *words], cwd=self.folder, capture_output=True, text=True, check=False)

    def branch(self, *words: str) -> str:
        """Write the branch and return its commit, which is told as the last word."""
        done = self.write(*words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[-1] == self.git("rev-parse", "library")
        return done.stdout.split()[-1]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """One commit on main."""
    return Repository(tmp_path / "product")


def test_a_clone_of_the_branch_has_the_steps_and_nothing_else(repository: Repository, tmp_path: Path):
    """Neither as files nor in its history; the steps are those of the commit."""
    first = repository.branch()
    repository.commit({"vars/step.groovy": "void call() { echo 'x' }\n", "LICENSE": "free\n"})
    assert repository.branch() != first
    assert repository.git("rev-parse", "library~1") == first
    assert repository.git("rev-parse", "library:vars") == repository.git("rev-parse", "main:vars")
    assert repository.git("ls-tree", "--name-only", "library").splitlines() == ["LICENSE", "vars"]
    clone = tmp_path / "clone"
    words = ["git", "clone", "--quiet", "--branch", "library", "--single-branch"]
    subprocess.run([*words, f"file://{repository.folder}", str(clone)], check=True, timeout=60)
    assert sum(path.stat().st_size for path in clone.rglob("*") if path.is_file()) < 200_000
    assert repository.git("status", "--porcelain") == ""
    assert repository.git("rev-parse", "--abbrev-ref", "HEAD") == "main"


def test_it_grows_only_with_the_steps_and_is_the_same_everywhere(repository: Repository, tmp_path: Path):
    """A pinned commit stays what it is; another machine makes the same one."""
    first = repository.branch()
    repository.commit({"tests/other.txt": "x\n"})
    assert repository.branch() == first
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "--quiet", str(repository.folder), str(other)], check=True, timeout=60)
    environ = os.environ | {"GIT_AUTHOR_NAME": "Mallory", "TZ": "Asia/Tokyo"}
    origin = subprocess.run(
        [SCRIPT, "origin/main~1"], cwd=other, env=environ, capture_output=True, text=True, check=True
    )
    assert origin.stdout.split()[-1] == first


@pytest.mark.parametrize(
    ("words", "told"),
    [(("no-such-commit",), "there is no commit no-such-commit"), (("bare",), "bare has no folder vars")],
)
def test_what_cannot_be_done_is_told(repository: Repository, words: tuple[str, ...], told: str):
    """And no branch is made."""
    repository.git("checkout", "--quiet", "--orphan", "bare")
    repository.git("rm", "-rf", "--quiet", "vars")
    repository.git("commit", "--quiet", "--message", "no steps")
    done = repository.write(*words)
    assert done.returncode == 2
    assert told in done.stderr
    assert repository.git("branch", "--list", "library") == ""


def test_the_library_is_in_vars_alone():
    """What Jenkins reads of the library is in vars/: there is no src/ and there are no resources/."""
    assert not (ROOT / "src").exists()
    assert not (ROOT / "resources").exists()
