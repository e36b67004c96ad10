"""Returning a stack to the state before the last refresh, and runs that died on the way."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from jenkins_release.base.errors import ConfigurationError, GateRefused, IntegrityError, RemoteError
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.watcher import StackWatcher
from jenkins_release.steps.saas.refresh import RefreshRequest, refresh_stack
from jenkins_release.steps.saas.rollback import RollbackRequest, rollback_stack
from tests.fixtures.saas import SaasStack


class Killed(BaseException):
    """The process dies here."""


class Killer(StackWatcher):
    """Kills the run after so many events: after each registration, update, look and answer there is one."""

    def __init__(self, events: int) -> None:
        self.left = events

    def event(self, part: str, text: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


@pytest.fixture
def upgraded(stack: SaasStack) -> SaasStack:
    """A stack that was refreshed to 8.1.0/42 and then to 8.1.1/50."""

    def make(made: SaasStack) -> None:
        made.refresh("8.1.0")
        made.refresh("8.1.1")

    return stack.begin("upgraded", make)


def test_a_rollback_returns_to_the_release_before(upgraded: SaasStack):
    """By its task definitions, checked for health, recorded with the release that is left."""
    done = upgraded.run("saas", "rollback")
    assert done.status == 0, done.text
    assert done.out.startswith("returned rehearsal to 8.1.0/42, from 8.1.1/50\n")
    assert upgraded.running() == upgraded.pinned("8.1.0/42")
    assert upgraded.outcomes("8.1.1/50")[2:] == [("rollback", "started"), ("rollback", "done")]
    record = upgraded.records("8.1.1/50")[-1]
    assert (record.release, record.before.release, record.after.release) == (
        "8.1.1/50",
        "8.1.1/50",
        "8.1.0/42",
    )
    history = upgraded.run("release", "history", "8.1.1").out
    assert "dana RETURNED rehearsal from 8.1.1/50 to 8.1.0/42" in history


def test_a_rollback_twice_is_a_rollback_once(upgraded: SaasStack):
    """To go further back a release is refreshed."""
    upgraded.rollback()
    again = upgraded.ok("saas", "rollback")
    assert (again["changed"], again["attestation"]) == (False, "")
    assert upgraded.running() == upgraded.pinned("8.1.0/42")


def test_the_first_refresh_returns_to_what_ran_before(stack: SaasStack):
    """Although that is no release."""
    before = stack.running()
    stack.refresh("8.1.0")
    report = stack.rollback()
    assert (report.changed, report.after.release) == (True, "")
    assert stack.running() == before


def test_a_dry_rollback_changes_nothing(upgraded: SaasStack):
    """It tells where the stack would go."""
    upgraded.edit("promotion_key", "# promotion_key")  # it signs nothing
    told = upgraded.ok("saas", "rollback", "--dry-run")
    assert (told["changed"], told["after"]["release"]) == (True, "8.1.0/42")
    assert upgraded.running() == upgraded.pinned("8.1.1/50")
    assert len(upgraded.records("8.1.1/50")) == 2


def test_without_a_refresh_there_is_nothing_to_return_to(stack: SaasStack):
    """Exit 2, and what to do instead."""
    with pytest.raises(ConfigurationError, match="no state of rehearsal is recorded to return to"):
        stack.rollback()


def test_a_rollback_to_a_withdrawn_release_is_refused(upgraded: SaasStack):
    """Exit 3: it was taken from customers for a reason."""
    upgraded.withdraw("8.1.0/42")
    with pytest.raises(GateRefused, match=r"8\.1\.0/42, which ran before, was withdrawn"):
        upgraded.rollback()
    assert upgraded.running() == upgraded.pinned("8.1.1/50")


def test_a_rollback_from_a_withdrawn_release_is_what_it_is_for(upgraded: SaasStack):
    """The record stands behind the withdrawal."""
    upgraded.withdraw("8.1.1/50")
    upgraded.rollback()
    assert upgraded.running() == upgraded.pinned("8.1.0/42")


def test_a_rollback_to_a_definition_that_is_gone_is_refused(upgraded: SaasStack):
    """Before anything is changed or recorded."""
    for arn, definition in upgraded.front.ecs.definitions.items():
        if arn.endswith("skydrm-viewer:2"):
            definition["status"] = "INACTIVE"
    with pytest.raises(ConfigurationError, match=r"cannot return to 8\.1\.0/42: .*skydrm-viewer:2 of viewer"):
        upgraded.rollback()
    assert len(upgraded.records("8.1.1/50")) == 2


def test_a_rollback_to_a_state_with_other_services_is_refused(upgraded: SaasStack):
    """The configuration has changed since: half a stack would return."""
    text = upgraded.config.read_text()
    begin = text.index('[[saas.services]]\nname = "viewer"')
    upgraded.config.write_text(text[:begin] + text[text.index("[[saas.health]]") :])
    with pytest.raises(ConfigurationError, match="the service viewer is only in that state"):
        upgraded.rollback()
    assert upgraded.running() == upgraded.pinned("8.1.1/50")


def test_a_rollback_that_is_not_healthy_is_told_and_stays(upgraded: SaasStack):
    """What it left was to be left: nothing goes back by itself; the next rollback finishes it."""
    upgraded.edit("interval_s = 0.02", "interval_s = 20.0")
    upgraded.misbehave("sick", "8.1.0/42")
    with pytest.raises(RemoteError, match="the rollback of rehearsal failed, the stack is in no known state"):
        upgraded.rollback()
    assert upgraded.running() == upgraded.pinned("8.1.0/42")
    assert upgraded.outcomes("8.1.1/50")[-1] == ("rollback", "failed")
    upgraded.front.ecs.misbehaviours.clear()
    upgraded.rollback()
    assert upgraded.outcomes("8.1.1/50")[-1] == ("rollback", "done")


def test_after_a_refresh_that_was_returned_there_is_nothing_to_do(upgraded: SaasStack):
    """The stack is where a rollback would bring it."""
    upgraded.misbehave("pull", "8.1.0/42")
    with pytest.raises(RemoteError):
        upgraded.refresh("8.1.0")
    assert upgraded.rollback().changed is False
    assert upgraded.running() == upgraded.pinned("8.1.1/50")


def test_an_altered_chain_is_refused(upgraded: SaasStack):
    """Nothing is appended behind a statement that was replaced: exit 4."""
    path = upgraded.chain("8.1.1/50") / "0004-refresh.dsse.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(IntegrityError):
        upgraded.rollback()


def killed_everywhere(stack: SaasStack, run: Callable[[Services, StackWatcher], object]) -> Iterator[None]:
    """Kill a run at its first event, from the same beginning at its second, and so on, till it is through."""
    restore = stack.snapshot()
    for events in itertools.count(1):
        restore()
        try:
            with stack.services() as services:
                run(services, Killer(events))
            return
        except Killed:
            yield


def running(stack: SaasStack) -> str:
    """The image of the one service, which is steady."""
    assert all(each.steady for each in stack.front.ecs.services.values())
    return stack.front.ecs.images(stack.arn("rms"))["rms"]


def test_a_refresh_that_is_killed_anywhere_is_finished_by_the_next(small_stack: SaasStack):
    """Same end state, the same state to return to, no revision twice."""
    small_stack.refresh("8.1.0")

    def run(services: Services, watcher: StackWatcher) -> None:
        refresh_stack(RefreshRequest("8.1.1"), services, watcher)

    kills = 0
    for _ in killed_everywhere(small_stack, run):
        kills += 1
        again = small_stack.refresh("8.1.1")
        assert (again.before.release, again.after.release) == ("8.1.0/42", "8.1.1/50")
        assert running(small_stack) == small_stack.pinned("8.1.1/50")["rms"]
        assert len(small_stack.front.ecs.definitions) == 3
        assert small_stack.outcomes("8.1.1/50") == [("refresh", "started"), ("refresh", "done")]
    assert kills > 8


def test_a_rollback_that_is_killed_anywhere_is_finished_by_the_next(small_stack: SaasStack):
    """It never goes one release too far."""
    small_stack.refresh("8.1.0")
    small_stack.refresh("8.1.1")

    def run(services: Services, watcher: StackWatcher) -> None:
        rollback_stack(RollbackRequest(), services, watcher)

    kills = 0
    for _ in killed_everywhere(small_stack, run):
        kills += 1
        small_stack.rollback()
        assert running(small_stack) == small_stack.pinned("8.1.0/42")["rms"]
        assert small_stack.outcomes("8.1.1/50")[2:] == [("rollback", "started"), ("rollback", "done")]
    assert kills > 7


def test_a_killed_refresh_can_be_taken_back(stack: SaasStack):
    """With one service deployed and the other one not."""
    stack.refresh("8.1.0")
    services = stack.services()
    with pytest.raises(Killed), services:
        refresh_stack(RefreshRequest("8.1.1"), services, Killer(6))
    assert stack.running() != stack.pinned("8.1.0/42")
    stack.rollback()
    assert stack.running() == stack.pinned("8.1.0/42")
    assert stack.outcomes("8.1.1/50") == [
        ("refresh", "started"),
        ("rollback", "started"),
        ("rollback", "done"),
    ]


def test_a_failure_after_a_killed_run_returns_to_before_that_run(stack: SaasStack):
    """The half-deployed state is not taken for a good one."""
    stack.refresh("8.1.0")
    services = stack.services()
    with pytest.raises(Killed), services:
        refresh_stack(RefreshRequest("8.1.1"), services, Killer(6))
    stack.release("8.1.2/60")
    stack.settle()
    stack.misbehave("pull", "8.1.2/60")
    with pytest.raises(RemoteError, match=r"the stack was returned to 8\.1\.0/42"):
        stack.refresh("8.1.2")
    assert stack.running() == stack.pinned("8.1.0/42")


def test_what_somebody_deployed_by_hand_is_the_state_to_return_to(upgraded: SaasStack):
    """A refresh returns to what really ran, recorded or not."""
    from tests.saas.test_failures import foreign

    arn = foreign(upgraded)
    upgraded.settle()
    upgraded.release("8.1.2/60")
    upgraded.misbehave("pull", "8.1.2/60", service="viewer")
    with pytest.raises(RemoteError, match="was returned to what ran before, which is not a release"):
        upgraded.refresh("8.1.2")
    assert upgraded.arn("rms") == arn
