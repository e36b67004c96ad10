"""SIGINT and SIGTERM: what a person sends with Ctrl-C, and Jenkins when a build is aborted.

Both end a command in the same way: cleaned up, with one line and the result file. Only the status tells
them apart, as shells count it: 128 and the number of the signal. A command ends within two seconds whatever
it waits for, and at once on a second signal: a thread of its own hears of signals even while the main
thread is inside of a library.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from jenkins_release.base.waits import stop

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
END_S = 1.4
"""Seconds after a signal at which the process ends, whatever it still does."""
_WORDS = {signal.SIGINT: b"interrupted\n", signal.SIGTERM: b"terminated\n"}
_SWITCH_S = 0.0005
_LAST_S = 0.5
"""Seconds that the last words may take after that."""


class Terminated(KeyboardInterrupt):
    """SIGTERM; who cleans up after Ctrl-C cleans up after it."""


def end_at_once() -> None:
    """Let both signals end the process without a traceback, while nothing is there to clean up.

    A signal that is ignored stays so: a shell ignores SIGINT for what it starts in the background.
    """
    for number in _WORDS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)


def interrupt_commands() -> None:
    """Let both signals interrupt a command, SIGTERM as :class:`Terminated`, where they are not ignored.

    The main thread gets one exception for the first signal, and none while it cleans up.
    """
    _Ending().listen()


def last_words(speak: Callable[[int], None]) -> None:
    """Say what to do before a process that takes too long to end is ended.

    Args:
        speak: Called with the signal's number, in another thread.
    """
    _last_words[:] = [speak]
    _ended.clear()


@contextlib.contextmanager
def other_last_words(speak: Callable[[int], None]) -> Iterator[None]:
    """Say something else while the block goes on; see :func:`last_words`."""
    before = _last_words[:]
    _last_words[:] = [speak]
    try:
        yield
    finally:
        _last_words[:] = before


@contextlib.contextmanager
def speaking() -> Iterator[bool]:
    """Yield whether the caller is the first to say that the process was interrupted; said once.

    Nothing ends the process before the first one has spoken, or taken too long.
    """
    first = not _first or _said.acquire(blocking=False)
    if not first:
        _spoken.wait(_LAST_S)
    try:
        yield first
    finally:
        _spoken.set()


def conclude(status: int) -> None:
    """Note that the command has ended and said how: a signal from now on changes neither.

    Args:
        status: Its exit status.
    """
    _ended[:] = [status]


def fresh_line(terminal: bool) -> str:
    """Return what begins a line anew on a terminal, which has written ``^C`` into it; else nothing."""
    return "\r\x1b[K" if terminal else ""


def first_signal() -> int | None:
    """Return the signal that ends this command; None if there was none."""
    return _first[0] if _first else None


_first: list[int] = []
_last_words: list[Callable[[int], None]] = []
_ended: list[int] = []
_said = threading.Lock()
_spoken = threading.Event()


class _Ending:
    """How this process ends on a signal."""

    def __init__(self) -> None:
        self._heard, self._tell = os.pipe()

    def listen(self) -> None:
        """Install the handlers, and the thread that sees to the end."""
        os.set_blocking(self._tell, False)
        signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, daemon=True, name="signals").start()
        for number in _WORDS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._raise)

    def _raise(self, number: int, _: FrameType | None) -> None:
        if not _first:
            _first.append(number)
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def _watch(self) -> None:
        first, end = 0, None
        signals = selectors.DefaultSelector()
        signals.register(self._heard, selectors.EVENT_READ)
        while True:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not signals.select(left):
                break
            # A byte for each signal that has a handler of Python's (signal.set_wakeup_fd).
            numbers = [number for number in os.read(self._heard, 16) if number in _WORDS]
            if not numbers:
                continue
            if not first:
                first, end = numbers.pop(0), time.monotonic() + END_S
                # A main thread that computes must not keep this one from its work.
                sys.setswitchinterval(_SWITCH_S)
                # Nor must what ends the waits.
                threading.Thread(target=stop, daemon=True, name="stop").start()
            if numbers:
                break
        _end_now(first)


def _end_now(number: int) -> None:
    status = _ended[0] if _ended else 128 + number
    guard = threading.Timer(_LAST_S, os._exit, [status])
    guard.daemon = True
    guard.start()
    # The main thread may not have heard of the signal yet, and will.
    if not _said.acquire(blocking=False):
        _spoken.wait()
    elif not _ended:
        with contextlib.suppress(Exception):
            for speak in _last_words or [_say]:
                speak(number)
    os._exit(status)


def _end(number: int, _: FrameType | None) -> None:
    _say(number)
    os._exit(128 + number)


def _say(number: int) -> None:
    os.write(2, fresh_line(os.isatty(2)).encode() + _WORDS[signal.Signals(number)])
