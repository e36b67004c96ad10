"""Numbers in text that others wrote: headers, metadata, names of folders."""

from __future__ import annotations

_MOST_DIGITS = 15


def whole_number(text: str) -> int | None:
    """Return the number in a text of at most 15 ASCII digits; None for any other text.

    ``str.isdigit`` is true for superscripts, which ``int`` refuses.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None
