"""Progress for people: a live bar on a terminal, occasional plain lines in a console log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, TextIO

from jenkins_release.base.errors import without_secrets
from jenkins_release.base.progress import Progress, Task
from jenkins_release.base.waits import Wait, active
from jenkins_release.cli.output import rate, size

if TYPE_CHECKING:
    from rich.console import RenderableType

STEP_PERCENT = 10
STEP_SECONDS = 15.0
LEAST_SECONDS = 1.0
"""Minimum time between lines, so that a fast transfer does not fill the log."""
WAIT_SECONDS = 3.0
"""A wait is reported once it is longer than this, and then as often as anything else."""
_LOOK_SECONDS = 0.5
"""How often to check for a wait to report."""


def long_wait() -> Wait | None:
    """Return the longest wait, if it is worth reporting."""
    found = next(iter(active()), None)
    return None if found is None or time.monotonic() - found.since < WAIT_SECONDS else found


def wait_text(wait: Wait) -> str:
    """Describe a wait: what for, since when and until when."""
    since = datetime.now(UTC) - timedelta(seconds=time.monotonic() - wait.since)
    return f"waiting for {without_secrets(wait.what)} since {since:%H:%M:%S} UTC, {_until(wait)}"


def _until(wait: Wait) -> str:
    until = datetime.now(UTC) + timedelta(seconds=max(0.0, wait.until - time.monotonic()))
    return f"until {until:%H:%M:%S} UTC at the latest"


def _tell(stream: TextIO, line: str) -> None:
    """Write a line. A full disk or a closed pipe is not a failure of the transfer."""
    with suppress(OSError, ValueError):
        print(line, file=stream, flush=True)


class WaitTeller:
    """Writes a line about each long wait; bars, and transfers that know more, do it themselves.

    Args:
        stream: The stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._ended = threading.Event()
        self._told = ""
        self._last = 0.0

    def __enter__(self) -> WaitTeller:
        threading.Thread(target=self._look, daemon=True, name="waits-told").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            wait, now = long_wait(), time.monotonic()
            if wait is None or _LiveBars.shown or any(each.stands_still for each in list(_Stall.named)):
                continue
            # Another wait for the same thing is not news: code that polls every few seconds waits all the
            # time.
            if wait.what != self._told or now - self._last >= STEP_SECONDS:
                self._told, self._last = wait.what, now
                _tell(self._stream, wait_text(wait))


class _LiveBars:
    """How many bars are on the terminal."""

    shown = 0


