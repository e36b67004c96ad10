"""The waits of this process: how long each may take, which are going on, and how all of them end early.

A wait for a server is a :class:`Call`, a pause is :func:`pause`. Whoever waits by other means asks
:func:`remaining` for how long, and :func:`check` whether to go on. A limit for each read is no limit: a
server that sends a byte now and then keeps a read waiting for ever. So a call has a deadline for all of it,
and every byte that moves buys a little more time, at the least rate that counts as progress.

Libraries block in their sockets and offer no way out of there. A thread looks after the calls that go on,
and shuts down the sockets of one that is late, or that has to stop, which ends the read or the connect at
once. The interpreter itself says which sockets a call uses: ``http.client`` and ``socket`` raise auditing
events (PEP 578; Python library reference, "Audit events table"), whatever library sits on top of them.

Threads that work on one result are a :class:`ThreadGroup`: if one of them fails for good, the others end
early too.

The garbage collector may close a forgotten generator at any moment, in any thread, and with it leave a call.
So a lock can be taken again by the thread that holds it, and nothing is iterated over that leaving a call
changes. A signal may interrupt the main thread at any moment, also if it has just taken a lock by a method
of Python's, such as that of a ``Condition``: it would keep it. So the waits are held without a lock, by
operations on a dictionary that are atomic.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T", bound=bytes)
R = TypeVar("R")
P = ParamSpec("P")

LEAST_RATE = 16 * 1024
"""Bytes a second below which a transfer makes no progress, by default."""
GRACE_S = 1.0
"""Seconds that cleaning up on servers may take once the process was asked to stop."""
_LOOK_S = 0.2
"""How often the calls that go on are looked at, in seconds."""


class Stopped(KeyboardInterrupt):
    """A wait ended because the process, or the :class:`ThreadGroup` of its thread, was asked to stop.

    What cleans up after Ctrl-C cleans up after it.
    """


@dataclass(frozen=True)
class Limits:
    """How long a call may take.

    Attributes:
        answer_s: Longest wait for an answer, in seconds; what is sent or received meanwhile adds to it.
        least_rate: Bytes a second; slower than that, bytes that move do not count.
        setting: Key of ``release.toml`` that ``answer_s`` comes from; empty if nothing changes it.
    """

    answer_s: float = 60.0
    least_rate: int = LEAST_RATE
    setting: str = ""

    @property
    def told(self) -> str:
        """The longest wait for an answer, for messages."""
        return f"{self.setting} is {self.answer_s:g} s" if self.setting else f"{self.answer_s:g} s"

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
        self._going_on: dict[int, Wait] = {}
        self._stop_at: float | None = None
        self._looks = threading.Lock()
        self._idle = False
        self._begun: queue.SimpleQueue[None] = queue.SimpleQueue()

    def begin(self, wait: Wait) -> None:
        """Enter a wait. Raises Stopped if this thread may not wait any more."""
        self._check_process()
        wait.group = current_group()
        self._going_on[id(wait)] = wait
        # After that: whoever stops the process meanwhile has found this one, or else is found here.
        if self._stop_at is not None:
            wait.until = min(wait.until, self._stop_at)
        if self._looks.acquire(blocking=False):
            threading.Thread(target=self._look, daemon=True, name="waits").start()
        elif self._idle:
            self._begun.put(None)
        # It is late already, or the process was asked to stop after the check.
        self._look_at(wait)

    def finish(self, wait: Wait) -> None:
        """Take a wait out."""
        self._going_on.pop(id(wait), None)

    def active(self) -> list[Wait]:
        """Return what is waited for at the moment, what began first before the others."""
        waits = list(self._going_on.values())
        return sorted(waits, key=lambda wait: wait.since)

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End all waits: those of the main thread, which cleans up, after the grace, the others at once."""
        self._stop_at = end = time.monotonic() + grace_s
        for wait in self.active():
            wait.until = min(wait.until, end)
        self.look()

    def look(self) -> None:
        """End what has to end, now; it happens by itself a little later."""
        for wait in self.active():
            self._look_at(wait)

    @property
    def stopping(self) -> bool:
        """Whether the process was asked to stop."""
        return self._stop_at is not None

    def check(self) -> None:
        """Raise Stopped if this thread has to stop: in the main thread after the grace, in others at once.

        So it does in a thread whose group has ended.
        """
        self._check_process()
        group = current_group()
        if group is not None and group.ended:
            raise Stopped

    def _check_process(self) -> None:
        if self._must_stop(threading.get_ident()):
            raise Stopped

    def remaining(self, limit_s: float) -> float:
        """Return how many seconds of a limit this process still has."""
        end = self._stop_at
        return limit_s if end is None else max(0.0, min(limit_s, end - time.monotonic()))

    @contextlib.contextmanager
    def waiting(self, what: str, seconds: float) -> Iterator[None]:
        """Enter what is waited for in many steps, so that people see all of it; nothing ends it.

        Args:
            what: What is waited for: ``the stack to be refreshed``.
            seconds: How long at most.

        Raises:
            Stopped: This thread may not wait any more.
        """
        begun = time.monotonic()
        wait = Wait(what, begun, begun + seconds, threading.get_ident())
        self.begin(wait)
        try:
            yield
        finally:
            self.finish(wait)

    def pause(self, seconds: float, what: str = "the next attempt") -> None:
        """Wait so many seconds. Raises Stopped, at once, when the process is asked to stop."""
        begun = time.monotonic()
        wait = _Pause(what, begun, begun + seconds, threading.get_ident())
        self.begin(wait)
        try:
            with contextlib.suppress(queue.Empty):
                wait.woken.get(timeout=max(0.0, wait.until - begun))
            if self.stopping or (wait.group is not None and wait.group.ended):
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
            # In this order: a wait that begins meanwhile is found here, or finds that there is one to wake.
            self._idle = True
            while not self._going_on:
                self._begun.get()
            self._idle = False
            # Not a wait for a change: waits that begin one after the other would put the look off for ever.
            time.sleep(_LOOK_S)
            self.look()

    def _look_at(self, wait: Wait) -> None:
        if time.monotonic() >= wait.until or self._must_stop(wait.thread):
            wait.end()
        elif self.stopping:
            wait.stop()
        elif wait.group is not None and wait.group.ended:
            wait.leave()


