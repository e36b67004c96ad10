"""The waits of this process: how long each may take, which are under way, and how all of them end early.

A wait for a server is a :class:`Call`, a pause is :func:`pause`. Code that waits by other means asks
:func:`remaining` for how long, and :func:`check` whether to go on. A limit for each read is not enough: a
server that sends a byte now and then could keep a read waiting for ever. So a call as a whole has a deadline,
and every byte that moves buys a little more time, at the lowest rate that counts as progress.

Libraries block in their sockets and offer no way out. A thread watches the calls that are under way, and
shuts down the sockets of a call that is late or has to stop, which ends its read or connect at once. The
interpreter itself reports which sockets a call uses: ``http.client`` and ``socket`` raise auditing events
(PEP 578; Python library reference, "Audit events table"), whatever library sits on top of them.

Threads that work on one result are a :class:`ThreadGroup`: if one of them fails for good, the others end
early too.

The garbage collector may close a forgotten generator at any moment, in any thread, and so leave a call.
Therefore a lock can be taken again by the thread that holds it, and nothing is iterated over that leaving a
call changes. A signal may interrupt the main thread at any moment, even just after it took a lock inside a
Python method, such as one of ``Condition``, and the lock would stay taken. Therefore the waits are kept
without a lock, with atomic operations on a dictionary.
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
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from jenkins_release.base.dataclass import dataclass

T = TypeVar("T", bound=bytes)
R = TypeVar("R")
P = ParamSpec("P")

LEAST_RATE = 16 * 1024
"""Bytes a second below which a transfer does not count as progress, by default."""
GRACE_S = 1.0
"""Seconds that clean-up on servers may take once the process was asked to stop."""
_LOOK_S = 0.2
"""How often the calls under way are checked, in seconds."""


class Stopped(KeyboardInterrupt):
    """A wait ended because the process, or the :class:`ThreadGroup` of its thread, was asked to stop.

    Code that cleans up after Ctrl-C also cleans up after it.
    """


@dataclass(frozen=True)
class Limits:
    """How long a call may take.

    Attributes:
        answer_s: Longest wait for an answer, in seconds; bytes that are sent or received meanwhile extend it.
        least_rate: Bytes a second; at a lower rate, bytes that move do not count.
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
        """Return a call that may take the wait for an answer plus ``size`` bytes at the least rate.

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
        """Enter a wait. Raises Stopped if this thread must not wait any more."""
        self._check_process()
        wait.group = current_group()
        self._going_on[id(wait)] = wait
        # Only now: a stop in between has either found this wait, or is noticed here.
        if self._stop_at is not None:
            wait.until = min(wait.until, self._stop_at)
        if self._looks.acquire(blocking=False):
            threading.Thread(target=self._look, daemon=True, name="waits").start()
        elif self._idle:
            self._begun.put(None)
        # Already late, or asked to stop after the check.
        self._look_at(wait)

    def finish(self, wait: Wait) -> None:
        """Remove a wait."""
        self._going_on.pop(id(wait), None)

    def forked(self) -> None:
        """Begin again in the child of a fork: of the threads, it has only the one that forked."""
        own = threading.get_ident()
        self._going_on = {key: wait for key, wait in self._going_on.items() if wait.thread == own}
        self._looks = threading.Lock()
        self._idle = False
        self._begun = queue.SimpleQueue()

    def active(self) -> list[Wait]:
        """Return what is being waited for, oldest first."""
        waits = list(self._going_on.values())
        return sorted(waits, key=lambda wait: wait.since)

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End all waits: at once, but those of the main thread, which cleans up, after the grace period."""
        self._stop_at = end = time.monotonic() + grace_s
        for wait in self.active():
            wait.until = min(wait.until, end)
        self.look()

    def look(self) -> None:
        """End what has to end now, rather than at the next check."""
        for wait in self.active():
            self._look_at(wait)

    @property
    def stopping(self) -> bool:
        """Whether the process was asked to stop."""
        return self._stop_at is not None

    def check(self) -> None:
        """Raise Stopped if this thread has to stop: the main thread after the grace period, others at once.

        A thread whose group has ended has to stop too.
        """
        self._check_process()
        group = current_group()
        if group is not None and group.ended:
            raise Stopped

    def _check_process(self) -> None:
        if self._must_stop(threading.get_ident()):
            raise Stopped

    def remaining(self, limit_s: float) -> float:
        """Return how many seconds of a limit this process has left."""
        end = self._stop_at
        return limit_s if end is None else max(0.0, min(limit_s, end - time.monotonic()))

    @contextlib.contextmanager
    def waiting(self, what: str, seconds: float) -> Iterator[None]:
        """Enter a wait of many steps, so that people see all of it; nothing ends it.

        Args:
            what: What is waited for: ``the stack to be refreshed``.
            seconds: How long it may take.

        Raises:
            Stopped: This thread must not wait any more.
        """
        begun = time.monotonic()
        wait = Wait(what, begun, begun + seconds, threading.get_ident())
        self.begin(wait)
        try:
            yield
        finally:
            self.finish(wait)

    def pause(self, seconds: float, what: str = "the next attempt") -> None:
        """Wait this many seconds. Raises Stopped as soon as the process is asked to stop."""
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
            # In this order: a wait that begins meanwhile is either found here, or sees that it has to be
            # woken.
            self._idle = True
            while not self._going_on:
                self._begun.get()
            self._idle = False
            # Not a wait for a change: waits that begin one after the other would postpone the check for ever.
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
        until: When it ends at the latest, on the same clock.
        thread: The thread that waits.
        group: The group for which it waits.
    """

    what: str
    since: float
    until: float
    thread: int
    group: ThreadGroup | None = None

    def end(self) -> None:
        """Wake the thread, unless it wakes by itself."""

    def stop(self) -> None:
        """The process was asked to stop: wake the thread, unless the clean-up needs this wait."""

    def leave(self) -> None:
        """Its group has ended: wake the thread, unless that affects another group."""


class _Pause(Wait):
    """A pause, which any of these reasons ends."""

    def __init__(self, what: str, since: float, until: float, thread: int) -> None:
        super().__init__(what, since, until, thread)
        # Not an Event: that has a Condition.
        self.woken: queue.SimpleQueue[None] = queue.SimpleQueue()

    def end(self) -> None:
        self.woken.put(None)

    stop = leave = end


class ThreadGroup:
    """Threads that work on one result; threads that they start may join.

    Once the result can no longer come, :meth:`end` ends their waits with :class:`Stopped`, except waits on
    connections that other threads use too: those keep their limits.

    Args:
        waits: Those of the process.
    """

    def __init__(self, waits: Waits | None = None) -> None:
        self._waits = waits or PROCESS
        self._outer = current_group()
        self._ends = math.inf

    @property
    def ended(self) -> bool:
        """Whether the result can no longer come: of this group, or of one around it."""
        return time.monotonic() >= self._ends or (self._outer is not None and self._outer.ended)

    def end(self, grace_s: float = 0.0) -> None:
        """End the waits of its threads.

        Args:
            grace_s: Seconds that they may still wait.
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
    """Leave the group for the block, to clean up after the group has ended."""
    group, _thread.group = current_group(), None
    try:
        yield
    finally:
        _thread.group = group


