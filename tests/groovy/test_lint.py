"""``scripts/lint-groovy``: npm-groovy-lint really runs, and what it finds fails ``make lint``."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.groovy.jenkins import ROOT, VARS

LINT = ROOT / "scripts" / "lint-groovy"


def lint(*files: Path) -> subprocess.CompletedProcess[str]:
    """Run the linter as ``make lint`` does."""
    command = [sys.executable, str(LINT), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_fault_in_a_step_fails_the_lint(tmp_path: Path):
    """It is told with its line; a step as it stands beside it is not."""
    faulty = tmp_path / "faulty.groovy"
    step = VARS / "exportCandidate.groovy"
    faulty.write_text(step.read_text().replace("    return ", "    String left = 'over'\n    return "))
    number = faulty.read_text().splitlines().index("    String left = 'over'") + 1
    done = lint(faulty, step)
    assert done.returncode == 1, done.stderr
    assert f"{faulty}:{number}: UnusedVariable: " in done.stdout
    assert "vars/" not in done.stdout


def test_a_linter_that_did_not_look_is_no_success(tmp_path: Path):
    """Where the sample has no fault that could be found, and where nothing is installed, the status is 2."""
    copy = tmp_path / "copy"
    for folder in ("scripts", "tests/groovy/samples"):
        (copy / folder).mkdir(parents=True)
    script = shutil.copy(LINT, copy / "scripts")
    (copy / "tests/groovy/samples/Fault.groovy").write_text("String call() {\n    return 'y'\n}\n")
    shutil.copy(ROOT / ".groovylintrc.json", copy)
    command = [sys.executable, str(script), str(VARS / "exportCandidate.groovy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "npm-groovy-lint is not installed" in done.stderr
    (copy / "build").symlink_to(ROOT / "build")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    told = "CodeNarc did not run: it read 2 of 2 files, and missed ['UnnecessarySemicolon', 'UnusedVariable']"
    assert told in done.stderr


def test_every_rule_that_is_off_says_why():
    """In a comment before it, or before the first of its neighbours."""
    lines = (ROOT / ".groovylintrc.json").read_text().splitlines()
    off = [number for number, line in enumerate(lines) if line.rstrip(",").endswith('"off"')]
    assert off
    for number in off:
        before = [line for line in lines[:number] if not line.rstrip(",").endswith('"off"')]
        assert before[-1].strip().startswith("//"), lines[number]


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("groovy-lint", "npm-groovy-lint"),
        ("s3rver", "s3rver"),
        ("sigstore-verify", "@sigstore/verify"),
        ("sigstore-verify", "@sigstore/bundle"),
    ],
)
def test_what_npm_installs_is_pinned(name: str, package: str):
    """package.json names one version, and the lock has a checksum for everything below it."""
    folder = ROOT / "scripts" / name
    version = re.search(rf'"{package}": "([^"]+)"', (folder / "package.json").read_text())
    assert version is not None and re.fullmatch(r"\d+\.\d+\.\d+", version[1])
    lock = (folder / "package-lock.json").read_text()
    assert lock.count('"integrity": "sha512-') == lock.count('    "node_modules/')
