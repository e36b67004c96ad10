"""Plan, approval and override end to end: what was approved goes out, and nothing else does."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from jenkins_release import CandidateRef, GateRefused, PromoteRequest, promote
from jenkins_release.records.attestation import APPROVAL, OVERRIDE
from jenkins_release.records.plan import Plan
from tests.fixtures.approval import REF, Release
from tests.fixtures.configuration import QUICK_RETRY
from tests.fixtures.process import started
from tests.fixtures.release import SERVICES

BEFORE = ["0001-build.dsse.json", "0002-qa.dsse.json"]
APPROVED = [*BEFORE, "0003-approval.dsse.json"]


def predicate(release: Release, file: str) -> dict:
    """What an attestation on the share says."""
    import base64

    data = json.loads((release.product.candidate(REF) / "attestations" / file).read_text())
    return json.loads(base64.b64decode(data["payload"]))["predicate"]


# --- the way it should go -------------------------------------------------------------------------


def test_a_plan_is_made_approved_and_run(tested: Release):
    """Refused before; the approval names the plan's SHA-256, who asked, who approved and why."""
    (reason,) = tested.refused("approvals")
    assert "1 approval of this plan required, found 0" in reason
    planned = tested.planned()
    data = tested.plan.read_bytes()
    assert Plan.from_bytes(data, "plan").to_bytes() == data
    assert planned["planDigest"] == f"sha256:{sha256(data).hexdigest()}"
    assert (planned["requester"], planned["version"], planned["build"]) == ("riley", "8.1.0", "42")
    for image in planned["images"]:
        assert image["config_digest"].startswith("sha256:")
        assert image["repository"] == f"{tested.product.prefix}/{image['name']}"
        assert [(tag["tag"], tag["moving"], tag["digest"]) for tag in image["tags"]] == [
            ("8.1.0", False, None)
        ]
        assert image["push_bytes"] > 0
    assert planned["gate"]["open"] is False
    done = tested.approve()
    assert done.status == 0, done.text
    assert done.json == {
        "candidate": REF,
        "planDigest": planned["planDigest"],
        "attestation": "0003-approval.dsse.json",
        "head": done.json["head"],
        "gate": done.json["gate"],
    }
    assert (
        done.json["head"]
        == sha256(
            (tested.product.candidate(REF) / "attestations" / "0003-approval.dsse.json").read_bytes()
        ).hexdigest()
    )
    assert done.json["gate"]["open"] is True
    said = predicate(tested, "0003-approval.dsse.json")
    assert said["planDigest"] == planned["planDigest"]
    own = said["jenkinsRelease"]
    assert (own["approver"], own["requester"], own["reason"]) == ("Alex Baker", "riley", "it goes out")
    ran = tested.promote()
    assert ran.status == 0, ran.text
    assert ran.json["gate"]["approvalsChecked"] is True
    assert ran.json["gate"]["overridden"] == []
    assert tested.release_tags() == {f"{tested.product.prefix}/{name}:8.1.0" for name in SERVICES}
    shown = tested.run("candidate", "show", REF).out
    assert "approver: Alex Baker" in shown
    assert "reason: it goes out" in shown
    assert tested.ok("promote", "run", REF)["changed"] is False


def test_a_dry_run_checks_everything_and_writes_nothing(tested: Release):
    """Of the approval, the override and the promotion."""
    tested.planned()
    done = tested.approve("Alex Baker", "--dry-run")
    assert (done.status, done.json["attestation"]) == (0, "")
    assert done.json["gate"]["open"] is False
    assert tested.approve("riley", "--dry-run").status == 3
    done = tested.override("approvals", more=("--dry-run",))
    assert (done.status, done.json["attestation"]) == (0, "")
    assert tested.promote("--dry-run").status == 3
    assert tested.attestations() == BEFORE
    assert tested.approve().status == 0
    done = tested.promote("--dry-run")
    assert done.status == 0, done.text
    assert done.json["dryRun"] is True
    tested.product.edit("promotion_key", "# promotion_key")  # it signs nothing
    assert tested.promote("--dry-run").json["gate"] == done.json["gate"]
    assert tested.attestations() == APPROVED
    assert tested.product.tags() == {}


