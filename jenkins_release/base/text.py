"""Untrusted text, made safe for a page, a log or a message."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

_CUT = "..."


def plain(text: object) -> str:
    """Return untrusted text with everything that could change the page made visible.

    Control, format and line separator characters become escapes, so that the text cannot add a line to the
    page, move the cursor, or change the text direction.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "backslashreplace").decode()
        for letter in str(text)
    )


def shortened(text: str, limit: int) -> str:
    """Return text of at most ``limit`` characters; dots replace what was cut off."""
    return text if len(text) <= limit else text[: limit - len(_CUT)].rstrip() + _CUT


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question about an unknown name, with the known names like it; empty if there are none."""
    from difflib import get_close_matches

    by_lower = {each.lower(): each for each in known}
    found = [by_lower[each] for each in get_close_matches(name.lower(), by_lower)]
    return f"did you mean {' or '.join(map(repr, found))}?" if found else ""


def web_address(value: str) -> str:
    """Return a URL that may become a link, or an empty string: http and https only, nothing to escape."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not parts.hostname or set(value) & set("<>|\"'` \\"):
        return ""
    return value if value.isascii() and value.isprintable() else ""


def size(count: float) -> str:
    """Return a number of bytes in decimal units, as disks and networks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def size_difference(count: float) -> str:
    """Return a difference in bytes with its sign, in the units of :func:`size`."""
    return f"{'+' if count > 0 else '-' if count < 0 else ''}{size(abs(count))}"
