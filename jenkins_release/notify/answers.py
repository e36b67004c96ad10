"""Makes a server's answer safe to quote in a message."""

from __future__ import annotations


def quoted(answer: bytes | str, limit: int) -> str:
    """Return the beginning of an answer in one line, without terminal control characters.

    Args:
        answer: What the server sent.
        limit: Maximum characters.
    """
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    line = " ".join(text.split())[:limit]
    return "".join(letter if letter.isprintable() else "?" for letter in line)
