"""Separation of people whom the policy lists: owners of keys, aliases, machines, notaries, requests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jenkins_release.records.candidate import manifest_digest
from jenkins_release.rules.gate.decision import BY_SPELLING
from jenkins_release.rules.gate.policy import Policy
from tests.fixtures.gate import (
    APPROVER,
    APPROVER2,
    ASKER,
    BREAKER,
    BUILD,
    NOTARY,
    PROMOTER,
    QA,
    QA2,
    Chain,
    candidate,
    conditions,
    gate,
    plan,
    trusted,
)

PEOPLE = {
    "Alex Baker": ("alex", "alex@nextlabs.com", "NEXTLABS\\alex", "abaker"),
    "Avery Stone": ("avery",),
    "Blake": (),
    "Casey": (),
    "Quinn": ("quinn@nextlabs.com",),
    "Riley": ("riley", "riley@nextlabs.com"),
    "Robin": (),
}
LISTED = Policy(approvals=1, people=PEOPLE, machines=("jenkins", "SYSTEM"))
NOTARIES = replace(LISTED, accept_notary=("request", "qa", "approval", "override"))
KEYS = (
    trusted("build", BUILD, "build"),
    trusted("quinn", QA, "qa", owner="Quinn"),
    trusted("robin", QA2, "qa", owner="Robin"),
    trusted("alex", APPROVER, "approval", "request", owner="Alex Baker"),
    trusted("avery", APPROVER2, "approval", owner="Avery Stone"),
    trusted("casey", BREAKER, "override", owner="Casey"),
    trusted("promoter", PROMOTER, "promotion", notary=True),
    trusted("riley", ASKER, "request", owner="Riley"),
    trusted("Jenkins", NOTARY, "request", "qa", "approval", "override", notary=True),
)
PLAN = plan(LISTED, KEYS)
NOTARY_PLAN = plan(NOTARIES, KEYS)


def ready(about: bytes | None = None) -> Chain:
    """Built by Blake, tested by Quinn."""
    chain = Chain(about) if about else Chain()
    tested = {"by": "receipt", "digest": manifest_digest(chain.about)}
    return chain.build().verdict(tested=tested)


def asked() -> Chain:
    """And Riley asks for it."""
    return ready().request(PLAN)


def messages(decision) -> str:
    return "\n".join(reason.message for reason in decision.unmet)


# --- aliases --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Alex Baker", "ALEX", "alex@nextlabs.com", "nextlabs\\ALEX", "abaker"])
def test_every_alias_of_the_owner_approves(name):
    """Login, mail, domain account, Jenkins id; and nothing is said of spellings."""
    decision = gate(asked().approve(PLAN, name), LISTED, keys=KEYS, plan=PLAN)
    assert decision.allowed, decision.reasons
    assert decision.notes == ()


@pytest.mark.parametrize(
    "name", ["alex.", "alex <alex@x>", "x\\alex", "alex@x", '"alex" via', "Alex", "Robin", "Riley", "jenkins"]
)
def test_a_personal_key_speaks_for_its_owner_only(name):
    """An unknown spelling is nobody, and another person's name is not the owner's; "Alex" is an alias."""
    decision = gate(asked().approve(PLAN, name), LISTED, keys=KEYS, plan=PLAN)
    if name == "Alex":
        assert decision.allowed
        return
    assert "approvals" in conditions(decision)
    assert "the key 'alex' is Alex Baker's and speaks for no one else" in messages(decision)


@pytest.mark.parametrize(
    ("more", "role"),
    [
        ({"requester": "NEXTLABS\\alex"}, "requester"),
        ({"requester": "\uff41lex@nextlabs.com"}, "requester"),
    ],
)
def test_who_asked_does_not_approve_under_an_alias(more, role):
    """The message names both spellings."""
    made = plan(LISTED, KEYS, **more)
    chain = ready().request(made, more["requester"], APPROVER).approve(made, "abaker")
    decision = gate(chain, LISTED, keys=KEYS, plan=made)
    assert conditions(decision) == ["approvals", "separation"]
    assert f"the approver is the {role} too, who is {more['requester']} there" in messages(decision)


def test_who_built_or_tested_does_not_approve_under_an_alias():
    """Builder and tester as well."""
    about = candidate(built_by="abaker")
    made = replace_candidate(about)
    decision = gate(ready(about).request(made).approve(made), LISTED, keys=KEYS, plan=made)
    assert "the approver is the builder too, who is abaker there" in messages(decision)
    keys = (*KEYS[:2], trusted("both", QA2, "qa", owner="Alex Baker"), *KEYS[3:])
    made = plan(LISTED, keys)
    chain = ready().verdict(tester="alex", signer=QA2).request(made).approve(made)
    assert "the approver is the tester too" in messages(gate(chain, LISTED, keys=keys, plan=made))


def replace_candidate(about: bytes):
    from jenkins_release.records.candidate import manifest_digest

    return plan(LISTED, KEYS, candidate=manifest_digest(about))


# --- the unknown fails closed -----------------------------------------------------------------------


@pytest.mark.parametrize("builder", ["root", "blake.", "Blake <blake@x>", ""])
def test_an_unknown_builder_proves_nothing(builder):
    """That the approver is somebody else has to be known."""
    about = candidate(built_by=builder)
    made = replace_candidate(about)
    decision = gate(ready(about).request(made).approve(made), LISTED, keys=KEYS, plan=made)
    assert conditions(decision) == ["approvals", "separation"]
    assert "nothing proves that the approver is not the builder too" in messages(decision)


@pytest.mark.parametrize("builder", ["jenkins", "JENKINS", "system", "Blake"])
def test_a_machine_is_nobody_and_known(builder):
    """A build that a timer started."""
    about = candidate(built_by=builder)
    made = replace_candidate(about)
    assert gate(ready(about).request(made).approve(made), LISTED, keys=KEYS, plan=made).allowed


def test_a_machine_approves_nothing():
    """Not even with a notary's word."""
    chain = ready().request(NOTARY_PLAN).approve(NOTARY_PLAN, "SYSTEM", NOTARY)
    decision = gate(chain, NOTARIES, keys=KEYS, plan=NOTARY_PLAN)
    assert "SYSTEM is a machine of policy.machines, not a person" in messages(decision)


