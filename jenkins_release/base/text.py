"""Text that somebody else wrote, made fit for a page, a log or a message."""

from __future__ import annotations

from urllib.parse import urlsplit

_CUT = "..."


def plain(text: object) -> str:
    """Return text that somebody else wrote, with whatever could change the page made visible.

    Control, format and line separating characters become escapes: nobody draws a line of their own
    into the page, moves the cursor, or turns the direction of the text.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "backslashreplace").decode()
        for letter in str(text)
    )


def shortened(text: str, limit: int) -> str:
    """Return text of at most ``limit`` characters; dots stand for what was cut off."""
    return text if len(text) <= limit else text[: limit - len(_CUT)].rstrip() + _CUT


def web_address(value: str) -> str:
    """Return a URL that may become a link, or an empty string: http and https only, nothing to escape."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not parts.hostname or set(value) & set("<>|\"'` \\"):
        return ""
    return value if value.isascii() and value.isprintable() else ""
