"""A command that checks a signature: ended when it takes too long, prints too much, or has to stop."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from jenkins_release.installers.signature import SignatureCheck
from jenkins_release.sandbox.process import alive
from tests.fixtures.process import signalled, started
from tests.fixtures.share import eventually

GENEROUS_S = 15.0


def _check(script: str, timeout_s: float, path: Path) -> tuple[bool, str, str]:
    done = SignatureCheck(["sh", "-c", script, "{file}"], "", timeout_s, os.environ).check(path)
    return done.signed, done.output, done.problem


def test_what_it_prints_is_kept(tmp_path: Path):
    """Both streams, in their order."""
    assert _check('echo "$0" | wc -l; echo no >&2; exit 3', 10.0, tmp_path) == (
        False,
        "1\nno",
        "sh ended with status 3",
    )
    assert _check("echo yes", 10.0, tmp_path) == (True, "yes", "")


def test_one_that_does_not_end_is_ended(tmp_path: Path):
    """Also if it closes its output, or prints all the time, and leaves something behind that holds it."""
    for script in ("exec sleep 600", "exec >&- 2>&-; sleep 600", "while :; do echo x; sleep 0.1; done"):
        begun = time.monotonic()
        signed, _, problem = _check(script, 0.5, tmp_path)
        assert (signed, problem) == (False, "sh did not end within 0.5 s")
        assert time.monotonic() - begun < GENEROUS_S
    begun = time.monotonic()
    assert _check("sleep 30 & echo done", 20.0, tmp_path) == (True, "done", "")
    assert time.monotonic() - begun < GENEROUS_S


def test_what_it_started_is_ended_with_it(tmp_path: Path):
    """It may have started the program that does the work."""
    pids = tmp_path / "pids"
    assert not _check(f"sleep 600 & echo $! > {pids}; wait", 0.5, tmp_path)[0]
    # The kernel takes a moment to end what was killed.
    assert eventually(lambda: not alive(int(pids.read_text())))


def test_one_that_prints_without_end_is_ended(tmp_path: Path):
    """Its output is kept in memory."""
    signed, _, problem = _check("exec yes", 60.0, tmp_path)
    assert not signed
    assert "prints more than" in problem


STUCK = """
import os, sys
from pathlib import Path
from jenkins_release.installers.signature import SignatureCheck
from jenkins_release.base.parallel import map_parallel
from jenkins_release.base.signals import interrupt_commands
interrupt_commands()
check = SignatureCheck(["sh", "-c", "echo $$ >> pids; exec sleep 600"], "", 600.0, os.environ)
try:
    map_parallel(lambda _: check.check(Path("x")), [1, 2])
except KeyboardInterrupt:
    raise SystemExit(130)
"""


def test_it_ends_with_the_command(tmp_path: Path):
    """Nothing that it started is left."""
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    process = started(["sh", "-c", f"cd {tmp_path}; exec {sys.executable} -c '{STUCK}'"], environ)
    pids = tmp_path / "pids"
    ended = signalled(
        process,
        signal.SIGINT,
        lambda: pids.exists() and len(pids.read_text().split()) == 2,
        within_s=GENEROUS_S,
    )
    assert ended.status == 130, ended.err
    for pid in pids.read_text().split():
        assert not Path(f"/proc/{pid}").exists()
