"""Which moments of a command it is killed at."""

from __future__ import annotations

import pytest

from tests.release import boundaries
from tests.release.boundaries import deaths

_WRITE = ["share.create enter", "share.create.write", "share.create exit", "share.rename"]


def test_the_steps_of_a_write_are_played_for_the_first_and_the_last():
    """Each rename is played: others see something new after it."""
    calls = ["share.read piece", *_WRITE, "share.stat", *_WRITE, *_WRITE]
    assert deaths(calls) == [1, 2, 3, 4, 5, 10, 11, 12, 13, 14]


def test_on_demand_every_call_is_played(monkeypatch: pytest.MonkeyPatch):
    """Readings too, and the steps of each write."""
    monkeypatch.setattr(boundaries, "ALL", True)
    assert deaths(["share.stat", *_WRITE, *_WRITE, *_WRITE]) == [*range(1, 14)]
