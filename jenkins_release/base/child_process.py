"""Programs that this one runs: bounded in time and output, and ended when this process has to stop."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jenkins_release.base.waits import check, remaining

_LOOK_S = 0.2
"""How often a program that prints nothing is looked at, in seconds."""
_KILLED_S = 1.0
"""Longest wait for the end of a program that was killed: one of another user's is not to be killed."""


@dataclass(frozen=True)
class Ran:
    """What a program did.

    Attributes:
        status: Its exit status, as ``subprocess`` has it; None if it was ended.
        output: What it printed; its beginning if that is too much.
        late: Whether it was ended because it took too long.
    """

    status: int | None
    output: bytes
    late: bool = False


def run_child(
    words: Sequence[str],
    *,
    limit_s: float,
    most: int,
    stderr: int = subprocess.DEVNULL,
    stdin: int | None = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
) -> Ran:
    """Run a program in a session of its own, and wait for its end.

    One that takes too long or prints too much is ended with all that it started, and so is one that runs when
    this process has to stop. What a program that ended by itself has started goes on.

    Args:
        words: Program and arguments; no shell is involved.
        limit_s: Longest time, in seconds.
        most: Bytes that it may print.
        stderr: Where its errors go, as ``subprocess`` has it: nowhere, or with the rest.
        stdin: What it reads: nothing, or with None what this process reads.
        env: Its environment; None for that of this process.

    Raises:
        OSError: It cannot be started.
        Stopped: The process was asked to stop.
    """
    end = time.monotonic() + remaining(limit_s)
    process = subprocess.Popen(
        words, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, env=env, start_new_session=True
    )
    try:
        return _followed(process, end, most)
    finally:
        if process.returncode is None:
            # Not waited for yet: nobody else has its number.
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_KILLED_S)
        assert process.stdout is not None
        process.stdout.close()


def _followed(process: subprocess.Popen[bytes], end: float, most: int) -> Ran:
    assert process.stdout is not None
    printed = bytearray()
    open_still = True
    with selectors.DefaultSelector() as speech:
        speech.register(process.stdout, selectors.EVENT_READ)
        while open_still or process.poll() is None:
            check()
            if time.monotonic() >= end:
                return Ran(None, bytes(printed), late=True)
            if not open_still:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_S)
            elif speech.select(_LOOK_S):
                data = os.read(process.stdout.fileno(), 65536)
                printed += data
                open_still = bool(data)
                if len(printed) > most:
                    return Ran(None, bytes(printed[:most]))
            elif process.poll() is not None:
                break  # what it has started may keep the pipe open
    return Ran(process.returncode, bytes(printed))
