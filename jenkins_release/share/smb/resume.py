"""Going on after a connection broke in the middle of a transfer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from jenkins_release.base.errors import ReleaseError
from jenkins_release.base.retry import RetryPolicy, retry_call
from jenkins_release.base.waits import pause
from jenkins_release.share.smb.errors import AnswerLost

_log = logging.getLogger(__name__)
T = TypeVar("T")

RESUME = RetryPolicy()
"""How long one break is insisted on where nothing else is said; the commands say ``[retry]``."""


class Resumption:
    """The breaks of one transfer.

    A break that comes without a byte of progress since the one before counts as an attempt of the same
    one, and so does each connection that does not come about: a server that lets us log in and then fails
    each time does not hold us for ever. When that has used up the policy, it is final: the whole is not tried
    again from its beginning. A server that cannot be reached is a failure like any other.

    Args:
        what: The transfer, for the log.
        policy: Attempts, deadline and waits for each break; the break itself is the first attempt.
        sleep: Waits the given number of seconds.
        clock: Tells the time in seconds, from any beginning.
    """

    def __init__(
        self,
        what: str,
        policy: RetryPolicy,
        sleep: Callable[[float], None] = pause,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._policy = policy
        self._sleep = sleep
        self._clock = clock
        self._position = -1
        self._handed = 0
        self._fruitless = 0
        self._since = 0.0
        self._end_since: float | None = None

    def at_end(self) -> None:
        """Note that every byte was handed over: from now on the time counts, not only since a break."""
        self._end_since = self._clock()

    def go_on(self, error: ReleaseError, position: int, reopen: Callable[[], T], handed: int = 0) -> T:
        """Make a new connection after a break, and return what ``reopen`` returns.

        Args:
            error: The break.
            position: Bytes that are done; -1 if not even the file is known to be there.
            reopen: Connects and opens the file again.
            handed: Bytes that the caller has handed over. More than at the break before is progress too: only
                a few can be under way, and nobody may have read yet that they were confirmed.

        Raises:
            ReleaseError: The break itself if it is not worth another attempt, or the last failure; not
                retryable once the policy is used up by breaks.
        """
        if not error.retryable:
            raise error
        if position > self._position or handed > self._handed or not self._fruitless:
            self._fruitless, self._since = 0, self._end_since or self._clock()
        self._fruitless += 1
        self._position, self._handed = max(self._position, position), max(self._handed, handed)
        policy, left = self._policy, self._since + self._policy.deadline_s - self._clock()
        attempts = policy.attempts
        if left <= 0 or (attempts is not None and self._fruitless >= attempts):
            raise self._used_up(error)
        where = max(0, position)
        _log.warning("%s broke at byte %d, a new connection goes on there: %s", self._what, where, error)
        # The break counts as the first attempt, so that a wait comes before the second.
        rest = replace(
            policy,
            attempts=None if attempts is None else attempts - self._fruitless + 1,
            deadline_s=left,
            first_wait_s=min(policy.max_wait_s, policy.first_wait_s * 2.0 ** (self._fruitless - 1)),
        )
        waiting = [error]

        def attempt() -> T:
            if waiting:
                raise waiting.pop()
            try:
                return reopen()
            except ReleaseError:
                self._fruitless += 1
                raise

        try:
            return retry_call(attempt, what=f"go on with {self._what}", policy=rest, sleep=self._sleep)
        except ReleaseError as last:
            if last.retryable:
                self._used_up(last)
            raise

    def _used_up(self, error: ReleaseError) -> ReleaseError:
        if not isinstance(error, AnswerLost):
            # The server is not there at all: that is for whoever tries the whole again.
            return error
        error.retryable = False
        error.hint = (
            f"{self._what} did not go on after {self._fruitless} attempts in "
            f"{self._clock() - self._since:.0f} s (retry.attempts, retry.deadline_s): {error.hint}"
        )
        return error
