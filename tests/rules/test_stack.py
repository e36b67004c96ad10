"""The history of a stack over all candidates, a look at a deployment, and which release runs."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jenkins_release.records.refresh import RefreshRecord, RunningPart, StackState
from jenkins_release.records.stack_service import Deployment, EcsService
from jenkins_release.rules.saas.rollout import rollout
from jenkins_release.rules.saas.running_release import MIXED, NOT_A_RELEASE, NOTHING, ReleasedImages, verdict
from jenkins_release.rules.saas.stack import StackEntry, stack_history

NOW = datetime(2026, 11, 20, tzinfo=UTC)
A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def state(release: str, definition: str = "") -> StackState:
    parts = (RunningPart(name="rms", definition=definition),) if definition else ()
    return StackState(release=release, parts=parts)


def entry(number: int, action: str, outcome: str, previous: str = "", **more) -> StackEntry:
    values = {
        "stack": "s",
        "strategy": "ecs",
        "action": action,
        "outcome": outcome,
        "number": number,
        "previous": previous,
        "release": "8.1.1/50",
        "before": state("8.1.0/42", "rms:1"),
        "after": state("8.1.1/50", "rms:2"),
        "startedOn": NOW,
        **more,
    }
    record = RefreshRecord.model_validate(values)
    return StackEntry("8.1.1/50", f"{number:04d}", f"digest {number}", "dana", NOW, record)


@pytest.mark.parametrize(
    ("action", "outcome", "settled", "left", "undone"),
    [
        ("refresh", "started", False, "8.1.0/42", "8.1.0/42"),
        ("refresh", "done", True, "8.1.1/50", "8.1.0/42"),
        ("refresh", "returned", True, "8.1.0/42", "8.1.0/42"),
        ("refresh", "failed", False, "8.1.0/42", "8.1.0/42"),
        ("rollback", "started", False, "8.1.1/50", "8.1.1/50"),
        ("rollback", "done", True, "8.1.1/50", "8.1.1/50"),
        ("rollback", "failed", False, "8.1.1/50", "8.1.1/50"),
    ],
)
def test_each_last_record_says_where_the_stack_is_and_where_a_rollback_goes(
    action, outcome, settled, left, undone
):
    """A rollback after a rollback, or after a refresh that was returned, stays where it is."""
    history = stack_history("s", [entry(1, action, outcome)])
    assert (history.unsettled is None) is settled
    assert history.state.release == left
    assert history.undone.release == undone


@pytest.mark.parametrize(
    ("outcome", "observed", "good"),
    [
        ("done", "rms:2", "rms:2"),
        ("done", "by-hand:1", "by-hand:1"),
        ("started", "rms:1", "rms:1"),
        ("started", "rms:2", "rms:1"),
        ("failed", "rms:2", "rms:1"),
        ("started", "by-hand:1", "by-hand:1"),
    ],
)
def test_the_good_state_is_what_runs_unless_a_run_died_in_it(outcome, observed, good):
    """What only that run deployed is not taken for good; what somebody else deployed is theirs."""
    history = stack_history("s", [entry(1, "refresh", outcome)])
    assert history.good_state(state("", observed)).definitions == {"rms": good}


def test_without_records_what_runs_is_good():
    """And where nobody can tell what runs, nothing is known."""
    history = stack_history("s", [])
    assert history.good_state(state("", "rms:9")).definitions == {"rms": "rms:9"}
    assert not history.good_state(StackState()).known
    assert history.follows() == (1, "")


@given(st.permutations(list(range(5))))
def test_order_is_that_of_the_numbers(order: list[int]):
    """However the candidates are read, and whatever the clocks said."""
    entries = [entry(n + 1, "refresh", "done", f"digest {n}" if n else "") for n in range(5)]
    history = stack_history("s", [entries[n] for n in order])
    assert [each.record.number for each in history.entries] == [1, 2, 3, 4, 5]
    assert history.notes == ()
    assert history.follows() == (6, "digest 5")


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([2, 3], "records are missing before 8.1.1/50/attestations/0002"),
        ([1, 3], "records are missing between 8.1.1/50/attestations/0001 and 8.1.1/50/attestations/0003"),
        ([1, 2, 2], "have the same number 2"),
    ],
)
def test_what_is_missing_or_copied_is_told(numbers, words):
    """As in a candidate's own chain."""
    entries = [entry(n, "refresh", "done", f"digest {n - 1}" if n > 1 else "") for n in numbers]
    assert any(words in note for note in stack_history("s", entries).notes)


def test_a_record_that_was_replaced_is_told():
    """Its digest is not the one that the next one names."""
    entries = [entry(1, "refresh", "done"), entry(2, "refresh", "done", "another digest")]
    assert "does not follow" in stack_history("s", entries).notes[0]


def test_other_stacks_are_left_out():
    """A share may hold the records of several."""
    other = entry(7, "refresh", "done", stack="another")
    assert stack_history("s", [other]).last is None


