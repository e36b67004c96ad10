"""From the bytes of a console to lines of plain text.

``logText/progressiveText`` sends the log as it is stored: with console notes, which Jenkins writes as ``ESC
[8m ha: <base64> ESC [0m`` (hudson.console.ConsoleNote), and with any colours of programs.
"""

from __future__ import annotations

import re

_NOTE, _NOTE_END = "\x1b[8mha:", "\x1b[0m"
_CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_LONGEST = 256 * 1024


class ConsoleLines:
    """Makes lines from pieces; a line, a note or a character may span several."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[str]:
        """Take a piece and return the lines that it completes, without their ends."""
        self._rest += data
        end = self._rest.rfind(b"\n") + 1
        if not end and len(self._rest) > _LONGEST:
            end = len(self._rest)  # a program that never ends its line must not fill the memory
        whole = bytes(self._rest[:end])
        del self._rest[:end]
        return (
            [plain_line(line) for line in whole.split(b"\n")[:-1]] if whole.endswith(b"\n") else _one(whole)
        )

    def close(self) -> list[str]:
        """Return the rest: a last line without an end."""
        rest = bytes(self._rest)
        self._rest.clear()
        return _one(rest)


def plain_line(line: bytes) -> str:
    """Return a line as text, without console notes and control sequences, tabs expanded.

    A progress bar overwrites itself with carriage returns: the last state is kept.
    """
    text = _CONTROL_SEQUENCE.sub("", _without_notes(line.decode("utf-8", "replace")))
    return text.rstrip("\r").rpartition("\r")[2].expandtabs(8).rstrip()


def _without_notes(text: str) -> str:
    # Not a regular expression: it would follow each of many unfinished notes to the end of the line.
    kept, at = [], 0
    while (start := text.find(_NOTE, at)) >= 0 and (end := text.find(_NOTE_END, start)) >= 0:
        kept.append(text[at:start])
        at = end + len(_NOTE_END)
    return "".join([*kept, text[at:]])


def _one(line: bytes) -> list[str]:
    return [plain_line(line)] if line else []
