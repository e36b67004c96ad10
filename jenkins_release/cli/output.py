"""Text for people: tables that never cut a digest, sizes, rates, and colours on a terminal."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import zip_longest
from typing import Literal, TextIO

import click

from jenkins_release.base.text import plain, size
from jenkins_release.cli.terminal import BOTTOM, coloured, columns, terminal, width_of

__all__ = [
    "Style",
    "bullets",
    "counted",
    "for_a_file",
    "indented",
    "plain",
    "rate",
    "shown_on_terminal",
    "size",
    "styled",
    "table",
    "tell",
]

Style = Literal["good", "bad", "open", "strong", "quiet"]
_CODES = {"good": "32", "bad": "1;31", "open": "33", "strong": "1", "quiet": "2"}
# What others wrote, on the share or in a registry, cannot contain it.
_KEY = os.urandom(8).hex()
_MARK = re.compile(rf"\x00{_KEY}([a-z]*)\x00")
_DIGEST = re.compile(r"(?<![0-9a-zA-Z])(?:sha256:)?[0-9a-f]{64}(?![0-9a-zA-Z])")
_GAP = 2
_FREE = 24
"""Characters from which on a cell with several words may continue on the next line."""
_left: ContextVar[int | None] = ContextVar("left", default=0)


def tell(text: str, *, err: bool = False) -> None:
    """Write lines to stdout or stderr. If that fails, the command still ends as it would have.

    Its status says what was done; a full disk or a closed pipe does not change that.

    Args:
        text: The lines.
        err: Whether they go to stderr.
    """
    shown = _MARK.sub(lambda mark: f"\x1b[{_CODES.get(mark[1], '0')}m", text)
    try:
        BOTTOM.above(lambda: click.echo(shown, err=err))
    except (OSError, ValueError) as error:
        if not err:
            word = styled("warning:", "open", sys.stderr)
            tell(f"{word} stdout cannot be written: {getattr(error, 'strerror', None) or error}", err=True)


def styled(text: str, style: Style, stream: TextIO | None = None) -> str:
    """Return text in a style if it is shown on a terminal with colours, otherwise unchanged.

    Args:
        text: The text.
        style: ``good`` and ``bad`` news, something still ``open``, a ``strong`` or a ``quiet`` word.
        stream: Where it goes; stdout by default.
    """
    if _left.get() is None or not coloured(stream or sys.stdout):
        return text
    # Word by word: lines may be broken between them.
    return " ".join(f"\0{_KEY}{style}\0{word}\0{_KEY}\0" if word else word for word in text.split(" "))


@contextmanager
def indented(count: int) -> Iterator[None]:
    """Let tables be so many columns narrower in the block, because they are indented."""
    left = _left.get()
    before = _left.set(None if left is None else left + count)
    try:
        yield
    finally:
        _left.reset(before)


@contextmanager
def for_a_file() -> Iterator[None]:
    """Return text in the block as in a pipe: with lines as long as necessary, and without styles."""
    before = _left.set(None)
    try:
        yield
    finally:
        _left.reset(before)


def shown_on_terminal(text: str) -> str:
    """Return a result as a terminal shows it, with quiet digests and without foreign control characters."""
    if not terminal(sys.stdout):
        return text
    return "\n".join(_harmless(line) for line in text.rstrip("\n").split("\n"))


def _harmless(line: str) -> str:
    found = _MARK.split(line)  # text and mark by turns
    for place in range(0, len(found), 2):
        part = plain(found[place])
        found[place] = _DIGEST.sub(lambda digest: styled(digest[0], "quiet"), part)
    for place in range(1, len(found), 2):
        found[place] = f"\0{_KEY}{found[place]}\0"
    return "".join(found)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned table.

    In a pipe, lines are as long as necessary. On a terminal that is too narrow, long cells of several words
    continue on the next line; if that is not enough, each row becomes a block of lines. No word is ever cut.

    Args:
        headers: Column titles.
        rows: Cells, as many in each row as there are titles.
    """
    left, room = _left.get(), columns(sys.stdout)
    lines = [[styled(head, "strong") for head in headers], *(list(row) for row in rows)]
    widths = [max(_wide(line[column]) for line in lines) for column in range(len(headers))]
    if left is None or room is None:
        return _aligned(lines, widths)
    room -= left + _GAP * (len(widths) - 1)
    if sum(widths) <= room:
        return _aligned(lines, widths)
    least = [
        min(width, max(_FREE, *(_wide(word) for line in lines for word in line[column].split(" "))))
        for column, width in enumerate(widths)
    ]
    more = room - sum(least)
    if more < 0:
        return _blocks(headers, rows, room + _GAP * (len(widths) - 1))
    wanted = sum(widths) - sum(least)
    widths = [low + more * (width - low) // wanted for low, width in zip(least, widths, strict=True)]
    broken: list[list[str]] = []
    for line in lines:
        cells = [_broken(cell, width) for cell, width in zip(line, widths, strict=True)]
        broken += [list(parts) for parts in zip_longest(*cells, fillvalue="")]
    return _aligned(broken, widths)


def _aligned(lines: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    return "\n".join(
        (" " * _GAP)
        .join(cell + " " * (width - _wide(cell)) for cell, width in zip(line, widths, strict=True))
        .rstrip()
        for line in lines
    )


def _blocks(headers: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> str:
    """Return a block of lines for each row: a title and a cell in each, or the cell below if it is long."""
    width = max(map(_wide, headers))
    blocks = []
    for row in rows:
        lines = []
        for head, cell in zip(headers, row, strict=True):
            if not cell:
                continue
            if max(map(_wide, cell.split(" "))) > room - width - _GAP:
                lines += [
                    *_broken(styled(head, "strong"), room),
                    *(f"  {part}" for part in _broken(cell, room - 2)),
                ]
                continue
            first, *more = _broken(cell, room - width - _GAP)
            title = styled(head, "strong") + " " * (width - _wide(head) + _GAP)
            lines.append(f"{title}{first}")
            lines += [f"{' ' * (width + _GAP)}{part}" for part in more]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _broken(text: str, width: int) -> list[str]:
    """Return the lines of a cell; a word that is too long stays whole."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and _wide(lines[-1]) + 1 + _wide(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _wide(text: str) -> int:
    """Return how many columns a text takes; in a pipe, a character counts as one."""
    text = _MARK.sub("", text)
    return len(text) if _left.get() is None or not terminal(sys.stdout) else width_of(text)


def counted(number: int, noun: str) -> str:
    """Return a number of things, such as ``1 file`` or ``2 files``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def rate(count: float, seconds: float) -> str:
    """Return bytes a second in MB/s."""
    return f"{count / 1e6 / seconds:.1f} MB/s" if seconds > 0 else "-"


def bullets(lines: Sequence[str]) -> str:
    """Return each on a line, with a dash before it."""
    return "\n".join(f"  - {line}" for line in lines)
