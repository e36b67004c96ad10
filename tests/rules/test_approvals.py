"""Approvals of exactly one plan by somebody entitled to, and the overrides beside them."""

from __future__ import annotations

import base64
import json

import pytest

from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.records.attestation import APPROVAL, OVERRIDE
from jenkins_release.rules.gate.decision import OVERRIDABLE
from jenkins_release.rules.gate.policy import Freeze, Policy
from tests.fixtures.gate import (
    APPROVER,
    APPROVER2,
    BREAKER,
    BUILD,
    HOUR_AGO,
    KEYS,
    NOW,
    PROMOTER,
    QA,
    QA2,
    STRANGER,
    Chain,
    candidate,
    conditions,
    digest,
    gate,
    named,
    plan,
    planned,
    replaced,
    trusted,
)
from tests.rules.test_drift import MOVED, PROGRESS

ONE = Policy(approvals=1)
PLAN = plan(ONE)


def ready() -> Chain:
    """Built by Blake, tested by Quinn; Riley asks for the release."""
    return Chain().build().verdict()


def messages(decision) -> str:
    return "\n".join(reason.message for reason in decision.unmet)


# --- approvals ------------------------------------------------------------------------------------


def test_an_approval_of_the_plan_opens_the_gate():
    """Without it the one reason says what is missing and how to give it."""
    decision = gate(ready(), ONE, plan=PLAN)
    (reason,) = decision.unmet
    assert reason.condition == "approvals"
    assert reason.message == "1 approval of this plan required, found 0"
    assert reason.hint == "'jenkins-release promote approve' approves a plan"
    assert gate(ready().approve(PLAN), ONE, plan=PLAN).allowed


def test_approvals_are_looked_at_only_with_a_plan():
    """A listing says that it did not; without approvals in the policy there is nothing to look at."""
    decision = gate(ready(), ONE)
    assert decision.allowed
    assert decision.complete is False
    assert gate(ready(), ONE, plan=PLAN).complete is True
    assert gate(ready()).complete is True


@pytest.mark.parametrize(("now", "told"), MOVED.values(), ids=MOVED.keys())
def test_an_approval_of_an_older_plan_does_not_count(now, told):
    """Every kind of drift: the reason says what moved."""
    decision = gate(ready().approve(plan()), Policy(approvals=1), plan=now)
    assert conditions(decision) == ["approvals"]
    assert f"the approval by Alex (0003-x.dsse.json) is for a plan that has moved: {told}" in messages(
        decision
    )
    assert decision.unmet[-1].hint == "make the plan again and have it approved"


@pytest.mark.parametrize("more", PROGRESS.values(), ids=PROGRESS.keys())
def test_an_approval_holds_while_its_own_promotion_goes_on(more):
    """A run that died is finished by the next one."""
    now = plan(ONE, images=(planned(**more),))
    assert gate(ready().approve(PLAN), ONE, plan=now).allowed


def test_every_approver_has_a_key_of_their_own():
    """One key under two names is one person, and so is one name with two keys."""
    two = Policy(approvals=2)
    made = plan(two)
    chain = ready().approve(made)
    assert gate(chain.approve(made, "Avery", APPROVER2), two, plan=made).allowed
    for second in (("Avery", APPROVER), ("ALEX", APPROVER2), ("\uff21lex", APPROVER2), ("Alex", APPROVER)):
        (reason,) = gate(ready().approve(made).approve(made, *second), two, plan=made).unmet
        assert reason.message == (
            "2 approvals of this plan, each by another person with a key of their own, required, found 1"
        )


def test_a_key_that_is_trusted_under_two_names_approves_once():
    """The entries' names make no second person."""
    two = Policy(approvals=2)
    keys = (*KEYS[:4], trusted("one", APPROVER, "approval"), trusted("two", APPROVER, "approval"))
    made = plan(two, keys)
    chain = ready().approve(made).approve(made, "Avery")
    assert "found 1" in messages(gate(chain, two, keys=keys, plan=made))


@pytest.mark.parametrize(
    ("approver", "role"),
    [
        ("Riley", "requester"),
        ("RILEY", "requester"),
        ("Ri\u200bley", "requester"),
        ("\uff32iley", "requester"),
        (" riley ", "requester"),
        ("Blake", "builder"),
        ("blake", "builder"),
        ("Quinn", "tester"),
        ("Quinn\ufe0f", "tester"),
    ],
    ids=ascii,
)
def test_who_asked_built_or_tested_does_not_approve(approver, role):
    """However the name is written; the policy says which of them count."""
    chain = ready().approve(PLAN, approver)
    decision = gate(chain, ONE, plan=PLAN)
    assert conditions(decision) == ["approvals", "separation"]
    assert decision.unmet[-1].message.endswith(f": the approver is the {role} too")
    assert decision.unmet[-1].hint == "somebody else has to approve"
    loose = Policy(approvals=1, separate=tuple({"requester", "builder", "tester"} - {role}))
    made = plan(loose)
    assert gate(ready().approve(made, approver), loose, plan=made).allowed