class _Stall:
    """How long no byte has moved, and why."""

    named: ClassVar[list[_Stall]] = []
    """The waits of transfers that said what they wait for."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._moved = clock()
        self._what = ""

    def moved(self) -> None:
        """Bytes moved."""
        self._moved = self._clock()

    def waits_for(self, what: str) -> None:
        """Remember what the transfer waits for from now on."""
        self._what = what
        if self not in self.named:
            self.named.append(self)

    def ended(self) -> None:
        """The transfer no longer waits."""
        if self in self.named:
            self.named.remove(self)

    @property
    def stands_still(self) -> bool:
        """Whether the transfer has said what it waits for, and has waited long."""
        return bool(self._what) and self._clock() - self._moved >= WAIT_SECONDS

    def told(self) -> str:
        """Return what the transfer says about its wait, or else the slow call."""
        call = long_wait()
        return self.text() if call is None or self.stands_still else wait_text(call)

    def text(self) -> str:
        """Describe the wait: what for, since when, and how long; empty unless it is worth reporting."""
        seconds = self._clock() - self._moved
        if seconds < WAIT_SECONDS:
            return ""
        since = datetime.now(UTC) - timedelta(seconds=seconds)
        text = f"waiting for {self._what or 'more bytes'} since {since:%H:%M:%S} UTC ({seconds:.0f} s)"
        call = long_wait()
        return text if call is None else f"{text}, {_until(call)}"


class PlainTask:
    """A transfer that writes a line every 10 % or 15 seconds, even while it waits."""

    def __init__(self, title: str, total: int | None, stream: TextIO, clock: Callable[[], float]) -> None:
        self._wait = _Stall(clock)
        self._lock = threading.Lock()
        self._told_wait = False
        self._title = title
        self._total = total
        self._stream = stream
        self._clock = clock
        self._begin = self._last = clock()
        self._shown = 0
        self.done = 0

    def advance(self, count: int) -> None:
        """Count bytes, and write a line when one is due."""
        with self._lock:
            self._advance(count)

    def waits_for(self, what: str) -> None:
        """Remember what the next bytes wait for."""
        self._wait.waits_for(what)

    def ended(self) -> None:
        """The transfer has ended."""
        self._wait.ended()

    def look(self) -> None:
        """Write a line if there is a wait to report."""
        with self._lock:
            # If the transfer says nothing, the slow call already has a line.
            told = self._wait.stands_still or long_wait() is None
            text, now = self._wait.text() if told else "", self._clock()
            if text and (not self._told_wait or now - self._last >= STEP_SECONDS):
                self._told_wait, self._last = True, now
                _tell(self._stream, f"{self._title}: {size(self.done)}, {text}")

    def _advance(self, count: int) -> None:
        self._wait.moved()
        self._told_wait = False
        self.done += count
        percent = 100 * self.done // self._total if self._total else 0
        now = self._clock()
        quiet = now - self._last
        if (percent >= self._shown + STEP_PERCENT and quiet >= LEAST_SECONDS) or quiet >= STEP_SECONDS:
            self._shown = percent - percent % STEP_PERCENT
            self._last = now
            self._line(percent, now)

    def _line(self, percent: int, now: float) -> None:
        seconds = now - self._begin
        text = f"{self._title}: {size(self.done)}"
        if self._total:
            left = (self._total - self.done) / max(self.done / max(seconds, 1e-9), 1)
            text += f" of {size(self._total)} ({percent} %), {rate(self.done, seconds)}, {left:.0f} s left"
        else:
            text += f", {rate(self.done, seconds)}"
        _tell(self._stream, text)


class PlainProgress:
    """Progress for a log, without control characters or wrapped digests and names."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock

    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[Task]:
        """Begin a transfer; a line is written when it ends well."""
        begin = self._clock()
        task = PlainTask(title, total, self._stream, self._clock)
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(_LOOK_SECONDS):
                task.look()

        threading.Thread(target=look, daemon=True, name="progress").start()
        try:
            yield task
        finally:
            ended.set()
            task.ended()
        seconds = self._clock() - begin
        _tell(
            self._stream, f"{title}: done, {size(task.done)} in {seconds:.1f} s, {rate(task.done, seconds)}"
        )


class LiveProgress:
    """Progress bars on a terminal."""

    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[Task]:
        """Begin a transfer with its own bar."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as Bars
        from rich.text import Text

        wait = _Stall(time.monotonic)

        class WithWait(Bars):
            def get_renderables(self) -> Iterator[RenderableType]:
                yield from super().get_renderables()
                if text := wait.told():
                    yield Text(text)

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        _LiveBars.shown += 1
        try:
            with WithWait(*columns, console=Console(stderr=True), transient=True) as bars:
                yield _BarTask(bars.advance, bars.add_task(title, total=total), wait)
        finally:
            wait.ended()
            _LiveBars.shown -= 1


class _BarTask:
    def __init__(self, advance: Callable[..., None], ident: int, wait: _Stall) -> None:
        self._advance = advance
        self._ident = ident
        self._wait = wait
        self.waits_for = wait.waits_for

    def advance(self, count: int) -> None:
        self._wait.moved()
        self._advance(self._ident, count)


def progress_for(stream: TextIO) -> Progress:
    """Return live bars for a terminal and plain lines for everything else."""
    return LiveProgress() if stream.isatty() else PlainProgress(stream)
