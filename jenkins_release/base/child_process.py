"""Child processes: bounded in time and output, and ended when this process has to stop."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.signals import before_the_end, interrupt_if_due, whole
from jenkins_release.base.waits import check, remaining

_LOOK_S = 0.2
"""How often a silent program is checked, in seconds."""
_KILLED_S = 1.0
"""Longest wait for the end of a program that was killed: one of another user's is not to be killed."""
_STARTED_S = 0.2
"""Longest wait for a program that is being started when this process is ended, in seconds."""


@dataclass(frozen=True)
class Ran:
    """What a program did.

    Attributes:
        status: Its exit status, as ``subprocess`` reports it; None if it was ended.
        output: What it printed; only the beginning if it is too long.
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
    """Run a program in a new session, and wait for it to end.

    A program that takes too long or prints too much is ended, with everything that it started. So is a
    program that is running when this process has to stop. If a program ends by itself, what it started goes
    on.

    Args:
        words: Program and arguments; no shell is involved.
        limit_s: Longest time, in seconds.
        most: Bytes that it may print.
        stderr: Where its errors go, as for ``subprocess``: nowhere, or with the rest.
        stdin: What it reads: nothing, or this process' input if None.
        env: Its environment; None for this process' own.

    Raises:
        OSError: It cannot be started.
        Stopped: The process was asked to stop.
    """
    end = time.monotonic() + remaining(limit_s)
    run = _Run()
    try:
        run.start(words, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, env=env)
        interrupt_if_due()
        assert run.process is not None
        return _followed(run.process, end, most)
    finally:
        run.end()


class _Run:
    """A program from before its start until it is waited for. Whatever ends this process, ends it too."""

    _going_on: ClassVar[dict[int, _Run]] = {}
    _ended: ClassVar[list[bool]] = []

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    @whole
    def start(self, words: Sequence[str], **options: Any) -> None:
        """Start it. Raises OSError."""
        self._going_on[id(self)] = self
        try:
            self.process = subprocess.Popen(words, start_new_session=True, **options)
        finally:
            if self.process is None:
                del self._going_on[id(self)]
        if self._ended:
            self._kill()

    def end(self) -> None:
        """End it if it has not ended, with all that it started."""
        if self.process is None:
            return
        self._kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_KILLED_S)
        self._going_on.pop(id(self), None)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            # Not waited for yet: nobody else has its number.
            with contextlib.suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)

    @classmethod
    def end_all(cls) -> None:
        """End those that run, and those that are being started, of which the numbers are not known yet."""
        cls._ended.append(True)
        end = time.monotonic() + _STARTED_S
        while any(run.process is None for run in list(cls._going_on.values())) and time.monotonic() < end:
            time.sleep(0.01)
        for run in list(cls._going_on.values()):
            run._kill()


before_the_end(_Run.end_all)


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
                break  # a child of it may keep the pipe open
    return Ran(process.returncode, bytes(printed))