def test_a_run_that_died_is_gone_on_with_only_where_it_set_out_for_the_same():
    """Anything else begins anew."""
    history = stack_history("s", [entry(3, "refresh", "started")])
    said = history.entries[0].record
    assert history.resumes("refresh", "8.1.1/50", said.before, said.after) is history.entries[0]
    assert history.resumes("rollback", "8.1.1/50", said.before, said.after) is None
    assert history.resumes("refresh", "8.1.1/50", said.before, state("8.1.1/50", "rms:3")) is None
    ended = stack_history("s", [entry(3, "refresh", "failed")])
    assert ended.resumes("refresh", "8.1.1/50", said.before, said.after) is None


def deployment(definition: str, status: str = "PRIMARY", **more) -> Deployment:
    values = {
        "ident": f"ecs-svc/{definition}",
        "status": status,
        "task_definition": definition,
        "desired": 2,
        "pending": 0,
        "running": 2,
        "failed": 0,
        "rollout": "COMPLETED",
        "reason": "",
    }
    return Deployment(**(values | more))


def service(*deployments: Deployment, status: str = "ACTIVE", desired: int = 2) -> EcsService:
    return EcsService("rms", status, "ECS", desired, deployments, ())


NEW, OLD = "rms:2", "rms:1"


@pytest.mark.parametrize(
    ("looked_at", "expected", "words"),
    [
        (service(deployment(NEW)), "steady", "2 of 2 tasks run"),
        (service(deployment(NEW, rollout="")), "steady", "2 of 2"),
        (service(deployment(NEW, desired=0, running=0), desired=0), "steady", "0 of 0"),
        (service(deployment(NEW, rollout="IN_PROGRESS")), "moving", "2 of 2"),
        (service(deployment(NEW, running=1, pending=1)), "moving", "1 are starting"),
        (service(deployment(NEW), desired=3), "moving", "2 of 2"),
        (
            service(deployment(NEW, rollout="IN_PROGRESS", failed=2), deployment(OLD, "ACTIVE")),
            "moving",
            "2 old ones are left, 2 failed to start",
        ),
        (service(deployment(NEW, rollout="FAILED", reason="breaker")), "failed", "gave it up: breaker"),
        (service(deployment(NEW), status="DRAINING"), "failed", "the service is DRAINING"),
        (service(), "failed", "the service is ACTIVE"),
        (service(deployment(OLD)), "returned", "returned to rms:1"),
        (
            service(deployment(OLD, rollout="IN_PROGRESS"), deployment(NEW, "ACTIVE", rollout="FAILED")),
            "returned",
            "returned to rms:1",
        ),
        (
            service(deployment("rms:9"), deployment(NEW, "ACTIVE", rollout="FAILED", reason="breaker")),
            "returned",
            "rms:9: breaker",
        ),
        (
            service(deployment("by-hand:7"), deployment(NEW, "ACTIVE")),
            "replaced",
            "someone else has deployed by-hand:7",
        ),
    ],
)
def test_a_look_at_a_service_says_where_its_deployment_stands(looked_at, expected, words):
    """Steady only where one deployment is left and every task of it runs."""
    found = rollout(looked_at, NEW, OLD)
    assert found.state == expected
    assert words in found.told


RELEASED = (
    ReleasedImages("8.1.0/42", {"rms": A, "viewer": B}),
    ReleasedImages("8.1.1/50", {"rms": A, "viewer": C}),
)
BOTH = {"web": "rms", "view": "viewer"}


@pytest.mark.parametrize(
    ("tasks", "containers", "expected"),
    [
        ([{"web": A, "view": B}], BOTH, "8.1.0/42"),
        ([{"web": A, "view": B, "sidecar": C}] * 2, BOTH, "8.1.0/42"),
        ([{"web": A}], {"web": "rms"}, "8.1.0/42 or 8.1.1/50"),
        ([{"web": A, "view": B}, {"web": A, "view": C}], BOTH, MIXED),
        ([{"web": B, "view": C}], BOTH, MIXED),
        ([{"web": A, "view": f"sha256:{'9' * 64}"}], BOTH, NOT_A_RELEASE),
        ([{"web": A}], BOTH, NOT_A_RELEASE),
        ([{}], BOTH, NOT_A_RELEASE),
        ([], BOTH, NOTHING),
    ],
)
def test_digests_name_the_release(tasks, containers, expected):
    """All containers of all tasks have to fit; what fits several is told as such."""
    assert verdict(tasks, containers, RELEASED) == expected


def test_of_several_releases_the_recorded_one_is_named():
    """The withdrawn one as such."""
    assert verdict([{"web": A}], {"web": "rms"}, RELEASED, "8.1.1/50") == "8.1.1/50"
    withdrawn = [ReleasedImages("8.1.0/42", {"rms": A}, withdrawn=True)]
    assert verdict([{"web": A}], {"web": "rms"}, withdrawn) == "8.1.0/42 (withdrawn)"


@given(
    st.lists(st.dictionaries(st.sampled_from(["web", "view"]), st.sampled_from([A, B, C, "x"])), max_size=4)
)
def test_a_release_is_named_only_where_every_container_is_of_it(tasks):
    """No set of tasks is called a release that runs anything else."""
    said = verdict(tasks, BOTH, RELEASED)
    for name in itertools.chain(each.release for each in RELEASED):
        if name in said:
            wanted = next(each.digests for each in RELEASED if each.release == name)
            assert all(task == {"web": wanted["rms"], "view": wanted["viewer"]} for task in tasks)