def test_a_plan_that_cannot_be_carried_out_is_not_approved(tested: Release):
    """A release tag that names something else: the approver is told at once, and nothing is recorded."""
    tested.somebody_pushes("8.1.0")
    planned = tested.planned()
    assert len(planned["occupied"]) == 1
    for done in (tested.approve(), tested.override("approvals")):
        assert done.status == 4
        assert "a release tag is taken by other content: tag 8.1.0" in done.text
        assert "nothing was recorded" in done.text
    assert tested.attestations() == BEFORE


def test_what_is_told_on_a_terminal(tested: Release):
    """The plan shows the gate and what to do next; the approval what it changed."""
    shown = tested.run("promote", "plan", REF, "--out", str(tested.plan))
    assert "gate: shut" in shown.out
    assert "requested by riley" in shown.out
    assert f"approve it with 'jenkins-release promote approve {tested.plan}'" in shown.out
    words = ("promote", "approve", str(tested.plan), "--approver", "Alex Baker", "--reason", "it goes out")
    done = tested.run(*words, by="alex")
    assert "Alex Baker approved the plan sha256:" in done.out
    assert "added 0003-approval.dsse.json\ngate: open" in done.out


def test_a_run_that_died_is_finished_with_the_approval_it_has(tested: Release):
    """Progress of the approved plan is no drift."""
    from jenkins_release.sandbox.ecr.faults import Fault

    tested.approved()
    path = f"/v2/{tested.product.prefix}/viewer/manifests/"
    tested.product.sandbox.ecr.order(Fault(method="PUT", path=path, status=500, count=None))
    assert tested.promote().status == 5
    tested.product.sandbox.ecr.cancel_faults()
    assert tested.ok("promote", "status", REF)["state"] == "pushing"
    assert tested.ok("promote", "status", REF)["gate"]["open"] is True
    assert tested.promote().status == 0


# --- another plan ---------------------------------------------------------------------------------


def test_a_plan_file_that_was_touched_is_not_approved(tested: Release):
    """Reformatted, changed, of another candidate, no plan, not there: each by its own error."""
    tested.planned()
    good = tested.plan.read_bytes()
    value = json.loads(good)

    def attempt(data: bytes) -> tuple[int, str]:
        tested.plan.write_bytes(data)
        done = tested.approve()
        return done.status, done.json["error"]["message"]

    status, message = attempt(json.dumps(value, indent=2).encode())
    assert (status, "not in the form that 'promote plan --out' writes" in message) == (4, True)
    status, message = attempt(good.replace(b'"riley"', b'"\\ud800"'))
    assert (status, "half a surrogate pair, which is not text, in requester" in message) == (2, True), message
    assert tested.override("approvals").status == 2
    assert attempt(good.replace(b'"riley"', b'"\xff"'))[0] == 2
    assert attempt(good[:-20])[0] == 4
    assert attempt(b"")[0] == 4
    assert attempt(b" " * (17 << 20))[0] == 4
    assert (
        attempt(Plan.from_bytes(good, "x").model_copy(update={"schema_name": "plan/v9"}).to_bytes())[0] == 4
    )
    plan = Plan.from_bytes(good, "plan")
    for changed, told in (
        ({"candidate": f"sha256:{'0' * 64}"}, "candidate: sha256:000"),
        ({"policy": f"sha256:{'0' * 64}"}, "policy: sha256:000"),
        ({"registry": "elsewhere"}, "registry: elsewhere when it was approved"),
        ({"images": plan.images[1:]}, "not in the approved plan"),
        (
            {"images": (plan.images[0].model_copy(update={"repository": "other/x"}), *plan.images[1:])},
            "repository was other/x",
        ),
    ):
        status, message = attempt(plan.model_copy(update=changed).to_bytes())
        assert (status, told in message) == (3, True), message
    assert attempt(plan.model_copy(update={"build": "7"}).to_bytes())[0] == 2
    assert attempt(plan.model_copy(update={"build": "../42"}).to_bytes())[0] == 2
    tested.plan.unlink()
    assert tested.approve().status == 2
    assert tested.attestations() == BEFORE


