"""Waits for an SMB server in short steps, which end when they are late or the process has to stop.

smbprotocol blocks in events and sockets that cannot be left early. Here, a wait checks after each step
whether to go on. Only long waits are entered in the waits of the process: a transfer has thousands of waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from jenkins_release.base.waits import Wait, process_waits

POLL_S = 0.2
"""Longest step, in seconds."""
_TOLD_S = 1.0
"""How long a wait must last to be entered in the waits of the process, in seconds."""


class Patience:
    r"""One wait; a context manager around its steps.

    Args:
        limit_s: Longest time in all, in seconds.
        what: Says what is being waited for: ``the share \\server\share to read file``.
        clock: Returns the time in seconds, from any starting point.
    """

    def __init__(
        self, limit_s: float, what: Callable[[], str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit_s = limit_s
        self._what = what
        self._clock = clock
        self._begun = clock()
        self._entered: Wait | None = None

    def __enter__(self) -> Patience:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._entered is not None:
            process_waits().finish(self._entered)
            self._entered = None

    def step(self, until: float | None = None) -> float:
        """Return how long the next step may take, in seconds.

        Args:
            until: When this wait ends even before its limit; it may move from step to step.

        Raises:
            TimeoutError: The wait is late.
            Stopped: The process was asked to stop.
        """
        process = process_waits()
        process.check()
        now = self._clock()
        end = self._begun + self._limit_s
        left = process.remaining((end if until is None else min(end, until)) - now)
        if left <= 0:
            process.check()
            raise TimeoutError(f"not done after {now - self._begun:.0f} s")
        if self._entered is None and now - self._begun >= _TOLD_S:
            wait = Wait(self._what(), self._begun, now + left, threading.get_ident())
            process.begin(wait)
            self._entered = wait
        if self._entered is not None:
            self._entered.until = now + left
        return min(left, POLL_S)
