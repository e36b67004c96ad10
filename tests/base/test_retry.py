"""The one retry layer: what is tried again, how long, and what the caller sees."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.base.retry import RetryPolicy, retry_call


class Flaky:
    """Fails a number of times, then returns the number of calls."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures = failures
        self.error = error
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return self.calls


def call(action, **policy):
    waits: list[float] = []
    try:
        return retry_call(
            action,
            what="push x",
            policy=RetryPolicy(**policy),
            sleep=waits.append,
            uniform=lambda low, high: 0.0,
        ), waits
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return error, waits


def test_a_retryable_failure_is_tried_again_with_growing_waits():
    """Doubling from the first wait up to the largest."""
    error = RemoteError("busy", retryable=True)
    assert call(Flaky(4, error), attempts=5, max_wait_s=5.0) == (5, [1.0, 2.0, 4.0, 5.0])


def test_each_attempt_gets_the_arguments():
    """No lambda has to bind what a loop changes."""
    seen: list[tuple[str, int]] = []

    def action(name: str, size: int) -> str:
        seen.append((name, size))
        if len(seen) < 3:
            raise RemoteError("busy", retryable=True)
        return f"{name} {size}"

    policy = RetryPolicy(attempts=3)
    assert retry_call(action, "x", 7, what="push x", policy=policy, sleep=lambda _: None) == "x 7"
    assert seen == [("x", 7)] * 3


def test_the_last_failure_is_raised_as_it_was():
    """No wrapper around it."""
    error = RemoteError("busy", retryable=True)
    result, waits = call(Flaky(9, error), attempts=3)
    assert result is error
    assert len(waits) == 2


@pytest.mark.parametrize("error", [RemoteError("no"), IntegrityError("altered"), KeyError("bug")])
def test_other_failures_are_not_tried_again(error):
    """Only what an edge marked as retryable."""
    action = Flaky(1, error)
    assert call(action) == (error, [])
    assert action.calls == 1


def test_the_server_s_wish_is_honoured():
    """Retry-After wins over the back-off, also beyond the largest wait."""
    error = RemoteError("throttled", retryable=True, retry_after=90.0)
    assert call(Flaky(1, error), max_wait_s=10.0)[1] == [90.0]


def test_the_deadline_ends_it_before_the_attempts_do():
    """No attempt starts after it: a wait that would end later is not begun."""
    error = RemoteError("throttled", retryable=True, retry_after=700.0)
    result, waits = call(Flaky(9, error), attempts=9, deadline_s=600.0)
    assert result is error
    assert waits == []


@pytest.mark.parametrize("setting", ["", "jenkins.outage_s"])
def test_a_wish_beyond_the_deadline_names_the_setting_that_it_comes_from(setting: str):
    """And none where nothing changes it."""
    error = RemoteError("throttled", retryable=True, retry_after=700.0)
    call(Flaky(9, error), setting=setting)
    told = error.hint or ""
    assert f"beyond the deadline of 600 s{f' ({setting})' if setting else ''}; run the command again" in told


def test_every_failed_attempt_is_logged_by_name(caplog):
    """What, which attempt, when the next one starts, why."""
    with caplog.at_level(logging.WARNING):
        call(Flaky(1, RemoteError("the share is busy", retryable=True)))
    assert "push x: attempt 1 of 5 failed, next in 1.0 s: the share is busy" in caplog.text


def test_attempts_without_a_bound_have_no_total(caplog):
    """Only the deadline ends them."""
    with caplog.at_level(logging.WARNING):
        assert call(Flaky(20, RemoteError("no answer", retryable=True)), attempts=None)[0] == 21
    assert "push x: attempt 20 failed, next in" in caplog.text
    assert "attempt 20 of" not in caplog.text


def test_what_an_attempt_had_open_is_closed_before_the_next_one_is_waited_for():
    """Its error would hold it: a file of the share that is half read, which nobody may change meanwhile."""
    closed = []

    def source() -> Iterator[int]:
        try:
            yield from range(3)
        finally:
            closed.append(True)

    def attempt() -> None:
        pieces = source()
        try:
            for _ in pieces:
                raise ValueError("cut")
        except ValueError as error:
            raise RemoteError("the registry failed", retryable=True) from error

    with pytest.raises(RemoteError):
        retry_call(
            attempt,
            what="push x",
            policy=RetryPolicy(attempts=2),
            sleep=lambda _: closed.append(False),
            uniform=lambda low, high: 0.0,
        )
    assert closed[:2] == [True, False]
