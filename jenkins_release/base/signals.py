"""SIGINT, which Ctrl-C sends, and SIGTERM, which Jenkins sends when a build is aborted.

Both end a command in the same way: it cleans up, prints one line and writes the result file. Only the exit
status differs: 128 plus the number of the signal, as in shells. A command ends within two seconds whatever it
waits for, and at once on a second signal: a separate thread learns of signals even while the main thread is
inside a library.
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
from types import CodeType, FrameType
from typing import Any, TypeVar

from jenkins_release.base.waits import stop

F = TypeVar("F", bound=Callable[..., Any])

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
END_S = 1.4
"""Seconds after a signal at which the process ends, whatever it is doing."""
_WORDS = {signal.SIGINT: b"interrupted\n", signal.SIGTERM: b"terminated\n"}
_SWITCH_S = 0.0005
_LAST_S = 0.5
"""Seconds that the last words may take after that."""
_AGAIN_S = 0.005
"""How soon a main thread that was not to be interrupted is looked at again, in seconds."""


class Terminated(KeyboardInterrupt):
    """SIGTERM; code that cleans up after Ctrl-C also cleans up after it."""


def end_at_once() -> None:
    """Let both signals end the process without a traceback, while there is nothing to clean up.

    An ignored signal stays ignored: a shell ignores SIGINT for what it starts in the background.
    """
    for number in _WORDS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)


def interrupt_commands() -> None:
    """Let both signals interrupt a command, SIGTERM as :class:`Terminated`, unless ignored.

    The main thread gets one exception for the first signal, and none while it cleans up.
    """
    for function in _standard_library():
        whole(function)
    sys.unraisablehook = _Swallowed(sys.unraisablehook)
    _Ending().listen()


def whole(function: F) -> F:
    """Let no signal interrupt a function: what it has begun would have no owner. It must be short.

    Args:
        function: A function of Python's.
    """
    _whole.add(function.__code__)
    return function


def interrupt_if_due() -> None:
    """Raise now what a function that is :func:`whole` put off; without this it comes some moments later."""
    if _due and threading.current_thread() is threading.main_thread():
        _interrupt(None)


def before_the_end(action: Callable[[], object]) -> None:
    """Do something right before a process is ended that did not end by itself.

    Args:
        action: Called in another thread; has less than half a second.
    """
    _at_the_end.append(action)


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
    """Yield whether the caller is the first to report that the process was interrupted; it is reported once.

    Nothing ends the process before the first caller has reported it, or taken too long.
    """
    first = not _first or _said.acquire(blocking=False)
    if not first:
        _spoken.wait(_LAST_S)
    try:
        yield first
    finally:
        _spoken.set()


def conclude(status: int) -> None:
    """Note that the command has ended and reported its result: a later signal changes neither.

    Args:
        status: Its exit status.
    """
    _ended[:] = [status]


def fresh_line(terminal: bool) -> str:
    """Return what restarts the line on a terminal, which has written ``^C`` into it; empty otherwise."""
    return "\r\x1b[K" if terminal else ""


def first_signal() -> int | None:
    """Return the signal that ends this command; None if there is none."""
    return _first[0] if _first else None


_whole: set[CodeType] = set()
_at_the_end: list[Callable[[], object]] = []
_due: list[bool] = []
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
        """Install the handlers, and the thread that ends the process."""
        os.set_blocking(self._tell, False)
        signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, daemon=True, name="signals").start()
        for number in _WORDS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _hear)

    def _watch(self) -> None:
        first, end = 0, None
        signals = selectors.DefaultSelector()
        signals.register(self._heard, selectors.EVENT_READ)
        while True:
            left = None if end is None else max(0.0, end - time.monotonic())
            heard = signals.select(None if left is None else min(left, _AGAIN_S))
            if left == 0.0:
                break
            if _due:  # until it has heard: it may have begun to block right after one
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
                time.sleep(_AGAIN_S)
            if not heard:
                continue
            # A byte for each signal that has a handler of Python's (signal.set_wakeup_fd).
            numbers = [number for number in os.read(self._heard, 16) if number in _WORDS]
            if not numbers:
                continue
            if not first:
                first, end = numbers.pop(0), time.monotonic() + END_S
                # A busy main thread must not hold this one up.
                sys.setswitchinterval(_SWITCH_S)
                # Nor must the code that ends the waits.
                threading.Thread(target=stop, daemon=True, name="stop").start()
            if numbers:
                break
        _end_now(first)


def _hear(number: int, frame: FrameType | None) -> None:
    if not _first:
        _first.append(number)
        _interrupt(frame)


def _hear_again(_: int, frame: FrameType | None) -> None:
    if _due:
        _interrupt(frame)


def _interrupt(frame: FrameType | None) -> None:
    if _is_whole(frame):
        _put_off()
        return
    _due.clear()
    raise Terminated if _first[0] == signal.SIGTERM else KeyboardInterrupt


def _put_off() -> None:
    """Have the main thread interrupted in a moment: a signal wakes it, whatever it blocks in by then."""
    signal.signal(signal.SIGALRM, _hear_again)
    _due[:] = [True]


class _Swallowed:
    """Raises once more what the interpreter drops: an interrupt in a finalizer, or in a callback.

    Args:
        others: The hook for all other exceptions.
    """

    def __init__(self, others: Callable[[sys.UnraisableHookArgs], object]) -> None:
        self._others = others

    def __call__(self, dropped: sys.UnraisableHookArgs) -> None:
        ours = threading.current_thread() is threading.main_thread()
        if ours and _first and dropped.exc_type in {KeyboardInterrupt, Terminated}:
            _put_off()
        else:
            self._others(dropped)


def _is_whole(frame: FrameType | None) -> bool:
    """Whether a frame, or one that waits for it, is not to be interrupted."""
    while frame is not None:
        if frame.f_code in _whole:
            return True
        # It gives the lock back, then waits in a block that takes it again.
        if frame.f_code is threading.Condition.wait.__code__ and "gotit" not in frame.f_locals:
            return True
        frame = frame.f_back
    return False


def _standard_library() -> Iterator[Callable[..., Any]]:
    """Yield what takes a lock, or gives it back, in Python.

    Conditions, and what is built of them (events, queues, futures); several futures at once; the log.
    """
    # Not before a signal ends the process without a traceback: they take time.
    import logging
    from concurrent.futures import _base

    for home, names in (
        (threading.Condition, ("__enter__", "__exit__", "_release_save", "_acquire_restore", "notify")),
        (_base._AcquireFutures, ("__enter__", "__exit__")),
        (logging.Handler, ("acquire", "release")),
        (logging, ("_acquireLock", "_releaseLock")),  # gone in Python 3.13
    ):
        yield from (getattr(home, name) for name in names if hasattr(home, name))


def _end_now(number: int) -> None:
    status = _ended[0] if _ended else 128 + number
    guard = threading.Timer(_LAST_S, os._exit, [status])
    guard.daemon = True
    guard.start()
    for action in _at_the_end:
        with contextlib.suppress(Exception):
            action()
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
