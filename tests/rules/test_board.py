"""The lines of the release board: which stage says what, and in which order."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from jenkins_release.records.attestation import PORTAL, PUBLICATION, REFRESH, RETIREMENT
from jenkins_release.records.candidate import Candidate, FileRecord, InstallerRecord
from jenkins_release.rules.gate.chain import Chain as Attested
from jenkins_release.rules.gate.evidence import collect
from jenkins_release.rules.gate.policy import Policy
from jenkins_release.rules.release.board import Board, Cell, Seen, Setting, make_board
from tests.fixtures.gate import (
    APPROVER2,
    CANDIDATE,
    HOUR_AGO,
    KEYS,
    NOW,
    PROMOTER,
    Chain,
    candidate,
    digest,
    gate,
    plan,
)

PROMOTED = {
    "registry": "1.dkr.ecr.us-east-1.amazonaws.com",
    "images": [
        {
            "name": "rms",
            "repository": "skydrm/rms",
            "configDigest": digest("c"),
            "digest": digest("d"),
            "tags": ["8.1.0", "8.1"],
        }
    ],
}
ALL = Setting(Policy(), publishes=True, portal=True, stack="production")


def of(ident: str = "8.1.0/42", **more: Any) -> Chain:
    """A chain about a candidate."""
    version, build = ident.split("/")
    return Chain(candidate(version=version, build=build, **more))


def promoted(ident: str = "8.1.0/42", **more: Any) -> Chain:
    """A chain of a candidate that was promoted."""
    chain = of(ident, **more).build().verdict()
    return chain.promoted(predicate=PROMOTED, promotedBy="Rita")


def with_installer() -> dict[str, Any]:
    """What a candidate with an installer has in addition."""
    file = FileRecord(path="installers/SkyDRM.msi", size=1, sha256="f" * 64)
    return {
        "files": (*Candidate.from_bytes(CANDIDATE, "").files, file),
        "installers": (InstallerRecord(path=file.path, kind="installer"),),
    }


def refreshed(chain: Chain, ident: str, number: int, outcome: str = "done", **more: Any) -> Chain:
    """Add a statement about the stack."""
    predicate = {
        "stack": "production",
        "strategy": "ecs",
        "action": "refresh",
        "outcome": outcome,
        "number": number,
        "release": ident,
        "before": {},
        "after": {"release": ident},
        "startedOn": HOUR_AGO.isoformat(),
    }
    return chain.add(REFRESH, PROMOTER, predicate | more, refreshedBy="Olga")


def seen(chain: Chain, policy: Policy | None = None, **more: Any) -> Seen:
    """The candidate of a chain, as it is read."""
    attested = Attested.of(chain.about, chain.files)
    record = Candidate.from_bytes(chain.about, "")
    evidence = collect(attested, KEYS, NOW)
    decision = gate(chain, policy)
    return Seen(record.version, record.build, record, decision, evidence, attested, **more)


def board(*found: Seen | Chain, setting: Setting = ALL) -> Board:
    """The board of some candidates."""
    looks = [each if isinstance(each, Seen) else seen(each, setting.policy) for each in found]
    return make_board("SkyDRM", looks, setting, NOW)


def cells(found: Board, ident: str = "8.1.0/42") -> dict[str, Cell]:
    """The cells of a line by their columns."""
    line = next(each for each in found.lines if each.ident == ident)
    return dict(zip(found.columns, line.cells, strict=True))


def short(cell: Cell) -> tuple[str, str, str]:
    """What a cell says, its tone, and who did it."""
    return cell.text, cell.tone, cell.who


def test_the_stages_of_a_new_candidate():
    """It is built and on the share; nothing else."""
    found = cells(board(of().build()))
    assert list(found) == [
        *("Built", "On the share", "QA", "Approved", "Promoted", "Published", "Portal"),
        *("SaaS production", "Support"),
    ]
    assert short(found["Built"]) == ("attested", "good", "Blake")
    assert found["On the share"].more == "1 image"
    assert short(found["QA"]) == ("no verdict", "wait", "")
    assert found["Approved"].text == "not asked for"
    assert [found[name].text for name in ("Promoted", "Portal", "Support")] == ["", "", ""]
    assert found["Published"].text == "no installers"


def test_a_build_that_has_to_be_attested():
    """Only a policy that asks for it makes it bad."""
    assert cells(board(of()))["Built"].tone == "none"
    strict = replace(ALL, policy=Policy(build_attestation=True))
    assert short(cells(board(of(), setting=strict))["Built"]) == ("not attested", "bad", "Blake")


def test_verdicts_and_approvals_are_counted():
    """Who, and whether it is enough."""
    two = replace(ALL, policy=Policy(sign_offs=2, approvals=2))
    chain = of().verdict().approve(plan())
    found = cells(board(chain, setting=two))
    assert short(found["QA"]) == ("1 pass", "wait", "Quinn")
    assert found["QA"].more == "not enough yet"
    assert short(found["Approved"]) == ("1 of 2", "wait", "Alex")
    assert short(cells(board(of().verdict("FAILED")))["QA"]) == ("1 fail", "bad", "Quinn")


def test_approvals_are_people_and_not_names_or_statements():
    """A name in the form of a directory is one person's, and who approves twice is one person too."""
    two = replace(ALL, policy=Policy(approvals=2))
    chain = of().verdict().approve(plan(two.policy), "Doe, Jane")
    assert short(cells(board(chain, setting=two))["Approved"]) == ("1 of 2", "wait", "Doe, Jane")
    chain.approve(plan(two.policy), "Doe, Jane")
    found = board(chain, setting=two)
    assert short(cells(found)["Approved"]) == ("1 of 2", "wait", "Doe, Jane")
    assert found.lines[0].wait.what == "approval"


