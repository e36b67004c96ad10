"""Progress for people: a live bar on a terminal, occasional plain lines in a console log."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import ClassVar, TextIO

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import without_secrets
from jenkins_release.base.moments import duration
from jenkins_release.base.progress import Progress, Task
from jenkins_release.base.waits import Wait, active
from jenkins_release.cli.output import plain, rate, size
from jenkins_release.cli.terminal import BOTTOM, coloured, terminal, width_of

STEP_PERCENT = 10
STEP_SECONDS = 15.0
LEAST_SECONDS = 1.0
"""Minimum time between lines, so that a fast transfer does not fill the log."""
WAIT_SECONDS = 3.0
"""A wait is reported once it is longer than this, and then as often as anything else."""
_LOOK_SECONDS = 0.5
"""How often to check for a wait to report."""
_RATE_SECONDS = 10.0
"""The rate of a live row is that of the last seconds, so that it shows when a server becomes slow."""
_BAR, _LEAST_BAR, _LEAST_TITLE = 30, 8, 12
"""Characters of a bar, and the fewest of a bar and of a title."""
_MOST_WAITS = 3


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
        BOTTOM.above(lambda: print(line, file=stream, flush=True))


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
            if wait is None or BOTTOM.shown or any(each.tells for each in list(_Stall.named)):
                continue
            # Another wait for the same thing is not news: code that polls every few seconds waits all the
            # time.
            if wait.what != self._told or now - self._last >= STEP_SECONDS:
                self._told, self._last = wait.what, now
                _tell(self._stream, wait_text(wait))


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

    @property
    def tells(self) -> bool:
        """Whether the transfer tells of its own wait, or is about to."""
        return bool(self._what) and self._clock() - self._moved >= WAIT_SECONDS / 2

    @property
    def in_a_call(self) -> bool:
        """Whether a call has taken nearly as long as no byte moved: it has a line, or is about to get one."""
        call = next(iter(active()), None)
        return call is not None and (long_wait() is not None or call.since - self._moved <= WAIT_SECONDS / 2)

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
            told = self._wait.stands_still or not self._wait.in_a_call
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
    """Progress on a terminal: a row at its bottom for each running transfer.

    Args:
        stream: The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[Task]:
        """Begin a transfer with its own row."""
        row = Row(title, total)
        _BARS.begin(row, self._stream)
        try:
            yield row
        finally:
            _BARS.end(row)


class _Meter:
    """How fast a number grows, over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def rate(self, count: int) -> float:
        """Note the number now, and return how much it grows in a second."""
        now = time.monotonic()
        self._seen.append((now, count))
        while now - self._seen[0][0] > _RATE_SECONDS:
            self._seen.popleft()
        first, began = self._seen[0]
        return max(count - began, 0) / (now - first) if now - first >= 1.0 else 0.0


class Row:
    """A transfer and what its row shows.

    Args:
        title: What is moved.
        total: Total bytes, if known.
    """

    def __init__(self, title: str, total: int | None) -> None:
        self.title = plain(title)
        self.total = total
        self.done = 0
        self.wait = _Stall(time.monotonic)
        self.waits_for = self.wait.waits_for
        self._lock = threading.Lock()
        self._meter = _Meter()

    def advance(self, count: int) -> None:
        """Count bytes."""
        with self._lock:
            self.done += count
        self.wait.moved()

    def cells(self) -> _Cells:
        """Return what the row shows now."""
        return _cells(self.title, self.done, self.total, self._meter)


@dataclass(frozen=True)
class _Cells:
    title: str
    share: float | None
    percent: str
    left: str
    rate: str
    amount: str


def _cells(title: str, done: int, total: int | None, meter: _Meter) -> _Cells:
    speed, left = meter.rate(done), ""
    if total is None:
        return _Cells(title, None, "", "", f"{size(speed)}/s", size(done))
    share = min(max(done / total, 0.0), 1.0) if total else 1.0
    if speed and done < total:
        left = f"{duration((total - done) / speed)} left"
    return _Cells(
        title, share, f"{int(100 * share)} %", left, f"{size(speed)}/s", f"{size(done)} of {size(total)}"
    )


class _Bars:
    """The rows of the transfers that run, their total, and what they wait for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: list[Row] = []
        self._stream: TextIO = sys.stderr
        self._ended = self._ended_total = 0
        self._meter = _Meter()

    def begin(self, row: Row, stream: TextIO) -> None:
        """Show a row; the first one begins the display."""
        with self._lock:
            self._rows.append(row)
            if len(self._rows) == 1:
                self._ended, self._ended_total, self._meter, self._stream = 0, 0, _Meter(), stream
                BOTTOM.show(stream, self.lines)

    def end(self, row: Row) -> None:
        """Remove a row; the last one ends the display."""
        row.wait.ended()
        with self._lock:
            self._rows.remove(row)
            self._ended += row.done
            self._ended_total += row.done if row.total is None else row.total
            if not self._rows:
                BOTTOM.hide()

    def lines(self, width: int, height: int) -> list[str]:
        """Return the rows for a width and a greatest number of lines."""
        rows = list(self._rows)  # without the lock: who holds it may wait for the one that draws
        waits = [_end_cut(text, width) for text in dict.fromkeys(self._waits(rows)) if text][:_MOST_WAITS]
        several = len(rows) > 1
        room = max(height - len(waits) - several, 1)
        shown = rows if len(rows) <= room else rows[: max(room - 1, 1)]
        cells = [row.cells() for row in shown]
        more = len(rows) - len(shown)
        if several:
            cells.append(self._total(rows))
        lines = _laid_out(cells, width, self._stream)
        if more and height > 2:
            lines.insert(len(shown), _end_cut(f"... and {more} more", width))
        return [*lines, *waits][-height:]

    def _total(self, rows: Sequence[Row]) -> _Cells:
        done = self._ended + sum(row.done for row in rows)
        total = self._ended_total
        for row in rows:
            if row.total is None:
                return _cells("total", done, None, self._meter)
            total += row.total
        return _cells("total", done, total, self._meter)

    def _waits(self, rows: Sequence[Row]) -> Iterator[str]:
        for row in rows:
            text = row.wait.told()
            named = len(rows) > 1 and row.wait.stands_still
            yield f"{row.title}: {text}" if text and named else text


