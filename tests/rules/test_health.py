"""What a good answer is, and how many in a row are enough."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jenkins_release.config.saas import HealthSection
from jenkins_release.records.health_answer import HealthAnswer
from jenkins_release.rules.saas.health import Streak, expected_version, fault


def check(**more) -> HealthSection:
    return HealthSection(url="https://skydrm.example/health", **more)


BODY = json.dumps({"status": "up", "build": {"version": "8.1.0", "number": 42}}).encode()


@pytest.mark.parametrize(
    ("more", "answer", "expected", "problem"),
    [
        ({}, HealthAnswer(200, BODY), None, ""),
        ({}, HealthAnswer(503, b""), None, "status 503, expected 200"),
        ({"status": 204}, HealthAnswer(204), None, ""),
        ({"status": 302}, HealthAnswer(302), None, ""),
        ({}, HealthAnswer(0, problem="no answer within 10 s"), None, "no answer within 10 s"),
        ({"contains": '"up"'}, HealthAnswer(200, BODY), None, ""),
        ({"contains": "down"}, HealthAnswer(200, BODY), None, "the body does not contain 'down'"),
        ({"matches": r'"number": \d+'}, HealthAnswer(200, BODY), None, ""),
        ({"matches": "^nothing$"}, HealthAnswer(200, BODY), None, "the body does not match '^nothing$'"),
        ({"version_field": "build.version"}, HealthAnswer(200, BODY), "8.1.0", ""),
        ({"version_field": "build.number"}, HealthAnswer(200, BODY), "42", ""),
        (
            {"version_field": "build.version"},
            HealthAnswer(200, BODY),
            "8.1.1",
            "build.version is '8.1.0', expected '8.1.1'",
        ),
        ({"version_field": "build.name"}, HealthAnswer(200, BODY), "8", "the body has no field 'build.name'"),
        ({"version_field": "status.of"}, HealthAnswer(200, BODY), "8", "the body has no field 'status.of'"),
        ({"version_field": "version"}, HealthAnswer(200, b"<html>"), "8", "the body is not JSON"),
        ({"version_field": "version"}, HealthAnswer(200, b"[" * 100_000), "8", "the body is not JSON"),
        ({"version_field": "version"}, HealthAnswer(200, b"\xff\xfe"), "8", "the body is not JSON"),
        ({"version_field": "version"}, HealthAnswer(200, b"<html>"), None, ""),
    ],
)
def test_a_good_answer_has_status_text_and_version(more, answer, expected, problem):
    """The first thing that is wrong is told."""
    assert fault(check(**more), answer, expected) == problem


@pytest.mark.parametrize(
    ("more", "release", "expected"),
    [
        ({"version_field": "v"}, "8.1.0/42", "8.1.0"),
        ({"version_field": "v", "version": "{major}.{minor}.{patch}.{build}"}, "8.1.0/42", "8.1.0.42"),
        ({"version_field": "v"}, "", None),
        ({}, "8.1.0/42", None),
    ],
)
def test_the_expected_version_comes_from_the_release(more, release, expected):
    """None where no version is asked for, or where what runs is no release."""
    assert expected_version(check(**more), release) == expected


@given(st.lists(st.booleans()), st.integers(1, 5))
def test_enough_is_so_many_good_answers_at_the_end(answers: list[bool], needed: int):
    """For every sequence: the last ones decide, and a bad one in between starts anew."""
    streak = Streak("u", needed)
    for good in answers:
        streak.count("" if good else "bad")
    assert streak.enough == (len(answers) >= needed and all(answers[-needed:]))
    result = streak.result()
    assert (result.answers, result.good, result.healthy) == (len(answers), sum(answers), streak.enough)
    if any(answers) and not all(answers) and not streak.enough:
        assert streak.told.startswith("it flaps: ")


def test_what_is_told_fits_what_came():
    """Flapping, all bad, too slow, and never asked are not the same."""
    streak = Streak("u", 3)
    assert streak.told == "was not asked in time"
    streak.count("")
    assert streak.told == "only 1 good answers in time, 3 in a row are needed"
    streak.count("status 500")
    assert "1 of 2 answers were good, never 3 in a row (at most 1)" in streak.told
    bad = Streak("u", 1)
    bad.count("status 500")
    assert bad.told == "not one good answer of 1; the last: status 500"