def test_composed_and_decomposed_names_are_one_person():
    """NFC and NFD."""
    about = candidate(built_by="Ren\u00e9")
    made = plan(ONE)
    chain = Chain(about).build().verdict().approve(made, "Rene\u0301")
    assert "the approver is the builder too" in messages(gate(chain, ONE, plan=made))


def test_neither_who_asked_then_nor_who_asks_now_approves():
    """The plan was approved for Riley, and Alex runs it: nobody releases what they approved."""
    now = plan(ONE, requester="Alex")
    decision = gate(ready().approve(PLAN), ONE, plan=now)
    assert conditions(decision) == ["approvals", "separation"]
    assert gate(ready().approve(PLAN), ONE, plan=plan(ONE, requester="Somebody")).allowed
    then = plan(ONE, requester="Alex")
    assert conditions(gate(ready().approve(then), ONE, plan=PLAN)) == ["approvals", "separation"]


def test_every_tester_counts_also_one_who_failed_it():
    """And one whose verdict does not count for the sign-offs."""
    chain = ready().verdict(tester="Alex", signer=QA2)
    assert "separation" in conditions(gate(chain.approve(PLAN), ONE, plan=PLAN))


@pytest.mark.parametrize(("signer", "role", "place"), [(QA, "tester", 1), (BUILD, "builder", 0)])
def test_one_key_under_two_names_is_one_person(signer, role, place):
    """The key that tested or built does not approve, whatever name it approves under."""
    keys = replaced(KEYS[place].name, roles=frozenset({"build", "qa", "approval"}))
    made = plan(ONE, keys)
    decision = gate(ready().approve(made, signer=signer), ONE, keys=keys, plan=made)
    assert conditions(decision) == ["approvals", "separation"]
    assert f"the key is the one that the {role} signed with" in messages(decision)


def test_only_the_approvers_approve():
    """People and groups; the reason names who is not among them, once."""
    policy = Policy(approvals=1, approvers=("group:managers",), groups={"managers": ("Avery",)})
    made = plan(policy)
    decision = gate(ready().approve(made), policy, plan=plan(policy, requester="Somebody"))
    told = [reason.message for reason in decision.unmet]
    assert told[1:] == ["the approval by Alex (0003-x.dsse.json): Alex is not among the approvers"]
    assert decision.unmet[1].condition == "approvals"
    assert gate(ready().approve(made, "AVERY"), policy, plan=made).allowed


@pytest.mark.parametrize("approver", ["", " ", "\u200b", "\ufeff\u00ad", "null", " NULL"], ids=ascii)
def test_an_approval_without_a_name_is_none(approver):
    """Nobody approved it: null is what Jenkins makes of a value that is left out."""
    decision = gate(ready().approve(PLAN, approver), ONE, plan=PLAN)
    assert "0003-x.dsse.json names no approver" in messages(decision)


def test_an_approval_of_no_plan_is_none():
    """Without a plan, with half a plan, or with a digest that is not the plan's."""
    shown = named(PLAN)
    for predicate in (
        {},
        {"plan": None, "planDigest": PLAN.digest},
        {"plan": shown["plan"]},
        {"planDigest": PLAN.digest},
        {"plan": shown["plan"], "planDigest": digest("0")},
        {"plan": shown["plan"] | {"requester": "Nobody"}, "planDigest": PLAN.digest},
        {"plan": shown["plan"] | {"schema": "jenkins-release/plan/v2"}, "planDigest": PLAN.digest},
    ):
        chain = ready().add(APPROVAL, APPROVER, predicate, approver="Alex")
        assert "0003-x.dsse.json names no plan that can be read" in messages(gate(chain, ONE, plan=PLAN))


@pytest.mark.parametrize("signer", [STRANGER, QA, BREAKER, PROMOTER, BUILD])
def test_an_approval_needs_an_approval_key(signer):
    """Any other key's word is not counted."""
    decision = gate(ready().approve(PLAN, signer=signer), ONE, plan=PLAN)
    assert conditions(decision) == ["approvals"]
    assert any(line.startswith("not counted: 0003-x.dsse.json (approval)") for line in decision.reasons)


