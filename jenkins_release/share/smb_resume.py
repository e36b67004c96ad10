"""Going on after a connection broke in the middle of a transfer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from jenkins_release.errors import ReleaseError
from jenkins_release.retry import RetryPolicy, retry_call
from jenkins_release.waits import pause

_log = logging.getLogger(__name__)
T = TypeVar("T")

RESUME = RetryPolicy(attempts=8, deadline_s=120.0, first_wait_s=0.25, max_wait_s=15.0, jitter_s=0.25)
"""How long one break is insisted on: a server that restarts takes a minute or so."""


class Resumption:
    """The breaks of one transfer.

    A break that comes without a byte of progress since the one before counts as an attempt of the same
    one: a server that lets us log in and then fails each time does not hold us for ever.

    Args:
        what: The transfer, for the log.
        policy: Attempts and waits for each break.
        sleep: Waits the given number of seconds.
    """

    def __init__(self, what: str, policy: RetryPolicy, sleep: Callable[[float], None] = pause) -> None:
        self._what = what
        self._policy = policy
        self._sleep = sleep
        self._position = -1
        self._fruitless = 0

    def go_on(self, error: ReleaseError, position: int, reopen: Callable[[], T]) -> T:
        """Make a new connection after a break, and return what ``reopen`` returns.

        Args:
            error: The break.
            position: Bytes that are done.
            reopen: Connects and opens the file again.

        Raises:
            ReleaseError: The break itself where it is not worth another attempt, or the last failure.
        """
        if not error.retryable:
            raise error
        self._fruitless = 1 if position > self._position else self._fruitless + 1
        self._position = max(self._position, position)
        attempts = self._policy.attempts
        if attempts is not None and self._fruitless >= attempts:
            raise error
        _log.warning("%s broke at byte %d, a new connection goes on there: %s", self._what, position, error)
        waiting = [error] * self._fruitless

        def attempt() -> T:
            # The break counts as the first attempt, so that a wait comes before the second.
            if waiting:
                raise waiting.pop()
            return reopen()

        return retry_call(attempt, what=f"go on with {self._what}", policy=self._policy, sleep=self._sleep)
