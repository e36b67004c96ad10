"""The error of a document that cannot be used, with all of its mistakes."""

from __future__ import annotations

from collections.abc import Sequence

from jenkins_release.base.errors import IntegrityError

SHOWN = 10
"""Mistakes of one document that are listed; a scanner that writes one wrong writes it for every package."""
MOST = 1000
"""Mistakes after which a document is read no further: what is wrong with it is clear."""
_LONGEST = 300


class InvalidDocument(IntegrityError):
    """A document is not JSON, of an unknown format or version, or not as its format requires."""


def invalid(where: str, what: str, mistakes: Sequence[str], hint: str) -> InvalidDocument:
    """Return the error for a document.

    Args:
        where: The document.
        what: What it should be, such as ``SPDX 2.3``.
        mistakes: What is wrong with it; at least one.
        hint: What to do.
    """
    shown = [short(each) for each in mistakes[:SHOWN]]
    if len(mistakes) > SHOWN:
        least = "at least " if len(mistakes) >= MOST else ""
        shown.append(f"and {least}{len(mistakes) - SHOWN} more")
    return InvalidDocument(
        f"{where} is not valid {what}: {shown[0]}", hint=hint, reasons=[f"{where}: {each}" for each in shown]
    )


def short(text: str) -> str:
    """Return a mistake as one line of a message."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
