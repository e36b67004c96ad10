"""Numbers in text that others wrote."""

from __future__ import annotations

import pytest

from jenkins_release.base.numbers import whole_number


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("42", 42), ("007", 7), ("9" * 15, 999_999_999_999_999)]
)
def test_ascii_digits_are_a_number(text: str, number: int):
    """Leading zeros too."""
    assert whole_number(text) == number


@pytest.mark.parametrize("text", ["", " 1", "-1", "1.5", "x", "²", "٣", "9" * 16, "9" * 5000])
def test_anything_else_is_none(text: str):
    """Other scripts' digits and superscripts, which are digits for Python, and what no field holds."""
    assert whole_number(text) is None
