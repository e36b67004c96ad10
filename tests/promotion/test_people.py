"""Who approves is a person, not a spelling: attacks on separation through the command line."""

from __future__ import annotations

import re

import pytest

from jenkins_release.records.attestation import APPROVAL
from jenkins_release.records.plan import Plan
from tests.fixtures.approval import REF, Release
from tests.fixtures.command import fails

SPELLINGS = (
    *(
        "root <root@x>",
        "root.",
        "nextlabs\\root",
        "NEXTLABS/root",
        "root@x",
        "ROOT",
        "\uff52\uff4f\uff4f\uff54",
    ),
    *('"root" via', "'root'", '"root"', "<root>", "(root)", "root;", "root (approver)", "root/admin@REALM"),
    *("mailto:root@x", "ro\u00adot", "r.o.o.t"),
)
PEOPLE = """\
[policy.people]
"Alex Baker" = ["alex", "alex@nextlabs.com", 'NEXTLABS\\alex']
"Kim Root" = ["root", "kim"]
Quinn = []
Blake = []
Casey = []
Riley = ["riley"]
"""


def request_key(release: Release) -> str:
    return f"file2:{release.product.folder / 'keys' / 'riley'}.pem"


def owners(release: Release, *policy: str, **of: str) -> None:
    """List people, and give each key an owner, or mark it as a notary's."""
    release.policy("approvals = 1", 'machines = ["jenkins"]', *policy, PEOPLE)
    said = {
        "qa": "Quinn",
        "approval": "Alex Baker",
        "override": "Casey",
        "promotion": "",
        "riley": "Riley",
    } | of
    release.new_key("riley", '"request"')
    text = release.product.config.read_text()
    for key, owner in said.items():
        line = f'owner = "{owner}"' if owner else "notary = true"
        text = re.sub(rf'(?m)^(name = "{key}")$(?=\nroles)', rf"\1\n{line}", text)
    release.product.config.write_text(text)


@pytest.fixture
def listed(tested: Release) -> Release:
    """A product whose policy lists people and whose keys have owners."""
    owners(tested)
    return tested


def attempt(release: Release, approver: str, *more: str, by: str = "riley"):
    words = ("promote", "approve", str(release.plan), "--reason", "it goes out", "--json", "--dry-run")
    return release.run(*words, *(["--approver", approver] if approver else []), *more, by=by)


def edit_requester(release: Release, name: str) -> None:
    """Write another name into the plan, in its canonical form."""
    plan = Plan.from_bytes(release.plan.read_bytes(), "plan")
    release.plan.write_bytes(plan.model_copy(update={"requester": name}).to_bytes())


# --- without a list of people -----------------------------------------------------------------------


def test_self_approval_by_another_spelling_is_refused(tested: Release):
    """Attack F8: whoever asked does not approve, however they write their name."""
    tested.ok("promote", "plan", REF, "--out", str(tested.plan), by="root")
    passed = [name for name in SPELLINGS if attempt(tested, name, by="root").status != 3]
    assert passed == []
    fails(attempt(tested, "root@x"), 3, "the approver is the requester too, who is root there")


def test_without_a_list_of_people_every_decision_says_so(tested: Release):
    """On a terminal and as JSON, open and shut."""
    shut = tested.run("promote", "plan", REF, "--out", str(tested.plan))
    assert "note: people are told apart by the spelling of their names" in shut.out
    assert tested.approve().json["gate"]["notes"] == [
        "people are told apart by the spelling of their names, and the plan is believed who asked for it: "
        "policy.people lists no one"
    ]
    assert tested.promote().json["gate"]["notes"]


# --- with a list of people --------------------------------------------------------------------------


def test_a_spelling_that_is_not_listed_is_nobody(listed: Release):
    """Attack F8: whoever asked has the approval key of Kim Root and writes another name."""
    owners_of = listed.product.config.read_text().replace('owner = "Alex Baker"', 'owner = "Kim Root"')
    listed.product.config.write_text(owners_of)
    listed.ok("promote", "plan", REF, "--out", str(listed.plan), "--key", request_key(listed))
    edit_requester(listed, "root")
    for name in (*SPELLINGS, "\u212aim", "", "Alex Baker"):
        assert attempt(listed, name, by="kim").status == 3, name