def test_a_withdrawal_voids_the_approvals_before_it():
    """A promotion after a withdrawal needs a new one, and the reason says so."""
    chain = ready().approve(PLAN).promoted().withdraw()
    decision = gate(chain, ONE, plan=PLAN)
    assert conditions(decision) == ["approvals", "withdrawn"]
    assert "(0003-x.dsse.json) was given before the release was withdrawn" in messages(decision)
    assert conditions(gate(chain.approve(PLAN), ONE, plan=PLAN)) == ["withdrawn"]


def test_a_stale_approval_does_no_harm_beside_a_good_one():
    """The gate is open, and nothing is told of the other."""
    chain = ready().approve(plan(ONE, build="41")).approve(PLAN, "Avery", APPROVER2)
    decision = gate(chain, ONE, plan=PLAN)
    assert decision.allowed
    assert decision.unmet == ()


# --- overrides ------------------------------------------------------------------------------------

FROZEN = Policy(freezes=(Freeze(NOW, NOW.replace(day=30), "year end"),), required_suites=("security",))
FROZEN_PLAN = plan(FROZEN)


def test_an_override_waives_the_named_condition_and_stays_visible():
    """The decision says what was waived, by whom and why."""
    assert conditions(gate(ready(), FROZEN, plan=FROZEN_PLAN)) == ["freeze", "suites"]
    decision = gate(ready().override(FROZEN_PLAN, "freeze"), FROZEN, plan=FROZEN_PLAN)
    assert conditions(decision) == ["suites"]
    (waived,) = decision.waived
    assert waived.reason.condition == "freeze"
    assert (waived.override.by, waived.override.reason) == ("Casey", "customer is down")
    assert waived.override.file == "0003-x.dsse.json"
    both = gate(ready().override(FROZEN_PLAN, "freeze", "suites"), FROZEN, plan=FROZEN_PLAN)
    assert both.allowed
    assert [each.reason.condition for each in both.waived] == ["suites", "freeze"]


def test_an_override_of_what_is_met_waives_nothing():
    """It is a right for an emergency, not a wildcard."""
    chain = ready().override(FROZEN_PLAN, *sorted(OVERRIDABLE - {"freeze"}))
    decision = gate(chain, FROZEN, plan=FROZEN_PLAN)
    assert conditions(decision) == ["freeze"]
    assert [each.reason.condition for each in decision.waived] == ["suites"]


@pytest.mark.parametrize("names", [("*",), ("",), ("Freeze",), ("all",), ("freeze ",), ()])
def test_there_is_no_wildcard(names):
    """A condition is named, letter for letter."""
    assert not gate(ready().override(FROZEN_PLAN, *names), FROZEN, plan=FROZEN_PLAN).waived


@pytest.mark.parametrize("given", [None, "freeze", {"freeze": 1}, 7])
def test_conditions_of_another_shape_waive_nothing(given):
    """A list of names, or nothing."""
    chain = ready().add(
        OVERRIDE, BREAKER, named(FROZEN_PLAN) | {"conditions": given}, by="Casey", reason="down"
    )
    assert not gate(chain, FROZEN, plan=FROZEN_PLAN).waived


def test_an_override_is_bound_to_its_plan():
    """It does not help another plan, nor where nobody asked the registry."""
    chain = ready().override(FROZEN_PLAN, "freeze", "suites")
    assert conditions(gate(chain, FROZEN)) == ["freeze", "suites"]
    for moved, _ in MOVED.values():
        now = (
            moved.model_copy(update={"policy": FROZEN_PLAN.policy}) if moved.policy != digest("9") else moved
        )
        assert conditions(gate(chain, FROZEN, plan=now)) == ["freeze", "suites"]


@pytest.mark.parametrize("more", [{"by": ""}, {"by": "\u200b"}, {"reason": ""}, {"reason": "  "}])
def test_an_override_has_a_name_and_a_reason(more):
    """Without them it is none."""
    chain = ready().override(FROZEN_PLAN, "freeze", "suites", **more)
    assert conditions(gate(chain, FROZEN, plan=FROZEN_PLAN)) == ["freeze", "suites"]


@pytest.mark.parametrize("signer", [STRANGER, APPROVER, PROMOTER, QA])
def test_an_override_needs_an_override_key(signer):
    """Not even an approver breaks the glass."""
    chain = ready().override(FROZEN_PLAN, "freeze", "suites", signer=signer)
    assert conditions(gate(chain, FROZEN, plan=FROZEN_PLAN)) == ["freeze", "suites"]