def test_an_approval_of_another_candidate_does_not_count(tested: Release):
    """Neither for the other one, nor copied over."""
    tested.product.export("43")
    tested.product.sign_off("8.1.0/43")
    tested.ok("promote", "plan", "8.1.0/43", "--out", str(tested.plan))
    assert tested.approve().json["candidate"] == "8.1.0/43"
    tested.refused("approvals")
    other = tested.product.candidate("8.1.0/43") / "attestations" / "0003-approval.dsse.json"
    copied = tested.product.candidate(REF) / "attestations" / "0003-approval.dsse.json"
    copied.write_bytes(other.read_bytes())
    done = tested.promote()
    assert done.status == 4
    assert "about another candidate.json" in done.text
    assert tested.product.tags() == {}


def test_a_policy_that_was_loosened_after_the_approval(tested: Release):
    """The run says that the policy moved; a new plan has to be approved anew."""
    tested.approved()
    tested.policy("approvals = 1", "allow_downgrade = true")
    reasons = tested.refused("approvals")
    assert "is for a plan that has moved: policy: sha256:" in reasons[1]
    done = tested.approve()
    assert done.status == 3
    assert "has moved since it was made: policy: sha256:" in done.json["error"]["message"]
    assert tested.attestations() == APPROVED
    tested.approved()
    assert tested.promote("--dry-run").status == 0


def test_a_key_that_was_trusted_after_the_approval(tested: Release):
    """Whom the gate believes is part of the policy."""
    tested.approved()
    tested.new_key("another", '"qa"')
    assert "policy: sha256:" in tested.refused("approvals")[1]


def test_a_tag_that_somebody_set_after_the_approval(tested: Release):
    """The run names the tag and what it names now; nothing is pushed."""
    tested.approved()
    tested.somebody_pushes("8.1.0")
    done = tested.promote()
    assert done.status == 3
    (line,) = [line for line in done.json["error"]["reasons"] if "has moved" in line]
    assert "image rms: the tag 8.1.0 named nothing, names sha256:" in line
    assert list(tested.product.tags()) == [f"{tested.product.prefix}/rms"]
    assert tested.approve().status == 3


def test_a_moving_tag_that_moved_after_the_approval(tested: Release):
    """The plan says from where a tag moves; from elsewhere is another plan."""
    tested.product.edit("create_repositories = true", 'create_repositories = true\nmoving_tags = ["latest"]')
    tested.somebody_pushes("latest", "viewer")
    tested.approved()
    tested.product.client().batch_delete_image(
        repositoryName=f"{tested.product.prefix}/viewer", imageIds=[{"imageTag": "latest"}]
    )
    tested.somebody_pushes("other", "viewer")
    reasons = [line for line in tested.promote().json["error"]["reasons"] if "has moved" in line]
    assert len(reasons) == 1
    assert "image viewer: the tag latest named sha256:" in reasons[0]
    assert "names nothing now" in reasons[0]


def test_a_share_that_moved_after_the_approval(tested: Release):
    """A candidate.json with one other byte is an alteration, and no plan is looked at."""
    tested.approved()
    manifest = tested.product.candidate(REF) / "candidate.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"Blake"', b'"Drake"'))
    done = tested.promote()
    assert done.status == 4
    assert "about another candidate.json" in done.text
    assert tested.approve().status in {3, 4}
    assert tested.attestations() == APPROVED


