"""What a server said, fit to be quoted in a message."""

from __future__ import annotations


def quoted(answer: bytes | str, limit: int) -> str:
    """Return the beginning of an answer in one line, without anything that could change a terminal.

    Args:
        answer: What the server sent.
        limit: Most characters of it.
    """
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    line = " ".join(text.split())[:limit]
    return "".join(letter if letter.isprintable() else "?" for letter in line)