def test_approvals_of_two_plans_do_not_add_up():
    """A promotion has one plan; the one that most people approved is shown."""
    two = replace(ALL, policy=Policy(approvals=2))
    chain = of().verdict().approve(plan(two.policy, requester="Rose"))
    chain.approve(plan(two.policy), "Jamie", APPROVER2)
    found = board(chain, setting=two)
    assert cells(found)["Approved"].text == "1 of 2"
    assert found.lines[0].wait.what == "approval"


def test_an_approval_that_cannot_count_is_told_apart():
    """By who asked for it, or by no approver: whatever the plan will be, it helps nobody."""
    one = replace(ALL, policy=Policy(approvals=1, approvers=("Ada",)))
    found = board(of().verdict().approve(plan(one.policy)), setting=one)
    cell = cells(found)["Approved"]
    assert (cell.text, cell.tone, cell.more) == ("0 of 1", "wait", "does not count: Alex")
    assert found.lines[0].wait.what == "approval"


def test_a_release_whose_sign_off_grew_old():
    """It was young enough when it counted."""
    policy = Policy(sign_off_max_age_days=1)
    chain = of().build().verdict(when=NOW - timedelta(days=3)).promoted(predicate=PROMOTED)
    cell = cells(board(chain, setting=replace(ALL, policy=policy)))["QA"]
    assert (cell.text, cell.tone, cell.more) == ("1 pass", "good", "")


def test_a_withdrawn_release_was_approved():
    """The approval counts for nothing else, and is shown with what it was for."""
    one = replace(ALL, policy=Policy(approvals=1))
    chain = of().verdict().approve(plan()).promoted(predicate=PROMOTED).withdraw()
    assert short(cells(board(chain, setting=one))["Approved"]) == ("1 of 1", "good", "Alex")
    chain.promoted(predicate=PROMOTED)
    assert short(cells(board(chain, setting=one))["Approved"]) == ("0 of 1", "wait", "")


def test_a_release_and_its_way_on():
    """Promotion, publication, portal and stack, one waiting for the other."""
    chain = promoted(**with_installer())
    found = board(chain)
    assert short(cells(found)["Promoted"]) == ("promoted", "good", "Rita")
    assert cells(found)["Promoted"].more == "8.1.0, 8.1"
    assert (found.lines[0].group, found.lines[0].wait.what) == ("waiting", "publication of its installers")
    chain.add(PUBLICATION, PROMOTER, publishedBy="Rita")
    assert board(chain).lines[0].wait.what == "the upload to the portal"
    there = {"action": "upload", "portal": "s3://x", "releaseDigest": digest("e")}
    chain.add(PORTAL, PROMOTER, there, uploadedBy="Sam")
    found = board(chain)
    assert short(cells(found)["Portal"]) == ("uploaded", "good", "Sam")
    assert found.lines[0].wait.what == "the SaaS stack"
    refreshed(chain, "8.1.0/42", 1)
    found = board(chain)
    assert short(cells(found)["SaaS production"]) == ("runs", "good", "Olga")
    assert (found.lines[0].group, found.lines[0].wait.what) == ("released", "released")
    chain.add(PORTAL, PROMOTER, there | {"action": "removal"}, removedBy="Sam")
    assert short(cells(board(chain))["Portal"]) == ("removed", "none", "Sam")