def test_a_key_approves_in_no_one_elses_name(listed: Release):
    """Attack F8: Alex's key, Kim's name. Refused when it is signed, and not counted if it was forged."""
    listed.ok("promote", "plan", REF, "--out", str(listed.plan), "--key", request_key(listed))
    fails(
        attempt(listed, "Kim Root"),
        3,
        "nothing is signed in the name of Kim Root: the key 'approval' is Alex Baker's",
        "leave out --approver to sign as the key's owner",
    )
    listed.forge(APPROVAL, "approval", listed.named(), approver="Kim Root", reason="it goes out")
    reasons = listed.refused("approvals")
    assert any("the key 'approval' is Alex Baker's and speaks for no one else" in line for line in reasons)
    product = listed.product
    for words in (
        ("qa", "sign-off", REF, "--verdict", "fail", "--tester", "Riley"),
        ("qa", "revoke", REF, "--tester", "Riley", "--reason", "no"),
        ("promote", "override", str(listed.plan), "--condition", "age", "--by", "Riley", "--reason", "no"),
    ):
        fails(product.run(*words), 3, "nothing is signed in the name of Riley", "speaks for no one else")


def test_a_name_may_be_left_out_with_a_key_that_has_an_owner(listed: Release):
    """The release goes its whole way; the history tells each person once more."""
    asked = listed.ok("promote", "plan", REF, "--out", str(listed.plan), "--key", request_key(listed), by="x")
    assert (asked["requester"], asked["request"]) == ("Riley", "0003-request.dsse.json")
    again = listed.ok("promote", "plan", REF, "--out", str(listed.plan), "--key", request_key(listed))
    assert again["request"] == asked["request"]
    words = ("promote", "approve", str(listed.plan), "--reason", "it goes out")
    done = listed.run(*words, by="whoever")
    assert done.status == 0, done.text
    assert "Alex Baker approved the plan" in done.out
    assert "gate: open" in done.out
    assert "note:" not in done.out
    done = listed.promote()
    assert done.status == 0, done.text
    history = listed.run("release", "history", "8.1.0").out
    assert "requested by Riley [0003-request.dsse.json, key riley]" in history
    assert "approved by Alex Baker: it goes out [0004-approval.dsse.json, key approval]" in history


def test_without_a_name_a_key_without_an_owner_signs_nothing(tested: Release):
    """Somebody has to say who it is."""
    tested.planned()
    fails(attempt(tested, ""), 2, "the approver is empty", "give --approver")


@pytest.mark.parametrize("name", ["null", " Null"])
def test_what_jenkins_writes_for_a_missing_name_approves_nothing(tested: Release, name: str):
    """Without a list of people, null would be someone else than whoever asked."""
    tested.planned()
    fails(attempt(tested, name), 2, f"the approver is '{name.strip()}', which is no one's name")


def test_a_requester_who_was_edited_out_of_the_plan(listed: Release):
    """Attack F16: Riley asks, writes another name into plan.json, and approves with a key of their own."""
    key = listed.new_key("riley-approves", '"approval"', more='owner = "Riley"')
    listed.ok("promote", "plan", REF, "--out", str(listed.plan), "--key", request_key(listed))
    fails(attempt(listed, "Riley", "--key", key), 3, "the approver is the requester too")
    edit_requester(listed, "Kim Root")
    fails(attempt(listed, "Riley", "--key", key), 3, "nothing proves that Kim Root asked for this plan")
    listed.forge(APPROVAL, "riley-approves", listed.named(), approver="Riley", reason="mine")
    reasons = listed.refused("approvals", "separation")
    assert any("nothing proves that Kim Root asked for this plan" in line for line in reasons)


def test_a_requester_who_renames_their_shell(listed: Release):
    """Attack F16: BUILD_USER_ID proves nothing without a notary's key, and nothing against a key's owner."""
    key = listed.new_key("riley-approves", '"approval"', more='owner = "Riley"')
    listed.ok("promote", "plan", REF, "--out", str(listed.plan), by="kim")
    fails(attempt(listed, "Riley", "--key", key), 3, "nothing proves that kim asked for this plan")
    words = ("promote", "plan", REF, "--out", str(listed.plan), "--key", request_key(listed))
    assert listed.ok(*words, by="kim")["requester"] == "Riley"
    fails(attempt(listed, "Riley", "--key", key), 3, "the approver is the requester too")


