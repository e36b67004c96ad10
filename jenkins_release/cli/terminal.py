"""What a terminal shows: its width, whether it has colours, and lines at its bottom that change."""

from __future__ import annotations

import os
import threading
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TextIO

from jenkins_release.base.signals import whole

__all__ = ["BOTTOM", "Bottom", "coloured", "columns", "size_of", "terminal", "width_of"]

_DIGITS = 9
"""Digits of a number of columns that is believed; Python reads none of more than 4300."""
_DRAW_S = 0.2
_LOCK_S = 0.3
"""How long a line waits for another thread that draws: a terminal may take nothing (Ctrl-S)."""


def terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal that can move its cursor; a ``dumb`` one is treated like a pipe."""
    with suppress(OSError, ValueError, AttributeError):
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    return False


def coloured(stream: TextIO | None) -> bool:
    """Whether to use colours: on a terminal, unless ``NO_COLOR`` is set (https://no-color.org)."""
    return terminal(stream) and not os.environ.get("NO_COLOR")


def size_of(stream: TextIO) -> tuple[int, int]:
    """Return the columns and lines of a terminal; 80 and 24 if it does not say."""
    with suppress(OSError, ValueError, AttributeError):
        found = os.get_terminal_size(stream.fileno())
        return found.columns or 80, found.lines or 24
    return 80, 24


def columns(stream: TextIO | None) -> int | None:
    """Return how wide the text of a result may be; None for a pipe, or a terminal that does not say.

    ``COLUMNS`` overrides what the terminal says.
    """
    if stream is None or not terminal(stream):
        return None
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and len(given) <= _DIGITS and int(given):
        return int(given)
    with suppress(OSError, ValueError, AttributeError):
        return os.get_terminal_size(stream.fileno()).columns or None
    return None


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes: wide letters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )


class Bottom:
    """Lines at the bottom of a terminal that are drawn again and again, below all that is written meanwhile.

    The cursor is never hidden, and at most as many lines are erased as were drawn: whatever ends the process,
    and however the window changes, the terminal stays usable and loses nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._lines: Callable[[int, int], Sequence[str]] | None = None
        self._stream: TextIO | None = None
        self._drawn = 0
        self._closed = False

    @property
    def shown(self) -> bool:
        """Whether there are any."""
        return self._lines is not None

    def show(self, stream: TextIO, lines: Callable[[int, int], Sequence[str]]) -> None:
        """Draw lines from now on.

        Args:
            stream: The terminal.
            lines: Returns them for a width and a greatest number; none may be wider.
        """
        self._set(stream, lines)
        threading.Thread(target=self._run, args=[lines], daemon=True, name="bars").start()

    def hide(self) -> None:
        """Erase the lines."""
        self._set(self._stream, None)

    def open(self) -> None:
        """Begin a command."""
        self._closed = False

    def close(self) -> None:
        """Erase the lines, and draw none any more: the command is about to end."""
        self._closed = True
        self.hide()

    def above(self, write: Callable[[], object]) -> None:
        """Write something above the lines.

        Args:
            write: Writes it, and flushes the stream.
        """
        if self._lines is None:
            write()
            return
        held = self._begin()
        try:
            write()
        finally:
            self._finish(held)

    @whole
    def _begin(self) -> bool:
        held = self._lock.acquire(timeout=_LOCK_S)
        if held:
            self._draw(())
        return held

    @whole
    def _finish(self, held: bool) -> None:
        if held:
            self._draw_all()
            self._lock.release()

    def _run(self, lines: Callable[[int, int], Sequence[str]]) -> None:
        ticks = threading.Event()
        while self._lines is lines:
            self._refresh()
            ticks.wait(_DRAW_S)

    @whole
    def _set(self, stream: TextIO | None, lines: Callable[[int, int], Sequence[str]] | None) -> None:
        held = self._begin()
        self._lines, self._stream = None if self._closed else lines, stream
        self._finish(held)

    def _refresh(self) -> None:
        with self._lock:
            self._draw_all()

    def _draw_all(self) -> None:
        if self._lines is not None and self._stream is not None:
            width, height = size_of(self._stream)
            # In the last column, some terminals wrap at once.
            self._draw(self._lines(width - 1, max(height - 1, 1)))

    def _draw(self, lines: Sequence[str]) -> None:
        if self._stream is None or not (lines or self._drawn):
            return
        # In one piece, so that it does not flicker. Each line is overwritten, then its rest erased.
        up = f"\x1b[{self._drawn - 1}A" if self._drawn > 1 else ""
        text = f"\r{up}" + "\r\n".join(f"{line}\x1b[K" for line in lines)
        self._drawn = len(lines)
        with suppress(OSError, ValueError):
            # Back to the beginning of the line: the terminal writes ^C where the cursor is.
            self._stream.write(f"{text}\x1b[J\r")
            self._stream.flush()


BOTTOM = Bottom()
"""That of this process."""