@dataclass
class Wait:
    """Something that is waited for.

    Attributes:
        what: What it is, for people: ``ECR to answer GetAuthorizationToken``.
        since: When it began, in seconds of :func:`time.monotonic`.
        until: When it ends at the latest, likewise.
        thread: The thread that waits.
        group: The group for which it waits.
    """

    what: str
    since: float
    until: float
    thread: int
    group: ThreadGroup | None = None

    def end(self) -> None:
        """Wake the thread, where it does not wake by itself."""

    def stop(self) -> None:
        """Wake the thread if it waits for nothing that cleaning up needs: the process was asked to stop."""

    def leave(self) -> None:
        """Wake the thread, if no other group is hurt by it: its group has ended."""


class _Pause(Wait):
    """A pause, which any reason ends."""

    def __init__(self, what: str, since: float, until: float, thread: int) -> None:
        super().__init__(what, since, until, thread)
        # Not an event: that has a Condition.
        self.woken: queue.SimpleQueue[None] = queue.SimpleQueue()

    def end(self) -> None:
        self.woken.put(None)

    stop = leave = end


class ThreadGroup:
    """Threads that work on one result; those that one of them starts may join.

    Where the result cannot come any more, :meth:`end` ends what they wait for with :class:`Stopped`, except
    on connections that other threads use too: those waits keep their limits.

    Args:
        waits: Those of the process.
    """

    def __init__(self, waits: Waits | None = None) -> None:
        self._waits = waits or PROCESS
        self._outer = current_group()
        self._ends = math.inf

    @property
    def ended(self) -> bool:
        """Whether the result cannot come any more: that of this group, or of one around it."""
        return time.monotonic() >= self._ends or (self._outer is not None and self._outer.ended)

    def end(self, grace_s: float = 0.0) -> None:
        """End the waits of its threads.

        Args:
            grace_s: For so many seconds they may still wait.
        """
        self._ends = min(self._ends, time.monotonic() + grace_s)
        self._waits.look()

    def run(self, action: Callable[P, R], *args: P.args, **named: P.kwargs) -> R:
        """Call ``action`` as a member."""
        outer, _thread.group = current_group(), self
        try:
            return action(*args, **named)
        finally:
            _thread.group = outer


