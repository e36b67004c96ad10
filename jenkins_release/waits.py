"""The waits of this process: how long each may take, which are going on, and how all of them end early.

A wait for a server is a :class:`Call`, a pause is :func:`pause`. Whoever waits by other means asks
:func:`remaining` for how long, and :func:`check` whether to go on. A limit for each read is no limit: a
server that sends a byte now and then keeps a read waiting for ever. So a call has a deadline for all of it,
and every byte that moves buys a little more time, at the least rate that counts as progress.

Libraries block in their sockets and offer no way out of there. A thread looks after the calls that go on,
and shuts down the sockets of one that is late, or that has to stop, which ends the read or the connect at
once. The interpreter itself says which sockets a call uses: ``http.client`` and ``socket`` raise auditing
events (PEP 578; Python library reference, "Audit events table"), whatever library sits on top of them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T", bound=bytes)

LEAST_RATE = 16 * 1024
"""Bytes a second below which a transfer makes no progress, by default."""
GRACE_S = 1.0
"""Seconds that cleaning up on servers may take once the process was asked to stop."""
_LOOK_S = 0.2
"""How often the calls that go on are looked at, in seconds."""


class Stopped(KeyboardInterrupt):
    """A wait ended because the process was asked to stop; what cleans up after Ctrl-C cleans up after it."""


@dataclass(frozen=True)
class Limits:
    """How long a call may take.

    Attributes:
        answer_s: Longest wait for an answer, in seconds; what is sent or received meanwhile adds to it.
        least_rate: Bytes a second; slower than that, bytes that move do not count.
    """

    answer_s: float = 60.0
    least_rate: int = LEAST_RATE

    def call(self, what: str, size: int = 0) -> Call:
        """Return a call that may take the wait for an answer, and ``size`` bytes at the least rate.

        Args:
            what: What is waited for: ``ECR to answer GetAuthorizationToken``.
            size: Bytes that are sent with it.
        """
        return Call(what, self.answer_s, size=size, least_rate=self.least_rate)


class Waits:
    """The waits of a process."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._going_on: dict[int, Wait] = {}
        self._stop_at: float | None = None
        self._stopped = threading.Event()
        self._looks = False

    def begin(self, wait: Wait) -> None:
        """Enter a wait. Raises Stopped if this thread may not wait any more."""
        self.check()
        wait.until = wait.since + self.remaining(wait.until - wait.since)
        with self._changed:
            self._going_on[id(wait)] = wait
            if not self._looks:
                self._looks = True
                threading.Thread(target=self._look, daemon=True, name="waits").start()
            elif len(self._going_on) == 1:
                self._changed.notify()
        if self._must_stop(wait.thread):
            # The process was asked to stop meanwhile, and the look at the sockets may have been before.
            wait.end()

    def finish(self, wait: Wait) -> None:
        """Take a wait out."""
        with self._changed:
            self._going_on.pop(id(wait), None)

    def active(self) -> list[Wait]:
        """Return what is waited for at the moment, what began first before the others."""
        with self._changed:
            return sorted(self._going_on.values(), key=lambda wait: wait.since)

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End all waits: those of the main thread, which cleans up, after the grace, the others at once."""
        with self._changed:
            self._stop_at = time.monotonic() + grace_s
            for wait in self._going_on.values():
                wait.until = min(wait.until, self._stop_at)
            self._changed.notify()
        self._stopped.set()
        for wait in self.active():
            if self._must_stop(wait.thread):
                wait.end()

    @property
    def stopping(self) -> bool:
        """Whether the process was asked to stop."""
        return self._stopped.is_set()

    def check(self) -> None:
        """Raise Stopped if this thread has to stop: in the main thread after the grace, in others at once."""
        if self._must_stop(threading.get_ident()):
            raise Stopped

    def remaining(self, limit_s: float) -> float:
        """Return how many seconds of a limit this process still has."""
        end = self._stop_at
        return limit_s if end is None else max(0.0, min(limit_s, end - time.monotonic()))

    def pause(self, seconds: float, what: str = "the next attempt") -> None:
        """Wait so many seconds. Raises Stopped, at once, when the process is asked to stop."""
        begun = time.monotonic()
        wait = Wait(what, begun, begun + seconds, threading.get_ident())
        self.begin(wait)
        try:
            if self._stopped.wait(seconds):
                raise Stopped
        finally:
            self.finish(wait)

    def _must_stop(self, thread: int) -> bool:
        end = self._stop_at
        if end is None:
            return False
        return thread != threading.main_thread().ident or time.monotonic() >= end

    def _look(self) -> None:
        while True:
            with self._changed:
                while not self._going_on:
                    self._changed.wait()
                self._changed.wait(_LOOK_S)
                waits = list(self._going_on.values())
            now = time.monotonic()
            for wait in waits:
                if now >= wait.until or self._must_stop(wait.thread):
                    wait.end()


@dataclass
class Wait:
    """Something that is waited for.

    Attributes:
        what: What it is, for people: ``ECR to answer GetAuthorizationToken``.
        since: When it began, in seconds of :func:`time.monotonic`.
        until: When it ends at the latest, likewise.
        thread: The thread that waits.
    """

    what: str
    since: float
    until: float
    thread: int

    def end(self) -> None:
        """Wake the thread, where it does not wake by itself."""


class Call:
    """The wait for a server, from the request to the last byte of its answer.

    A context manager, which may be entered again: sockets that are used inside of it, by this thread, are
    shut down when it takes too long.

    Args:
        what: What is waited for: ``ECR to answer GetAuthorizationToken``.
        answer_s: Longest wait for the answer, in seconds.
        size: Bytes that are sent with it.
        least_rate: Bytes a second below which a transfer makes no progress.
        waits: Those of the process.

    Raises:
        TimeoutError: At the end of the block, when it was late.
        Stopped: Likewise, or at the beginning, when the process was asked to stop.
    """

    def __init__(
        self,
        what: str,
        answer_s: float,
        *,
        size: int = 0,
        least_rate: int = LEAST_RATE,
        waits: Waits | None = None,
    ) -> None:
        self.what = what
        self._answer_s = answer_s
        self._left = self._most_s = answer_s + size / least_rate
        self._rate = least_rate
        self._waits = waits or PROCESS
        self._sockets: list[_Socket] = []
        self._wait: _Running | None = None
        self._outer: Call | None = None

    def __enter__(self) -> Call:
        _listen()
        begun = time.monotonic()
        wait = _Running(self.what, begun, begun + self._left, threading.get_ident(), self._sockets)
        self._waits.begin(wait)
        self._wait = wait
        self._outer, _thread.call = getattr(_thread, "call", None), self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wait, self._wait = self._wait, None
        _thread.call = self._outer
        if wait is None:
            return
        self._waits.finish(wait)
        took = time.monotonic() - wait.since
        self._left -= took
        if not wait.ended or not isinstance(error, Exception | None):
            return
        # Without an error too: http.client takes headers that break off for whole ones.
        if self._waits.stopping:
            raise Stopped from error
        raise TimeoutError(f"{self.what}: not done after {took:.0f} s") from error

    def moved(self, count: int) -> None:
        """Count bytes that came or went outside of the block: they buy time for the next one."""
        self._left = min(self._most_s, max(0.0, self._left) + count / self._rate)

    def pieces(self, pieces: Iterable[T], size: int = 1 << 20) -> Iterator[T]:
        """Yield what comes in pieces; only the time in which none is there counts.

        Args:
            pieces: The body of the answer.
            size: Bytes of a piece at most: it may not be there before all of them came.
        """
        source = iter(pieces)
        self._most_s = self._left = self._answer_s + size / self._rate
        while True:
            with self:
                piece = next(source, None)
            if piece is None:
                return
            self.moved(len(piece))
            yield piece

    def uses(self, used: Any) -> None:
        """Note a socket that is shut down when the call is late; one that is closed is passed over."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            found = _Socket(used.fileno(), os.fstat(used.fileno()).st_ino)
            if found not in self._sockets:
                self._sockets.append(found)


