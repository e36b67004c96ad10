"""Checks of a doctor: their order, their deadline, and what they need; clocks and names."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta

import pytest

from jenkins_release.base.checks import Examination, Found, Status
from jenkins_release.base.clocks import compared, http_date
from jenkins_release.base.errors import Category, ConfigurationError, RemoteError
from jenkins_release.base.resolver import addresses
from jenkins_release.base.waits import pause

NOW = datetime(2026, 11, 30, 18, 0, tzinfo=UTC)


def fails() -> Found:
    raise RemoteError("it is down", hint="start it", reasons=["no answer", "no port"])


def test_a_check_that_needs_a_failed_one_names_the_first_cause():
    """Not the check before it, which was not made either."""
    examination = Examination(5.0)
    assert not examination.check("port", fails)
    assert not examination.check("login", lambda: Found("never"), "port")
    assert not examination.check("rights", lambda: Found("never"), "login")
    assert examination.check("keys", lambda: Found("there", "look at them"))
    found = [(check.name, check.status, check.needs) for check in examination.checks]
    assert found == [
        ("port", Status.FAIL, ""),
        ("login", Status.SKIPPED, "port"),
        ("rights", Status.SKIPPED, "port"),
        ("keys", Status.WARNING, ""),
    ]
    first = examination.checks[0]
    assert (first.said, first.hint, first.category) == (
        "it is down; no answer; no port",
        "start it",
        Category.REMOTE,
    )


def test_a_warning_stops_nothing():
    """Only what failed or was not made is missing."""
    examination = Examination(5.0)
    examination.check("clock", lambda: Found("slow", "set it"))
    assert examination.check("login", lambda: Found("done"), "clock")
    examination.skip("portal", "not configured")
    assert not examination.check("page", lambda: Found("never"), "portal")


def test_a_check_that_does_not_end_is_late():
    """It is a failure of its own, and the next check is made, with all its time."""

    def waits() -> Found:
        pause(60.0)
        return Found("never")

    examination, begun = Examination(0.3), time.monotonic()
    assert not examination.check("slow", waits)
    assert time.monotonic() - begun < 5
    assert "no result within 0.3 s" in examination.checks[0].said
    assert examination.check("next", lambda: Found(str(pause(0.01))))


@pytest.mark.parametrize(
    ("off", "said"),
    [
        (timedelta(), "this machine and the server agree"),
        (timedelta(seconds=30), "30 s ahead of the server"),
        (timedelta(seconds=-90), "90 s behind the server"),
    ],
)
def test_clocks_that_are_near_enough(off: timedelta, said: str):
    """From a minute on there is something to do."""
    found = compared("the server", NOW - off, NOW)
    assert said in found.said
    assert bool(found.hint) == (abs(off) > timedelta(minutes=1))


def test_clocks_that_are_too_far_apart_or_unknown():
    """The difference is told in minutes; a server that keeps its time to itself is no failure."""
    with pytest.raises(ConfigurationError, match="10 minutes behind the server"):
        compared("the server", NOW + timedelta(minutes=10), NOW)
    assert compared("the server", None, NOW).said == "the server does not tell the time"


@pytest.mark.parametrize("stated", ["Mon, 30 Nov 2026 18:00:00 GMT", "Mon, 30 Nov 2026 18:00:00 -0000"])
def test_a_date_header_is_read_as_utc(stated: str):
    """Also if it names no zone."""
    assert http_date(stated) == NOW


@pytest.mark.parametrize("stated", ["", "yesterday", "Mon, 99 Nov 2026 18:00:00 GMT"])
def test_a_date_header_that_is_none(stated: str):
    """Is as good as missing."""
    assert http_date(stated) is None


def test_a_name_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch):
    """The limit is told; the library's own wait has none."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(5))
    begun = time.monotonic()
    with pytest.raises(RemoteError, match=r"no name server said within 0.2 s where files.example.com is"):
        addresses("files.example.com", 0.2)
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("name", ["no-such-server.invalid", "a" * 70 + ".example.com", ".."])
def test_a_name_that_is_none(name: str):
    """Unknown, or not a name at all."""
    with pytest.raises(RemoteError, match="is not known here"):
        addresses(name, 20.0)
