"""Progress for people: a live bar on a terminal, one plain line now and then in a console log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from jenkins_release.cli.output import rate, size
from jenkins_release.progress import Progress, Task

STEP_PERCENT = 10
STEP_SECONDS = 15.0
LEAST_SECONDS = 1.0
"""Lines do not follow each other faster than this, so that a quick transfer does not fill the log."""


class PlainTask:
    """A transfer that writes a line every 10 %, or every 15 seconds."""

    def __init__(self, title: str, total: int | None, stream: TextIO, clock: Callable[[], float]) -> None:
        self._title = title
        self._total = total
        self._stream = stream
        self._clock = clock
        self._begin = self._last = clock()
        self._shown = 0
        self.done = 0

    def advance(self, count: int) -> None:
        """Count bytes, and write a line when one is due."""
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
        print(text, file=self._stream, flush=True)


class PlainProgress:
    """Progress for a log: no control characters, digests and names never wrapped."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock

    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[Task]:
        """Begin a transfer; a line is written when it ends well."""
        begin = self._clock()
        task = PlainTask(title, total, self._stream, self._clock)
        yield task
        seconds = self._clock() - begin
        print(
            f"{title}: done, {size(task.done)} in {seconds:.1f} s, {rate(task.done, seconds)}",
            file=self._stream,
            flush=True,
        )


class LiveProgress:
    """Progress bars on a terminal."""

    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[Task]:
        """Begin a transfer with a bar of its own."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
            yield _BarTask(bars.advance, bars.add_task(title, total=total))


class _BarTask:
    def __init__(self, advance: Callable[..., None], ident: int) -> None:
        self._advance = advance
        self._ident = ident

    def advance(self, count: int) -> None:
        self._advance(self._ident, count)


def progress_for(stream: TextIO) -> Progress:
    """Return live bars for a terminal and plain lines for everything else."""
    return LiveProgress() if stream.isatty() else PlainProgress(stream)
