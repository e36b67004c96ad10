"""Plain text for people: tables that never wrap a digest, sizes, rates."""

from __future__ import annotations

from collections.abc import Sequence

import click

from jenkins_release.base.text import plain, size
from jenkins_release.cli.terminal import BOTTOM

__all__ = ["bullets", "counted", "plain", "rate", "size", "table", "tell"]


def tell(text: str, *, err: bool = False) -> None:
    """Write lines to stdout or stderr. If that fails, the command still ends as it would have.

    Its status says what was done; a full disk or a closed pipe does not change that.

    Args:
        text: The lines.
        err: Whether they go to stderr.
    """
    try:
        BOTTOM.above(lambda: click.echo(text, err=err))
    except (OSError, ValueError) as error:
        if not err:
            tell(f"warning: stdout cannot be written: {getattr(error, 'strerror', None) or error}", err=True)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned table; lines are as long as necessary.

    Args:
        headers: Column titles.
        rows: Cells, as many in each row as there are titles.
    """
    lines = [list(headers), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def counted(number: int, noun: str) -> str:
    """Return a number of things, such as ``1 file`` or ``2 files``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def rate(count: float, seconds: float) -> str:
    """Return bytes a second in MB/s."""
    return f"{count / 1e6 / seconds:.1f} MB/s" if seconds > 0 else "-"


def bullets(lines: Sequence[str]) -> str:
    """Return each on a line, with a dash before it."""
    return "\n".join(f"  - {line}" for line in lines)
