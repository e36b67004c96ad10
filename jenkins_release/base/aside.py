"""Calls into C libraries that wait for a server and offer no way out."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from jenkins_release.base.waits import process_waits

R = TypeVar("R")
_STEP_S = 0.1
"""How often the wait asks whether to go on, in seconds."""


def aside(action: Callable[[], R], *, what: str, limit_s: float) -> R:
    """Call something in a thread of its own, and wait for it no longer than allowed.

    What is late goes on in its thread until it ends by itself: the process does not wait for it.

    Args:
        action: The call. It releases the interpreter's lock while it waits.
        what: What is waited for, for people: ``Kerberos to issue a ticket``.
        limit_s: Longest wait, in seconds.

    Returns:
        What it returned.

    Raises:
        TimeoutError: It was late.
        Stopped: The process was asked to stop.
    """
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((action(), None))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            answers.put((None, error))

    waits = process_waits()
    with waits.waiting(what, limit_s):
        end = time.monotonic() + limit_s
        threading.Thread(target=run, name="aside", daemon=True).start()
        while True:
            waits.check()
            left = waits.remaining(end - time.monotonic())
            try:
                answer, error = answers.get(timeout=max(0.0, min(_STEP_S, left)))
            except queue.Empty:
                if time.monotonic() >= end:
                    raise TimeoutError(f"{what}: not done after {limit_s:g} s") from None
                continue
            if error is not None:
                raise error
            return answer  # type: ignore[no-any-return]