def test_an_unknown_builder_or_runner_is_refused(listed: Release):
    """Jenkins' own account has to be listed; 'machines' lists it."""
    listed.ok("promote", "plan", REF, "--out", str(listed.plan), "--key", request_key(listed))
    assert listed.approve("Alex Baker").status == 0
    done = listed.run("promote", "run", REF, "--dry-run", "--json", by="somebody")
    fails(done, 3, "nothing proves that the approver is not the requester too: somebody is neither")
    assert listed.run("promote", "run", REF, "--dry-run", "--json", by="jenkins").status == 0
    fails(
        listed.run("promote", "run", REF, "--dry-run", "--json", by="ALEX"),
        3,
        "the approver is the requester",
    )


def test_a_notarys_approval_counts_if_the_policy_accepts_it(tested: Release):
    """Jenkins holds the key: it says who answered and who started the build; the history marks it."""
    owners(tested, approval="")
    tested.ok("promote", "plan", REF, "--out", str(tested.plan), by="riley")
    told = "policy.accept_notary does not name 'approval'"
    fails(attempt(tested, "alex"), 3, told)
    tested.product.edit("approvals = 1\n", 'approvals = 1\naccept_notary = ["approval"]\n')
    tested.ok("promote", "plan", REF, "--out", str(tested.plan), by="riley")
    fails(attempt(tested, "alex", by="kim"), 3, "nothing proves that riley asked for this plan")
    fails(attempt(tested, "alex", by="alex"), 3, "the approver is the requester too")
    fails(attempt(tested, "alex.", by="riley"), 3, "alex. is not in policy.people")
    words = ("promote", "approve", str(tested.plan), "--reason", "it goes out", "--approver", "alex")
    done = tested.run(*words, by="riley")
    assert done.status == 0, done.text
    assert tested.promote().status == 0
    history = tested.run("release", "history", "8.1.0").out
    assert "key approval, attested by Jenkins, not by a key of their own]" in history
    assert "requested by riley; the build was started by riley" in history


def test_whose_a_key_is(listed: Release):
    """`keys show` tells the person with aliases, a notary, and nothing of a key that is not trusted."""
    keys = listed.product.folder / "keys"
    done = listed.run("keys", "show", str(keys / "approval.pem.pub"))
    assert "trusted as 'approval' for approval\nspeaks for Alex Baker, also written alex, alex@" in done.out
    done = listed.run("keys", "show", str(keys / "promotion.pem.pub"))
    assert "a notary's key: says whom Jenkins authenticated, accepted for nothing" in done.out
    found = listed.ok("keys", "show", str(keys / "qa.pem.pub"))["trusted"]
    assert (found["owner"], found["roles"], found["notary"]) == ("Quinn", ["qa"], False)
    listed.product.config.unlink()
    assert "trusted" not in listed.ok("keys", "show", str(keys / "qa.pem.pub"))


def test_a_list_that_contradicts_itself_is_refused(listed: Release):
    """An alias of two people, an owner and an approver who is not listed, a key that is nobody's."""
    text = listed.product.config.read_text()
    for old, new, told in (
        (
            '["riley"]',
            '["riley", "NEXTLABS\\\\ALEX"]',
            "ALEX' is claimed by 'Alex Baker' (as 'NEXTLABS",
        ),
        ('["jenkins"]', '["ROOT"]', "'ROOT' is claimed by 'Kim Root' (as 'root') and by 'policy.machines'"),
        ('owner = "Casey"', 'owner = "Cassy"', "its owner 'Cassy' is not a name in policy.people"),
        (
            'owner = "Casey"',
            "",
            "'override': policy.people lists people, so the key needs an owner",
        ),
        ('owner = "Casey"', 'owner = "Casey"\nnotary = true', "has an owner, but notary = true"),
        ("approvals = 1\n", 'approvals = 1\napprovers = ["Dana"]\n', "approvers names 'Dana', who is not in"),
    ):
        assert old in text
        listed.product.config.write_text(text.replace(old, new, 1))
        fails(listed.product.run("candidate", "show", REF), 2, told)