def test_who_runs_it_has_to_be_known_too():
    """Neither an unknown account nor the approver; a machine and another person may."""
    chain = asked().approve(PLAN)
    for runner, told in {
        "root": "nothing proves that the approver is not the requester too: root is",
        "abaker": "the approver is the requester too, who is abaker there",
    }.items():
        decision = gate(chain, LISTED, keys=KEYS, plan=plan(LISTED, KEYS, requester=runner))
        assert conditions(decision) == ["approvals", "separation"]
        assert told in messages(decision)
    for runner in ("jenkins", "Avery Stone"):
        assert gate(chain, LISTED, keys=KEYS, plan=plan(LISTED, KEYS, requester=runner)).allowed


def test_a_key_without_owner_or_notary_speaks_for_nobody():
    """A key of the time before the list."""
    keys = (*KEYS[:3], trusted("alex", APPROVER, "approval"), *KEYS[4:])
    made = plan(LISTED, keys)
    decision = gate(ready().request(made).approve(made), LISTED, keys=keys, plan=made)
    assert "the key 'alex' has no owner and is not a notary's" in messages(decision)


def test_a_policy_without_separation_asks_for_no_proof():
    """What nobody has to be is not looked up."""
    loose = replace(LISTED, separate=())
    made = plan(loose, KEYS, requester="Whoever")
    assert gate(ready().approve(made), loose, keys=KEYS, plan=made).allowed


# --- the request ------------------------------------------------------------------------------------


def test_without_proof_nobody_is_known_to_have_asked():
    """Attack F16: the name in the plan is only what somebody wrote."""
    decision = gate(ready().approve(PLAN), LISTED, keys=KEYS, plan=PLAN)
    assert conditions(decision) == ["approvals", "separation"]
    assert "nothing proves that Riley asked for this plan" in messages(decision)
    assert "plan with a request key" in decision.unmet[-1].hint