def test_what_qa_says_after_the_approval_counts(tested: Release):
    """A fail or a revocation shuts the gate, whoever approved before."""
    tested.approved()
    tested.product.sign_off(verdict="fail")
    tested.refused("fail", "sign-offs")
    tested.product.sign_off()
    assert tested.promote("--dry-run").status == 0
    tested.product.ok("qa", "revoke", REF, "--tester", "Quinn", "--reason", "wrong build")
    assert "Quinn revoked the sign-offs before it: wrong build" in tested.refused("sign-offs")[0]


# --- who may approve ------------------------------------------------------------------------------


def test_who_asked_built_or_tested_is_told_at_once(tested: Release):
    """In any spelling; nothing is recorded, and the reason says which role."""
    tested.planned()
    for approver, role in (
        ("riley", "requester"),
        ("RILEY", "requester"),
        ("\uff32iley", "requester"),
        ("Ri\u200bley", "requester"),
        ("Blake", "builder"),
        (" blake ", "builder"),
        ("quinn", "tester"),
        ("Qu\u00adinn", "tester"),
    ):
        done = tested.approve(approver)
        assert done.status == 3, (approver, done.text)
        (reason,) = done.json["error"]["reasons"]
        assert f"the approver is the {role} too [separation: " in reason
    for nobody in ("", " ", "\u200b", "two\nlines", "\udcff"):
        assert tested.approve(nobody).status == 2
    assert tested.attestations() == BEFORE


@pytest.mark.parametrize("approver", ["Riley", "BLAKE", "Quinn\ufe0f"], ids=ascii)
def test_a_forged_approval_by_the_same_person_does_not_count(tested: Release, approver):
    """Signed with the approval key past the command line: the promotion compares the names itself."""
    tested.planned()
    tested.forge(APPROVAL, "approval", tested.named(), approver=approver, reason="trust me")
    reasons = tested.refused("approvals", "separation")
    assert any("somebody else has to approve" in reason for reason in reasons)


def test_whoever_runs_what_they_approved_is_refused(tested: Release):
    """Requester is who runs it, whatever the plan says."""
    tested.approved()
    done = tested.run("promote", "run", REF, by="Alex Baker")
    assert done.status == 3
    assert "the approver is the requester too" in done.text


def test_only_members_of_the_group_approve(tested: Release):
    """The others are told at once."""
    tested.policy(
        "approvals = 1",
        'approvers = ["group:managers"]',
        'groups = { managers = ["Ren\u00e9 Baker", "Alex Baker"] }',
    )
    tested.planned()
    done = tested.approve("Sam")
    assert done.status == 3
    assert "Sam is not among the approvers" in done.text
    assert tested.attestations() == BEFORE
    assert tested.approve("RENE\u0301  BAKER").status == 0
    assert tested.promote("--dry-run").status == 0


def test_two_approvals_are_two_people_with_two_keys(tested: Release):
    """The same key or the same name again is no second approval."""
    second = tested.new_key("second", '"approval"', "ecdsa-p256")
    tested.policy("approvals = 2")
    tested.planned()
    assert tested.approve().status == 0
    again = ("promote", "approve", str(tested.plan), "--approver", "alex baker", "--reason", "once more")
    done = tested.run(*again, "--json")
    assert done.status == 3
    assert "has approved this plan already with this key (0003-approval.dsse.json)" in done.text
    assert tested.attestations() == APPROVED
    assert tested.approve("Avery").status == 0
    assert tested.approve("ALEX BAKER", "--key", second).status == 0
    # Alex with the second key and Avery with the first are two people with two keys.
    assert tested.promote("--dry-run").status == 0
    tested.policy("approvals = 3")
    tested.planned()
    assert "found 0" in tested.refused("approvals")[0]


@pytest.mark.parametrize("role", ["qa", "build", "promotion", "override"])
def test_a_key_of_another_role_approves_nothing(tested: Release, role):
    """Refused before anything is written; and not counted when it is written past the command line."""
    tested.planned()
    done = tested.approve("Alex Baker", "--key", f"file2:{tested.product.folder / 'keys' / role}.pem")
    assert done.status == 2
    assert "is not trusted for the role 'approval'" in done.json["error"]["message"]
    tested.forge(APPROVAL, role, tested.named(), approver="Alex Baker", reason="trust me")
    assert any("needs a key with the role 'approval'" in reason for reason in tested.refused("approvals"))