class Call:
    """The wait for a server, from the request to the last byte of its answer.

    A context manager, which may be entered again: sockets that this thread uses inside it are shut down if it
    takes too long.

    Args:
        what: What is waited for: ``ECR to answer GetAuthorizationToken``.
        answer_s: Longest wait for the answer, in seconds.
        size: Bytes that are sent with it.
        least_rate: Bytes a second below which a transfer does not count as progress.
        until: When it ends at the latest, whatever moves, in seconds of :func:`time.monotonic`.
        waits: Those of the process.

    Raises:
        TimeoutError: At the end of the block, if it was late.
        Stopped: Likewise, or at its beginning, if the process was asked to stop.
    """

    def __init__(
        self,
        what: str,
        answer_s: float,
        *,
        size: int = 0,
        least_rate: int = LEAST_RATE,
        until: float = math.inf,
        waits: Waits | None = None,
    ) -> None:
        self.what = what
        self._answer_s = answer_s
        self._left = self._most_s = answer_s + size / least_rate
        self._rate = least_rate
        self._until = until
        self._waits = waits or PROCESS
        self._sockets: list[_Socket] = []
        self._wait: _Running | None = None
        self._outer: Call | None = None

    def __enter__(self) -> Call:
        _listen()
        begun = time.monotonic()
        end = min(begun + self._left, self._until)
        wait = _Running(self.what, begun, end, threading.get_ident(), self._sockets)
        try:
            self._waits.begin(wait)
            self._wait = wait
            self._outer, _thread.call = getattr(_thread, "call", None), self
        except BaseException:
            # A block that was not entered is never left; an interrupt may come anywhere in it.
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
        # Even without an error: http.client takes truncated headers for complete ones.
        if self._waits.stopping or wait.left:
            raise Stopped from error
        raise TimeoutError(f"{self.what}: not done after {took:.0f} s") from error

    def _over(self, wait: _Running | None) -> None:
        """Remove the wait; first stop it from shutting down sockets, whatever interrupts this."""
        try:
            if wait is not None:
                wait.finish()
        finally:
            self._wait = None
            if wait is not None:
                self._waits.finish(wait)
            self._leave()

    def _leave(self) -> None:
        """Move the calls inside it, if any, into the one around it."""
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
        """Count bytes that came or went outside the block: they buy time for the next one."""
        self._left = min(self._most_s, self._left + count / self._rate)

    def pieces(self, pieces: Iterable[T], size: int = 1 << 20) -> Iterator[T]:
        """Yield what comes in pieces; only the time spent waiting for a piece counts.

        Args:
            pieces: The body of the answer.
            size: Maximum size of a piece in bytes: it may come only once all of them are there.
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

    def sending(self, pieces: Iterable[T], size: int = 1 << 20) -> Iterator[T]:
        """Yield pieces to send inside the block; only the time that sending them takes counts.

        Each piece buys time, as its bytes would if they were counted in advance. While the next is made,
        no time passes for this call: whoever makes it has waits of its own.

        Args:
            pieces: The body of the request.
            size: Maximum size of a piece in bytes.
        """
        source = iter(pieces)
        self._most_s = self._answer_s + size / self._rate
        while True:
            self.__exit__(None, None, None)
            piece = next(source, None)
            if piece is not None:
                self.moved(len(piece))
            self.__enter__()
            if piece is None:
                return
            yield piece

    def uses(self, used: Any, *, alone: bool = False) -> None:
        """Note a socket to shut down when the call is late; a closed one is ignored.

        Args:
            used: The socket.
            alone: Whether no other thread uses it: it is then also shut down when the group ends.
        """
        with contextlib.suppress(OSError, ValueError, AttributeError):
            found = _Socket(used.fileno(), os.fstat(used.fileno()).st_ino, alone)
            if found not in self._sockets:
                self._sockets.append(found)


class _Running(Wait):
    """A call that is under way."""

    def __init__(self, what: str, since: float, until: float, thread: int, sockets: list[_Socket]) -> None:
        super().__init__(what, since, until, thread)
        self._sockets = sockets
        self._lock = threading.RLock()
        self._over = False
        self.ended = False
        self.left = False

    def end(self) -> None:
        """Shut down the call's sockets; repeated each time, for one that was made meanwhile."""
        with self._lock:
            if self._over:
                return  # the next call may own the sockets by now
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
    """A socket by its descriptor: TLS takes it from the object that was connected."""

    descriptor: int
    inode: int
    alone: bool

    def shut_down(self) -> None:
        # A copy: what is checked is what is shut down, even if the descriptor is closed meanwhile.
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
    # A hook lives as long as the process: install one only, and not before the first call.
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
os.register_at_fork(after_in_child=PROCESS.forked)
active = PROCESS.active
check = PROCESS.check
remaining = PROCESS.remaining
pause = PROCESS.pause
waiting = PROCESS.waiting
stop = PROCESS.stop


def process_waits() -> Waits:
    """Return the waits of this process, for code that enters one by hand."""
    return PROCESS


def stopping() -> bool:
    """Whether the process was asked to stop."""
    return PROCESS.stopping