def test_a_request_is_for_one_plan_by_one_person_with_a_key_for_it():
    """Of another plan, in another's name, with a key of another role, by a notary whom nobody accepts."""
    edited = plan(LISTED, KEYS, requester="Avery Stone")
    for chain in (
        ready().request(PLAN).approve(edited),
        ready().request(edited).approve(edited),
        ready().request(edited, "Avery Stone").approve(edited),
        ready().request(edited, "Avery Stone", APPROVER2).approve(edited),
        ready().request(edited, "Avery Stone", NOTARY).approve(edited),
    ):
        decision = gate(chain, LISTED, keys=KEYS, plan=PLAN)
        assert "nothing proves that Avery Stone asked for this plan" in messages(decision)


def test_a_notary_proves_who_asked_where_the_policy_accepts_it():
    """By a request of its own, or with the approval: Jenkins started the build for that user."""
    accepted = replace(LISTED, accept_notary=("request",))
    made = plan(accepted, KEYS)
    assert gate(ready().request(made, signer=NOTARY).approve(made), accepted, keys=KEYS, plan=made).allowed
    accepted = replace(LISTED, accept_notary=("approval",))
    made = plan(accepted, KEYS)
    told = ready().approve(made, signer=NOTARY, attestedRequester="riley@nextlabs.com")
    assert gate(told, accepted, keys=KEYS, plan=made).allowed
    for started_by, told in {
        "Avery Stone": "nothing proves that Riley asked",
        "jenkins": "nothing proves that Riley asked",
        "abaker": "the approver is the requester too, who is abaker there",
    }.items():
        chain = ready().approve(made, signer=NOTARY, attestedRequester=started_by)
        assert told in messages(gate(chain, accepted, keys=KEYS, plan=made))


def test_a_person_cannot_attest_who_else_asked():
    """Only a notary saw it."""
    chain = ready().approve(PLAN, attestedRequester="Riley")
    decision = gate(chain, LISTED, keys=KEYS, plan=PLAN)
    assert "nothing proves that Riley asked for this plan" in messages(decision)


# --- notaries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [LISTED, Policy(approvals=1)], ids=["listed", "by spelling"])
def test_a_notary_counts_only_where_the_policy_says_so(policy):
    """Also without a list of people: whoever marks a key decides about it."""
    made = plan(policy, KEYS)
    chain = ready().request(made).approve(made, signer=NOTARY)
    decision = gate(chain, policy, keys=KEYS, plan=made)
    assert "approvals" in conditions(decision)
    assert (
        "Jenkins vouches for it with the key 'Jenkins', and policy.accept_notary does not name 'approval'"
        in messages(decision)
    )
    accepted = replace(policy, accept_notary=("approval",))
    made = plan(accepted, KEYS)
    chain = ready().request(made).approve(made, signer=NOTARY)
    assert gate(chain, accepted, keys=KEYS, plan=made).allowed


def test_a_notary_vouches_for_several_people():
    """Two people with one notary's key are two; one person under two names is one."""
    two = replace(NOTARIES, approvals=2)
    made = plan(two, KEYS)
    once = ready().request(made).approve(made, signer=NOTARY)
    assert "found 1" in messages(gate(once, two, keys=KEYS, plan=made))
    again = ready().request(made).approve(made, signer=NOTARY).approve(made, "abaker", NOTARY)
    assert "found 1" in messages(gate(again, two, keys=KEYS, plan=made))
    both = ready().request(made).approve(made, signer=NOTARY).approve(made, "avery", NOTARY)
    assert gate(both, two, keys=KEYS, plan=made).allowed
    only = replace(two, accept_notary=("qa",))
    made = plan(only, KEYS)
    both = ready().request(made).approve(made, signer=NOTARY).approve(made, "avery", NOTARY)
    assert "found 0" in messages(gate(both, only, keys=KEYS, plan=made))


def test_testers_are_persons_too():
    """A pass in another's name does not count, a fail always does; two aliases are one tester."""
    lent = Chain().build().verdict(tester="Robin")
    decision = gate(lent, LISTED, keys=KEYS)
    assert "the sign-off by Robin (0002-x.dsse.json) does not count: the key 'quinn' is Quinn's" in messages(
        decision
    )
    fail = Chain().build().verdict("FAILED", tester="Robin").verdict(tester="Robin", signer=QA2)
    assert "fail" in conditions(gate(fail, LISTED, keys=KEYS))
    assert gate(fail.verdict(), LISTED, keys=KEYS).allowed
    two = replace(NOTARIES, sign_offs=2)
    one = Chain().build().verdict(signer=NOTARY).verdict(tester="quinn@nextlabs.com", signer=QA)
    assert "found 1" in messages(gate(one, two, keys=KEYS))
    assert gate(one.verdict(tester="Robin", signer=NOTARY), two, keys=KEYS).allowed