# --- the other conditions -------------------------------------------------------------------------


def test_every_unmet_condition_is_told_at_once(tested: Release):
    """One refusal, all reasons; an override names them and everything shows what it waived."""
    now = datetime.now(UTC)
    tested.policy(
        "approvals = 1",
        "sign_offs = 2",
        "soak_hours = 24",
        'required_suites = ["smoke", "security"]',
        f"freezes = [{{ start = {now - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}, "
        f'end = {now + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}, reason = "year end" }}]',
    )
    tested.somebody_pushes("8.1.1")
    done = tested.promote()
    assert done.status == 3
    unmet = {"sign-offs", "soak", "suites", "freeze", "downgrade", "approvals"}
    reasons = done.json["error"]["reasons"]
    assert {line.rpartition(" [")[2].partition(":")[0] for line in reasons} == unmet
    for told in (
        "2 passing QA sign-offs by trusted keys required for this candidate, found 1",
        "has to rest for 24 hours",
        "no passing sign-off covers the test suite 'security'",
        "UTC: year end",
        "version 8.1.0 is older than 8.1.1, which is released in its line",
        "1 approval of this plan required, found 0",
    ):
        assert any(told in line for line in reasons), told
    approved = tested.approved()
    assert {each["condition"] for each in approved["gate"]["unmet"]} == unmet - {"approvals"}
    done = tested.override("freeze", "soak")
    assert done.status == 0, done.text
    assert done.json["gate"]["open"] is False
    assert {each["condition"] for each in done.json["gate"]["overridden"]} == {"freeze", "soak"}
    assert tested.promote().status == 3
    assert tested.override(*unmet - {"freeze", "soak", "approvals"}).status == 0
    ran = tested.run("promote", "run", REF)
    assert ran.status == 0, ran.text
    assert "*** OVERRIDDEN ***" in ran.out
    assert "freeze: releases are frozen from" in ran.out
    assert "overridden by Casey: customer is down" in ran.out
    status = tested.run("promote", "status", REF).out
    assert "*** OVERRIDDEN ***" in status
    assert "downgrade: version 8.1.0 is older than 8.1.1" in status
    assert "by: Casey, reason: customer is down" in tested.run("candidate", "show", REF).out
    promotion = next(name for name in tested.attestations() if "promotion" in name)
    waived = predicate(tested, promotion)["overridden"]
    assert {each["condition"] for each in waived} == unmet - {"approvals"}
    assert all(each["by"] == "Casey" and each["message"] for each in waived)
    assert tested.ok("promote", "run", REF)["gate"]["overridden"]


def test_a_sign_off_grows_old(tested: Release):
    """Some days later the same candidate is refused, and says whose sign-off is too old."""
    tested.policy("approvals = 0", "sign_off_max_age_days = 2")
    assert tested.promote("--dry-run").status == 0
    later = tested.services(now=lambda: datetime.now(UTC) + timedelta(days=3))
    with later, pytest.raises(GateRefused) as caught:
        promote(PromoteRequest(CandidateRef.parse(REF), dry_run=True), later)
    (reason,) = caught.value.reasons
    assert "Quinn's sign-off of" in reason
    assert "is older than 2 days [age: test again and sign off again]" in reason


def test_a_clock_that_runs_backwards_is_told(tested: Release):
    """Neither signs nor releases: the times of the chain would not fit."""
    behind = tested.services(now=lambda: datetime.now(UTC) - timedelta(days=1))
    with behind, pytest.raises(GateRefused) as caught:
        promote(PromoteRequest(CandidateRef.parse(REF), dry_run=True), behind)
    assert any("signed in the future" in reason for reason in caught.value.reasons)


