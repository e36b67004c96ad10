"""The only retry layer of the package.

The code that talks to the outside marks what is worth another attempt (``ReleaseError.retryable``) and passes
on what the server asked for (``retry_after``). Single AWS calls are repeated for seconds in
:mod:`jenkins_release.aws.exchange`.
"""

from __future__ import annotations

import logging
import random
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar, TypeVarTuple

import tenacity

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ReleaseError
from jenkins_release.base.moments import second
from jenkins_release.base.numbers import whole_number
from jenkins_release.base.waits import pause

_log = logging.getLogger(__name__)
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_TOLD_S = 30 * 86400.0
"""Longest wait, in seconds, whose end is worth naming as a time."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long to try.

    Attributes:
        attempts: Maximum number of attempts, including the first one. None: as many as the deadline allows.
        deadline_s: No new attempt starts later than this many seconds after the first one started.
        first_wait_s: Wait before the second attempt; doubles after each further one.
        max_wait_s: Upper bound of a single wait; a server's ``Retry-After`` may exceed it.
        jitter_s: Up to this many random seconds are added, so that parallel jobs do not retry in step.
        setting: Key of ``release.toml`` that ``deadline_s`` comes from; empty if nothing changes it.
    """

    attempts: int | None = 5
    deadline_s: float = 600.0
    first_wait_s: float = 1.0
    max_wait_s: float = 60.0
    jitter_s: float = 1.0
    setting: str = ""


def retry_call(
    action: Callable[[*Ts], T],
    *arguments: *Ts,
    what: str,
    policy: RetryPolicy,
    sleep: Callable[[float], None] = pause,
    uniform: Callable[[float, float], float] = random.uniform,
) -> T:
    """Call ``action`` until it succeeds, fails for good, or the policy is exhausted.

    ``action`` itself creates whatever must be fresh in each attempt (an ECR token, an open file).

    Args:
        action: The call; a :class:`ReleaseError` with ``retryable`` set asks for another attempt.
        arguments: What it is called with, the same in each attempt.
        what: What is attempted, for the log, such as ``push skydrm/rms:8.1.0``.
        policy: Attempts, deadline and waits.
        sleep: Waits the given number of seconds.
        uniform: Draws the jitter.

    Returns:
        What ``action`` returned.

    Raises:
        ReleaseError: The last failure, as it was raised. If the server asked to wait beyond the deadline, the
            hint says so.
        Stopped: The process was asked to stop.
    """

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        backoff = min(policy.max_wait_s, policy.first_wait_s * 2.0 ** (state.attempt_number - 1))
        backoff += uniform(0.0, policy.jitter_s)
        asked = error.retry_after if isinstance(error, ReleaseError) else None
        return max(backoff, asked or 0.0)

    def say(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        number = f"attempt {state.attempt_number}"
        if policy.attempts is not None:
            number += f" of {policy.attempts}"
        _log.warning("%s: %s failed, next in %.1f s: %s", what, number, state.upcoming_sleep, error)
        _let_go(error)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda e: isinstance(e, ReleaseError) and e.retryable),
        stop=_stop(policy),
        wait=wait,
        sleep=sleep,
        before_sleep=say,
        reraise=True,
    )
    end = time.monotonic() + policy.deadline_s
    try:
        return retrying(action, *arguments)
    except ReleaseError as error:
        asked = error.retry_after
        if error.retryable and asked and time.monotonic() + asked > end:
            wish = _wish(asked, policy)
            error.hint = f"{error.hint}; {wish}" if error.hint else wish
        raise


def _let_go(error: BaseException | None) -> None:
    """Clear the frames of a failed attempt: what they hold must not stay open until the next one.

    One example is a half-read file on the share, which cannot be changed while it is open.
    """
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        traceback.clear_frames(current.__traceback__)
        waiting += [current.__cause__, current.__context__]


def asked_wait(header: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Return how many seconds a ``Retry-After`` header asks to wait; None if it does not say.

    Args:
        header: Its value: seconds, or a date (RFC 9110 section 10.2.3).
        now: Returns the time, UTC.
    """
    if (seconds := whole_number(header.strip())) is not None:
        return float(seconds)
    try:
        return max(0.0, (parsedate_to_datetime(header) - now()).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _wish(asked: float, policy: RetryPolicy) -> str:
    until = ""
    if asked < _TOLD_S:
        until = f", until {second(datetime.now(UTC) + timedelta(seconds=asked))}"
    setting = f" ({policy.setting})" if policy.setting else ""
    return (
        f"the server asks to wait {asked:.0f} s{until}: that is beyond the deadline of "
        f"{policy.deadline_s:.0f} s{setting}; run the command again after that time"
    )


def _stop(policy: RetryPolicy) -> tenacity.stop.stop_base:
    late = tenacity.stop_before_delay(policy.deadline_s)
    return late if policy.attempts is None else tenacity.stop_after_attempt(policy.attempts) | late