class _Running(Wait):
    """A call that goes on."""

    def __init__(self, what: str, since: float, until: float, thread: int, sockets: list[_Socket]) -> None:
        super().__init__(what, since, until, thread)
        self._sockets = sockets
        self.ended = False

    def end(self) -> None:
        """Shut the call's sockets down; again each time, for one that was made meanwhile."""
        self.ended = True
        for used in list(self._sockets):
            used.shut_down()


@dataclass(frozen=True)
class _Socket:
    """A socket by its descriptor: TLS takes that out of the object that was connected."""

    descriptor: int
    inode: int

    def shut_down(self) -> None:
        # A copy: what is checked is what is shut down, whoever closes the descriptor meanwhile.
        with contextlib.suppress(OSError):
            copy = os.dup(self.descriptor)
            if os.fstat(copy).st_ino != self.inode:
                os.close(copy)
                return
            with socket.socket(fileno=copy) as found:
                found.shutdown(socket.SHUT_RDWR)


_thread = threading.local()
_listening = threading.Lock()


def _listen() -> None:
    # A hook stays for the life of the process: one, and not before the first call.
    if _listening.acquire(blocking=False):
        sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _EVENTS:
        return
    call = getattr(_thread, "call", None)
    if call is None:
        return
    call.uses(arguments[0] if event == "socket.connect" else getattr(arguments[0], "sock", None))


_EVENTS = frozenset({"socket.connect", "http.client.send"})

PROCESS = Waits()
"""The waits of this process."""
active = PROCESS.active
check = PROCESS.check
remaining = PROCESS.remaining
pause = PROCESS.pause
stop = PROCESS.stop


def stopping() -> bool:
    """Whether the process was asked to stop."""
    return PROCESS.stopping