def test_only_the_named_keys_sign_off(tested: Release):
    """The reason names them; a second tester's own key opens the gate."""
    second = tested.new_key("robin", '"qa"')
    tested.policy("approvals = 0", 'sign_off_keys = ["robin"]')
    assert "1 passing QA sign-off by robin required" in tested.refused("sign-offs")[0]
    results = str(tested.product.folder / "junit.xml")
    done = tested.run(
        *("qa", "sign-off", REF, "--verdict", "pass", "--tester", "Sam", "--results", results),
        *("--digest", tested.product.digest()),
    )
    assert done.status == 3
    assert "policy.sign_off_keys names robin, the key is qa" in done.text
    assert tested.attestations() == BEFORE
    words = ("--verdict", "pass", "--tester", "Robin", "--results", results, "--key", second)
    words = (*words, "--digest", tested.product.digest())
    assert tested.ok("qa", "sign-off", REF, *words)["attestation"] == "0003-qa.dsse.json"
    assert tested.promote("--dry-run").status == 0


# --- overrides ------------------------------------------------------------------------------------


def test_an_override_is_named_reasoned_signed_and_bound(tested: Release):
    """Unknown conditions, no name, no reason, a wrong key: refused, and nothing is recorded."""
    tested.planned()
    done = tested.override("everything")
    assert done.status == 2
    assert "'everything' is not a condition that can be overridden" in done.text
    assert "approvals" in done.json["error"]["hint"]
    assert tested.override("altered").status == 2
    for by, reason in (("", "x"), ("Casey", ""), ("Casey", " "), ("\u200b", "x")):
        words = ("--condition", "approvals", "--by", by, "--reason", reason)
        assert tested.run("promote", "override", str(tested.plan), *words).status == 2
    key = f"file2:{tested.product.folder / 'keys' / 'approval'}.pem"
    assert "is not trusted for the role 'override'" in tested.override("approvals", more=("--key", key)).text
    assert tested.attestations() == BEFORE
    done = tested.override("approvals")
    assert done.json["attestation"] == "0003-override.dsse.json"
    assert done.json["gate"]["open"] is True
    tested.policy("approvals = 2")
    tested.refused("approvals")
    assert tested.override("approvals").status == 3
    assert tested.attestations() == [*BEFORE, "0003-override.dsse.json"]


def test_a_forged_override_waives_nothing(tested: Release):
    """By the approval key; and one that names no reason."""
    tested.planned()
    said = tested.named() | {"conditions": ["approvals"]}
    tested.forge(OVERRIDE, "approval", said, by="Casey", reason="trust me")
    tested.forge(OVERRIDE, "override", said, by="Casey", reason="")
    tested.refused("approvals")


def test_an_alteration_is_never_overridden(tested: Release):
    """The override is not even recorded on a chain that was altered; one that was there does not help."""
    tested.planned()
    assert tested.override("approvals", "sign-offs", "build").status == 0
    (tested.product.candidate(REF) / "attestations" / "0001-build.dsse.json").unlink()
    done = tested.promote()
    assert done.status == 4
    assert "was removed" in done.text
    assert tested.override("approvals").status == 4
    assert tested.approve().status == 4
    assert tested.product.tags() == {}


def test_two_people_approve_at_the_same_moment(tested: Release, warm_python: str):
    """What the other one added meanwhile is no alteration, and both are told that they have approved.

    The waits between attempts are those of a company: the tests' own end before the first one has signed.
    """
    tested.product.edit(QUICK_RETRY, "")
    tested.planned()
    environ = tested.product.environ | tested.extra | {"BUILD_USER_ID": "alex"}
    words = ("promote", "approve", str(tested.plan), "--reason", "it goes out", "--json", "--approver")
    running = [
        started([warm_python, "-m", "jenkins_release", *words, name], environ)
        for name in ("Alex Baker", "Robin Carter")
    ]
    done = []
    for process in running:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        done.append(json.loads(out))
    assert [each["gate"]["altered"] for each in done] == [[], []]
    assert sorted(each["attestation"] for each in done) == [
        "0003-approval.dsse.json",
        "0004-approval.dsse.json",
    ]