def current_group() -> ThreadGroup | None:
    """Return the group of this thread."""
    return getattr(_thread, "group", None)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Leave the group for the block: for what has to be cleaned up after it has ended."""
    group, _thread.group = current_group(), None
    try:
        yield
    finally:
        _thread.group = group


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
        try:
            self._waits.begin(wait)
            self._wait = wait
            self._outer, _thread.call = getattr(_thread, "call", None), self
        except BaseException:
            # Nobody leaves a block that was not entered; an interrupt may come anywhere in it.
            self._over(wait)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wait = self._wait
        self._over(wait)
        if wait is None:
            return
        took = time.monotonic() - wait.since
        self._left -= took
        if not wait.ended or not isinstance(error, Exception | None):
            return
        # Without an error too: http.client takes headers that break off for whole ones.
        if self._waits.stopping or wait.left:
            raise Stopped from error
        raise TimeoutError(f"{self.what}: not done after {took:.0f} s") from error

    def _over(self, wait: _Running | None) -> None:
        """Take the wait out; first of all it shuts no more sockets down, whatever interrupts this."""
        try:
            if wait is not None:
                wait.finish()
        finally:
            self._wait = None
            if wait is not None:
                self._waits.finish(wait)
            self._leave()

    def _leave(self) -> None:
        """Let the calls inside of it, if any, be inside of the one around it."""
        call = getattr(_thread, "call", None)
        if call is self:
            _thread.call = self._outer
            return
        while call is not None:
            if call._outer is self:
                call._outer = self._outer
                return
            call = call._outer

    def moved(self, count: int) -> None:
        """Count bytes that came or went outside of the block: they buy time for the next one."""
        self._left = min(self._most_s, self._left + count / self._rate)

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

    def uses(self, used: Any, *, alone: bool = False) -> None:
        """Note a socket that is shut down when the call is late; one that is closed is passed over.

        Args:
            used: The socket.
            alone: Whether no other thread uses it: then it is also shut down when the group ends.
        """
        with contextlib.suppress(OSError, ValueError, AttributeError):
            found = _Socket(used.fileno(), os.fstat(used.fileno()).st_ino, alone)
            if found not in self._sockets:
                self._sockets.append(found)


class _Running(Wait):
    """A call that goes on."""

    def __init__(self, what: str, since: float, until: float, thread: int, sockets: list[_Socket]) -> None:
        super().__init__(what, since, until, thread)
        self._sockets = sockets
        self._lock = threading.RLock()
        self._over = False
        self.ended = False
        self.left = False

    def end(self) -> None:
        """Shut the call's sockets down; again each time, for one that was made meanwhile."""
        with self._lock:
            if self._over:
                return  # the next call may have the sockets by now
            self.ended = True
            for used in list(self._sockets):
                used.shut_down()

    def finish(self) -> None:
        """Leave the sockets alone from now on."""
        with self._lock:
            self._over = True

    def leave(self) -> None:
        used = list(self._sockets)
        if used and all(each.alone for each in used):
            self.left = True
            self.end()


@dataclass(frozen=True)
class _Socket:
    """A socket by its descriptor: TLS takes that out of the object that was connected."""

    descriptor: int
    inode: int
    alone: bool

    def shut_down(self) -> None:
        # A copy: what is checked is what is shut down, whoever closes the descriptor meanwhile.
        with contextlib.suppress(OSError):
            copy = os.dup(self.descriptor)
            try:
                if os.fstat(copy).st_ino != self.inode:
                    raise OSError("it is another file by now")
                found = socket.socket(fileno=copy)
            except BaseException:
                os.close(copy)
                raise
            with found:
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
    if call is None or call._wait is None:
        return
    used = arguments[0] if event == "socket.connect" else getattr(arguments[0], "sock", None)
    call.uses(used, alone=True)


_EVENTS = frozenset({"socket.connect", "http.client.send"})

PROCESS = Waits()
"""The waits of this process."""
active = PROCESS.active
check = PROCESS.check
remaining = PROCESS.remaining
pause = PROCESS.pause
waiting = PROCESS.waiting
stop = PROCESS.stop


def process_waits() -> Waits:
    """Return the waits of this process, for those who enter one by hand."""
    return PROCESS


def stopping() -> bool:
    """Whether the process was asked to stop."""
    return PROCESS.stopping