def test_a_pass_in_anothers_name_takes_no_fail_back():
    """Quinn's fail stays whatever Quinn's key says in Robin's name."""
    chain = Chain().build().verdict("FAILED").verdict(tester="Robin").verdict(tester="Robin", signer=QA2)
    assert conditions(gate(chain, LISTED, keys=KEYS)) == ["fail"]


def test_a_revocation_in_anothers_name_takes_no_fail_back():
    """It takes passes back, whoever it names; a fail only by the word of one who may speak for a tester."""
    for signer, name in ((NOTARY, "Quinn"), (QA2, "Quinn")):
        chain = Chain().build().verdict("FAILED").revoke(signer, name).verdict(tester="Robin", signer=QA2)
        assert conditions(gate(chain, LISTED, keys=KEYS)) == ["fail"]
    assert gate(chain.revoke(QA2, "Robin").verdict(), LISTED, keys=KEYS).allowed
    lost = Chain().build().verdict().revoke(NOTARY, "Quinn")
    assert conditions(gate(lost, LISTED, keys=KEYS)) == ["sign-offs"]
    vouched = Chain().build().verdict("FAILED").revoke(NOTARY, "Quinn").verdict(tester="Robin", signer=QA2)
    assert gate(vouched, NOTARIES, keys=KEYS).allowed


def test_an_override_is_its_owners():
    """In another's name it waives nothing, and the decision says why."""
    needed = replace(LISTED, required_suites=("security",), approvals=0)
    made = plan(needed, KEYS)
    assert gate(ready().override(made, "suites"), needed, keys=KEYS, plan=made).allowed
    decision = gate(ready().override(made, "suites", by="Robin"), needed, keys=KEYS, plan=made)
    assert conditions(decision) == ["suites"]
    assert any("the key 'casey' is Casey's" in line for line in decision.reasons)


# --- without a list ---------------------------------------------------------------------------------

BARE = Policy(approvals=1)
BARE_KEYS = (KEYS[0], trusted("quinn", QA, "qa"), trusted("alex", APPROVER, "approval"))


def test_without_a_list_every_decision_says_so():
    """Only if approvals are looked at."""
    made = plan(BARE, BARE_KEYS)
    for chain in (ready(), ready().approve(made)):
        assert gate(chain, BARE, keys=BARE_KEYS, plan=made).notes == (BY_SPELLING,)
    assert gate(ready(), BARE, keys=BARE_KEYS).notes == ()


@pytest.mark.parametrize(
    "name",
    [
        *(
            "root <root@x>",
            "root.",
            "nextlabs\\root",
            "root@x",
            "ROOT",
            "\uff52\uff4f\uff4f\uff54",
            '"root" via',
        ),
        *("Root Admin", "(root)", "r.o.o.t", "root/admin@X", "mailto:root@x", "Administrator <x\\root>"),
    ],
)
def test_without_a_list_what_may_be_one_person_is_one(name):
    """Attack F8, both ways round."""
    for requester, approver in ((name, "root"), ("root", name)):
        made = plan(BARE, BARE_KEYS, requester=requester)
        decision = gate(ready().approve(made, approver), BARE, keys=BARE_KEYS, plan=made)
        assert "the approver is the requester too" in messages(decision)


@pytest.mark.parametrize("name", ["alex", "roo", "rooter", "nextlabs\\alex", "alex@root.com.x"])
def test_without_a_list_others_are_others(name):
    """A longer word, another account, a domain of that name."""
    made = plan(BARE, BARE_KEYS, requester="root")
    decision = gate(ready().approve(made, name), BARE, keys=BARE_KEYS, plan=made)
    assert decision.allowed == (name != "alex@root.com.x")


@pytest.mark.parametrize("name", ["<>", "...", "@", "\\", '""'])
def test_a_name_without_a_letter_is_nobodys(name):
    """There is nothing to compare."""
    made = plan(BARE, BARE_KEYS)
    decision = gate(ready().approve(made, name), BARE, keys=BARE_KEYS, plan=made)
    assert "names no approver" in messages(decision)