def test_a_publication_after_the_upload_has_to_be_uploaded():
    """The portal has the earlier one."""
    chain = promoted(**with_installer()).add(PUBLICATION, PROMOTER)
    chain.add(PORTAL, PROMOTER, {"action": "upload", "portal": "x", "releaseDigest": digest("e")})
    chain.add(PUBLICATION, PROMOTER)
    assert board(chain).lines[0].wait.what == "the upload to the portal"


@pytest.mark.parametrize(
    ("outcome", "cell"),
    [
        ("started", ("refresh begun", "bad", "Olga")),
        ("failed", ("refresh failed", "bad", "Olga")),
        ("returned", ("failed, returned", "bad", "Olga")),
    ],
)
def test_a_refresh_that_did_not_end_well(outcome: str, cell: tuple[str, str, str]):
    """The stack does not run it for sure."""
    chain = refreshed(promoted(), "8.1.0/42", 1, outcome)
    assert short(cells(board(chain))["SaaS production"]) == cell


def test_what_the_stack_ran_before_and_only_the_newest_waits_for_it():
    """An older line is not expected there."""
    old = refreshed(promoted("8.0.0/1"), "8.0.0/1", 1)
    previous = Attested.of(old.about, old.files).documents[-1].sha256
    new = refreshed(promoted(), "8.1.0/42", 2, previous=previous)
    found = board(old, new)
    assert found.notes == ()
    assert cells(found, "8.0.0/1")["SaaS production"].text == "ran before"
    assert {line.wait.what for line in found.lines} == {"released"}
    found = board(refreshed(promoted("8.0.0/1"), "8.0.0/1", 1), promoted())
    assert [(line.ident, line.wait.what) for line in found.lines] == [
        ("8.1.0/42", "the SaaS stack"),
        ("8.0.0/1", "released"),
    ]


def test_gaps_in_the_history_of_a_stack_are_told():
    """Also of a stack that this configuration does not name."""
    found = board(refreshed(promoted(), "8.1.0/42", 3, stack="other"))
    assert "SaaS other" in found.columns
    assert found.notes[0].startswith("stack other: records are missing before ")


def test_a_record_that_cannot_be_read():
    """It is told, and claims nothing."""
    chain = promoted().add(REFRESH, PROMOTER, {"stack": "production"})
    assert "predicate cannot be read" in board(chain).notes[0]
    assert short(cells(board(of().promoted()))["Promoted"])[:2] == ("cannot be read", "bad")


def test_the_support_window():
    """N, N-1, and what has to be retired; a withdrawn version opens no line."""
    withdrawn = promoted("9.0.0/1").withdraw()
    found = board(
        promoted("8.2.0/3"),
        promoted(),
        promoted("8.0.0/1"),
        promoted("7.0.0/1").add(RETIREMENT, PROMOTER, retiredBy="Rita"),
        withdrawn,
        setting=replace(ALL, portal=False, stack="", ends={"8.1": date(2027, 3, 31)}),
    )
    assert cells(found)["Support"].more == "until 2027-03-31"
    assert found.window.names == ("8.2", "8.1")
    said = {line.ident: (line.group, line.supported) for line in found.lines}
    assert said == {
        "8.2.0/3": ("released", "N"),
        "8.1.0/42": ("released", "N-1"),
        "8.0.0/1": ("released", "unsupported"),
        "7.0.0/1": ("over", "retired"),
        "9.0.0/1": ("over", "withdrawn"),
    }
    assert short(cells(found, "9.0.0/1")["Support"]) == ("withdrawn", "bad", "Dana")
    assert cells(found, "9.0.0/1")["Support"].more == "breaks logins"
    assert short(cells(found, "7.0.0/1")["Promoted"]) == ("promoted", "none", "Rita")


def test_a_line_that_is_promised_for_longer_is_supported():
    """Until its last day is over in UTC, as everywhere; N and N-1 stay what they are."""
    chains = [promoted(f"8.{minor}.0/1") for minor in range(4)]
    today = NOW.date()
    setting = replace(ALL, portal=False, stack="", ends={"8.0": today, "8.1": today - timedelta(days=1)})
    found = board(*chains, setting=setting)
    said = {line.ident: line.supported for line in found.lines}
    assert said == {"8.3.0/1": "N", "8.2.0/1": "N-1", "8.1.0/1": "unsupported", "8.0.0/1": "supported"}
    assert short(cells(found, "8.0.0/1")["Support"])[:2] == ("supported", "good")
    assert cells(found, "8.1.0/1")["Support"].more == f"until {today - timedelta(days=1)}"
    assert found.document()["supported"] == ["8.3", "8.2", "8.0"]
    assert found.supported == (("8.3", "N"), ("8.2", "N-1"), ("8.0", f"until {today}"))


