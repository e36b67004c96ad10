"""What cannot be read or removed is collected, and reported by one error."""

from __future__ import annotations

import pytest

from jenkins_release.base.errors import ConfigurationError, IntegrityError, Interrupted, RemoteError
from jenkins_release.registry.protocol import RepositoryNotFound
from jenkins_release.steps.referrers.leftovers import Leftovers


def collected(*errors: Exception) -> Leftovers:
    """Collect errors."""
    left = Leftovers()
    for error in errors:
        with left.collected():
            raise error
    return left


def test_an_error_about_integrity_decides_the_status_and_all_are_named() -> None:
    """Whichever came first; the same message is one reason."""
    left = collected(
        RemoteError("a"), IntegrityError("b", hint="look"), RemoteError("a"), ConfigurationError("c")
    )
    with pytest.raises(IntegrityError, match="could be read or removed: b, and 2 more") as caught:
        left.require_none()
    assert caught.value.reasons == ("a", "b", "c")
    assert caught.value.hint == "look; the rest is done: run the command again after that"
    with pytest.raises(ConfigurationError):
        collected(ConfigurationError("c"), RemoteError("a")).require_none()


def test_in_a_repository_that_is_gone_nothing_is_left() -> None:
    """There is nothing to report, and no outage."""
    left = collected(RepositoryNotFound("gone"))
    left.require_none()
    assert (len(left), left.outage) == (0, False)


def test_an_outage_is_what_failed_after_all_attempts() -> None:
    """A refusal says nothing about the next call."""
    refused, silent = RemoteError("refused"), RemoteError("no answer", retryable=True)
    assert not collected(silent, refused).outage
    assert collected(refused, silent).outage


def test_neither_an_interrupt_nor_a_defect_is_collected() -> None:
    """They end the command."""
    for error in (Interrupted("SIGTERM"), KeyError("defect")):
        with pytest.raises(type(error)):
            collected(error)
