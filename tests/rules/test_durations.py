"""Lengths of time as people write them."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jenkins_release.base.durations import parse_duration
from jenkins_release.base.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7d", timedelta(days=7)),
        ("12h", timedelta(hours=12)),
        ("30m", timedelta(minutes=30)),
        ("90s", timedelta(seconds=90)),
        ("1d12h", timedelta(days=1, hours=12)),
        ("1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        (" 7d ", timedelta(days=7)),
    ],
)
def test_numbers_with_units(text: str, expected: timedelta) -> None:
    """Days, hours, minutes and seconds, alone or one after the other."""
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "7", "d", "7 d", "-7d", "7D", "1h1d", "7d7d", "1.5h", "\u0667d", "7w", "9999999d"]
)
def test_what_is_no_length_of_time(text: str) -> None:
    """A number without a unit is a mistake, not a guess."""
    with pytest.raises(ConfigurationError, match="is not a length of time"):
        parse_duration(text)


@given(st.text(alphabet="0123456789dhms ", max_size=12))
def test_every_text_is_a_length_or_a_clear_error(text: str) -> None:
    """Nothing else is raised."""
    with contextlib.suppress(ConfigurationError):
        assert parse_duration(text) >= timedelta(0)