def _laid_out(cells: Sequence[_Cells], width: int, stream: TextIO) -> list[str]:
    """Return rows with equal columns: what does not fit is left out, the least important first."""
    room = width - _LEAST_TITLE
    columns = []
    for name in ("percent", "left", "rate", "amount"):
        values = [getattr(each, name) for each in cells]
        if needed := max(map(len, values)):
            if needed + 2 > room:
                break
            room -= needed + 2
            columns.append([value.rjust(needed) for value in values])
    wanted = max(width_of(each.title) for each in cells)
    titles = min(wanted, room + min(_LEAST_TITLE, width))
    bar = min(room + _LEAST_TITLE - titles - 2, _BAR)
    lines = []
    for place, each in enumerate(cells):
        title = _middle_cut(each.title, titles)
        parts = [title + " " * (titles - width_of(title))]
        if bar >= _LEAST_BAR:
            parts.append(_bar(each.share, bar, stream))
        lines.append("  ".join([*parts, *(column[place] for column in columns)]))
    return lines


def _bar(share: float | None, width: int, stream: TextIO) -> str:
    full, empty = ("\u2501", "\u2500") if _utf8(stream) else ("=", "-")
    if share is None:
        return " " * width
    count = int(width * share)
    done, rest = full * count, empty * (width - count)
    return f"\x1b[32m{done}\x1b[0m{rest}" if coloured(stream) else done + rest


def _utf8(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") == "utf8"


def _middle_cut(text: str, width: int) -> str:
    """Return text that fits; its end tells more than its middle."""
    if width_of(text) <= width or width <= 3:
        return _beginning(text, width)
    tail = (width - 3) * 2 // 3
    return f"{_beginning(text, width - 3 - tail)}...{_beginning(text[::-1], tail)[::-1]}"


def _end_cut(text: str, width: int) -> str:
    if width_of(text) <= width or width <= 3:
        return _beginning(text, width)
    return f"{_beginning(text, width - 3).rstrip()}..."


def _beginning(text: str, width: int) -> str:
    """Return as much of it as fits."""
    for place, letter in enumerate(text):
        width -= width_of(letter)
        if width < 0:
            return text[:place]
    return text


_BARS = _Bars()


def progress_for(stream: TextIO) -> Progress:
    """Return live bars for a terminal and plain lines for everything else."""
    return LiveProgress(stream) if terminal(stream) else PlainProgress(stream)
