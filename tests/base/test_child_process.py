"""Programs that this one runs: they end with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from jenkins_release.sandbox.process import alive
from tests.fixtures.process import started

RUN = """
import os, signal, subprocess, sys, time
from jenkins_release.base import child_process, signals
signals.END_S = 60.0
signals.interrupt_commands()
class Told(subprocess.Popen):
    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        print(self.pid, flush=True)
        {while_started}
subprocess.Popen = Told
{prepare}
child_process.run_child(["sleep", "600"], limit_s=60.0, most=100)
"""
INTERRUPT = "os.kill(os.getpid(), signal.SIGINT); time.sleep(0.05)"


def _started(*, while_started: str = "pass", prepare: str = "") -> tuple[subprocess.Popen[str], int]:
    """Start a program that runs another one; return its process, and the number of the other one."""
    script = RUN.format(while_started=while_started, prepare=prepare)
    process = started([sys.executable, "-c", script], os.environ)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def _ended(pid: int) -> bool:
    """Whether a program ends; who adopts it has to wait for it first."""
    end = time.monotonic() + 5
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(pid)


def test_a_second_signal_right_after_the_first_leaves_no_program_behind():
    """The main thread has had no time to end it."""
    process, other = _started(prepare="signal.signal(signal.SIGINT, lambda *_: None)")
    # Two of them may arrive as one.
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert _ended(other)


@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_while_a_program_is_started_leaves_none_behind(signals: int):
    """Nobody has its number yet."""
    process, other = _started(while_started="; ".join([INTERRUPT] * signals))
    process.communicate(timeout=60)
    # After the second one, the main thread and whoever ends it are about as fast.
    assert process.returncode in ({-signal.SIGINT} if signals == 1 else {-signal.SIGINT, 130})
    assert _ended(other)