def test_that_something_was_altered_is_never_waived():
    """Whatever an override names."""
    everything = (*sorted(OVERRIDABLE), "altered", "alteration", "removed")
    files = ready().verdict(tester="Robin", signer=QA2).override(PLAN, *everything).files
    del files["0003-x.dsse.json"]
    decision = gate(files, ONE, plan=PLAN)
    assert decision.unmet == ()
    assert not decision.allowed
    assert "was removed" in decision.altered[0]
    assert "altered" not in OVERRIDABLE


def test_a_changed_override_is_an_alteration():
    """It cannot be stretched to another condition."""
    files = ready().override(FROZEN_PLAN, "freeze").files
    document = json.loads(files["0003-x.dsse.json"])
    payload = base64.b64decode(document["payload"]).replace(b'["freeze"]', b'["freeze","suites"]')
    files["0003-x.dsse.json"] = json.dumps(
        document | {"payload": base64.b64encode(payload).decode()}
    ).encode()
    decision = gate(files, FROZEN, plan=FROZEN_PLAN)
    assert decision.waived == ()
    assert decision.altered


def test_an_override_is_stale_after_a_withdrawal():
    """Also one that named the withdrawal before there was a reason for it."""
    before = ready().override(PLAN, "withdrawn", "approvals").promoted().withdraw()
    decision = gate(before, ONE, plan=PLAN)
    assert conditions(decision) == ["approvals", "withdrawn"]
    assert decision.waived == ()
    after = before.override(PLAN, "withdrawn", "approvals")
    assert gate(after, ONE, plan=PLAN).allowed
    assert len(gate(after, ONE, plan=PLAN).waived) == 2
    assert conditions(gate(after.promoted().withdraw(), ONE, plan=PLAN)) == ["approvals", "withdrawn"]


def test_approval_by_the_requester_takes_both_conditions():
    """The separation alone waives nobody's missing approval."""
    chain = ready().approve(PLAN, "Riley")
    assert conditions(gate(chain.override(PLAN, "separation"), ONE, plan=PLAN)) == ["approvals"]
    assert gate(chain.override(PLAN, "separation", "approvals"), ONE, plan=PLAN).allowed


EACH = {
    "sign-offs": (Chain().build(), {}, {}),
    "fail": (Chain().build().verdict().verdict("FAILED", tester="Robin", signer=QA2), {}, {}),
    "age": (ready(), {"sign_off_max_age_days": 1}, {"now": NOW.replace(day=25)}),
    "suites": (ready(), {"required_suites": ("security",)}, {}),
    "build": (Chain().verdict(), {"build_attestation": True}, {}),
    "soak": (ready(), {"soak_hours": 100}, {}),
    "freeze": (ready(), {"freezes": FROZEN.freezes}, {}),
    "downgrade": (ready(), {}, {"released": (ReleaseVersion.parse("8.1.2"),)}),
    "scan": (ready(), {"scan": ("CRITICAL",)}, {"scans": {}}),
    "sbom": (ready(), {"sbom": True}, {}),
    "tested": (ready(), {"tested": True}, {}),
    "approvals": (ready(), {"approvals": 1}, {}),
    "withdrawn": (ready().promoted().withdraw(), {}, {}),
    "unknown-key": (ready().revoke(STRANGER), {}, {}),
}
"""Condition to attestations, policy and facts that leave it unmet."""


@pytest.mark.parametrize("name", EACH)
def test_each_condition_shuts_the_gate_and_can_be_overridden_by_name(name):
    """By its own name and by no other one; the reason carries it, with a hint."""
    from copy import deepcopy

    chain, asked, facts = deepcopy(EACH[name])
    policy = Policy(**asked)
    made = plan(policy)
    decision = gate(chain, policy, plan=made, **facts)
    assert conditions(decision) == [name]
    assert all(reason.hint and reason.message for reason in decision.unmet)
    others = deepcopy(chain).override(made, *sorted(OVERRIDABLE - {name}), when=HOUR_AGO)
    assert conditions(gate(others, policy, plan=made, **facts)) == [name]
    chain.override(made, name, when=HOUR_AGO)
    opened = gate(chain, policy, plan=made, **facts)
    assert opened.allowed
    assert [each.reason.condition for each in opened.waived] == [name]


def test_the_table_has_every_condition():
    """Separation needs an approval, and is told apart above."""
    assert set(EACH) | {"separation"} == OVERRIDABLE
