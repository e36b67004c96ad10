"""The forecast: bytes over the rates that earlier promotions recorded, and nothing made up."""

from __future__ import annotations

import pytest

from jenkins_release.rules.release.forecast import Forecast, SeenRate, forecast, pushed_claim, seen_rate


def seen(*rates: float) -> list[SeenRate]:
    """Return promotions with rates in bytes per second."""
    return [SeenRate(f"8.1.0/{number}", int(rate * 10), 10.0) for number, rate in enumerate(rates)]


def test_the_time_follows_from_the_median_of_the_rates():
    """One slow day does not move it."""
    expected = forecast(6000, seen(300, 200, 1))
    assert (expected.seconds, expected.rate) == (30.0, 200.0)
    assert expected.seen == ("8.1.0/0", "8.1.0/1", "8.1.0/2")


def test_nothing_to_push_takes_no_time():
    """Whatever was seen."""
    assert forecast(0, seen(100)) == Forecast(0, 0.0)


def test_where_nothing_was_seen_the_time_is_unknown():
    """No rate is invented."""
    assert forecast(1000, []) == Forecast(1000, None, None, ())


def test_what_a_promotion_records_is_read_back():
    """The two sides of the field agree."""
    assert seen_rate("8.1.0/42", {"pushed": pushed_claim(5_000_000, 2.5)}) == SeenRate(
        "8.1.0/42", 5_000_000, 2.5
    )


@pytest.mark.parametrize(
    "told",
    [
        None,
        "fast",
        [],
        {},
        {"bytes": 10},
        {"bytes": 0, "seconds": 1.0},
        {"bytes": 10, "seconds": 0},
        {"bytes": -10, "seconds": 1},
        {"bytes": 10, "seconds": -1},
        {"bytes": True, "seconds": 1},
        {"bytes": 10, "seconds": True},
        {"bytes": "10", "seconds": 1},
        {"bytes": 10, "seconds": float("nan")},
        {"bytes": 10, "seconds": float("inf")},
    ],
)
def test_what_is_no_rate_is_passed_over(told):
    """A run that pushed nothing, an older record, and nonsense."""
    assert seen_rate("8.1.0/42", {"pushed": told}) is None
    assert seen_rate("8.1.0/42", {}) is None