def test_a_release_without_proof_that_would_move_the_window_is_told():
    """Who reads N-1 has to know that it may be less."""
    bad = seen(promoted("8.3.0/1"), problems=("8.3.0 is gone from the registry",))
    new = Seen("9.0.0", "1", problems=("candidate.json is missing",))
    old = seen(promoted("7.0.0/1"), problems=("altered: release.json",))
    trial = seen(promoted("9.1.0-rc1/1"), problems=("altered: release.json",))
    quiet = seen(of("8.4.0/1"), problems=("altered: 0001",))
    found = board(promoted("8.2.0/1"), promoted("8.1.0/1"), bad, new, old, trial, quiet)
    assert found.notes == (
        "the support window is without 8.3.0/1 and 9.0.0/1, of which nothing is proven: "
        "N may be another line",
    )


def test_a_withdrawn_release_has_to_leave_the_portal():
    """Customers can still get it."""
    there = {"action": "upload", "portal": "s3://x", "releaseDigest": digest("e")}
    chain = promoted(**with_installer()).add(PUBLICATION, PROMOTER).add(PORTAL, PROMOTER, there)
    chain.withdraw()
    found = board(chain)
    assert short(cells(found)["Portal"])[:2] == ("uploaded", "bad")
    wait = found.lines[0].wait
    assert (found.lines[0].group, wait.what) == ("waiting", "its removal from the portal")
    assert wait.command == "jenkins-release release portal 8.1.0 --remove"
    assert wait.reasons == ("Dana withdrew this release: breaks logins",)
    chain.add(PORTAL, PROMOTER, there | {"action": "removal"})
    assert (board(chain).lines[0].group, board(chain).lines[0].wait.what) == ("over", "withdrawn")


def test_a_retired_release_is_over_although_its_installers_are_published():
    """It is in one group, and says so in both columns."""
    chain = promoted(**with_installer()).add(PUBLICATION, PROMOTER, publishedBy="Rita")
    chain.add(RETIREMENT, PROMOTER, retiredBy="Rita")
    found = board(chain)
    assert (found.lines[0].group, found.lines[0].supported) == ("over", "retired")


def test_texts_that_anyone_wrote_are_short():
    """A page with megabytes of somebody's name helps nobody."""
    found = cells(board(of(built_by="B" * 10_000, revision="r" * 10_000)))
    assert len(found["Built"].who) == 200


def test_the_order_of_the_lines():
    """Problems first, then who has to act, then releases; the newest first, builds as numbers."""
    found = board(
        promoted("8.1.0/9"),
        of("8.1.0/10"),
        of("8.2.0/2"),
        of("8.2.0/10"),
        of("8.0.0/1").verdict("FAILED"),
        Seen("odd", "1", problems=("candidate.json is missing",)),
        setting=replace(ALL, stack=""),
    )
    assert [(line.ident, line.group) for line in found.lines] == [
        ("8.0.0/1", "problem"),
        ("odd/1", "problem"),
        ("8.2.0/10", "waiting"),
        ("8.2.0/2", "waiting"),
        ("8.1.0/9", "released"),
        ("8.1.0/10", "over"),
    ]
    assert found.awaited == [("QA", 2), ("release management", 1), ("the build and QA", 1)]


def test_nothing_of_what_is_not_proven_is_shown():
    """Neither cells nor a place in the support window; it replaces no other candidate and opens no line."""
    bad = seen(promoted("8.1.0/43"), problems=("altered: release.json",))
    chain = promoted("8.3.0/1")
    del chain.files["0001-x.dsse.json"]
    found = board(bad, of(), chain)
    assert found.window.names == ()
    assert [(line.ident, line.cells == (), line.supported) for line in found.lines[:2]] == [
        ("8.3.0/1", True, ""),
        ("8.1.0/43", True, ""),
    ]
    assert found.lines[2].group == "waiting"
    assert found.document()["candidates"][1]["stages"] == {}


def test_a_promotion_that_was_begun():
    """On its way, or stuck."""
    policy = Policy()
    begun = seen(of().verdict(), policy, begun="Rita began it on agent-1")
    found = board(begun)
    assert (found.lines[0].group, found.lines[0].wait.what) == ("waiting", "the end of a promotion")
    assert short(cells(found)["Promoted"]) == ("begun", "wait", "")
    assert board(replace(begun, stuck=True)).lines[0].group == "problem"


def test_a_signer_without_a_name():
    """Nothing of it breaks the page."""
    assert cells(board(of().verdict().promoted(predicate=PROMOTED)))["Promoted"].who == "?"
