"""Consoles: from bytes in pieces to plain lines."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jenkins_release.jenkins.console import ConsoleLines, plain_line
from tests.fixtures.jenkins_double.items import NOTE

LOG = f"Started by user {NOTE}admin\n{NOTE}[Pipeline] sh\n+ echo Größe\nGröße ✓\r\n\nlast".encode()
LINES = ["Started by user admin", "[Pipeline] sh", "+ echo Größe", "Größe ✓", "", "last"]


@given(st.lists(st.integers(0, len(LOG)), max_size=6))
def test_pieces_may_end_anywhere(cuts):
    """Within a line, a note, a character: the lines are the same."""
    console, found, places = ConsoleLines(), [], [0, *sorted(cuts), len(LOG)]
    for begin, end in itertools.pairwise(places):
        found += console.feed(LOG[begin:end])
    assert found + console.close() == LINES


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"\x1b[31mred\x1b[0m and \x1b[1;4mbold\x1b[m", "red and bold"),
        (b"\x1b]0;title\x07text", "text"),
        (b"10 %\r50 %\r100 %", "100 %"),
        (b"a\tb", "a       b"),
        (b"\xff\xfe broken", "\ufffd\ufffd broken"),
    ],
)
def test_colours_titles_and_progress_bars_become_plain_text(raw: bytes, shown: str):
    """Nothing that a program writes moves the cursor of who reads."""
    assert plain_line(raw) == shown


def test_a_line_without_an_end_does_not_fill_the_memory():
    """It is cut at some length."""
    console = ConsoleLines()
    found = [line for _ in range(100) for line in console.feed(b"x" * 65536)]
    assert sum(map(len, found)) + sum(map(len, console.close())) == 100 * 65536
    assert max(map(len, found)) < 1_000_000
