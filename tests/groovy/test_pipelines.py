"""The reference pipelines: Jenkinsfile and the promote job, on real Docker, share and registry."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from defusedxml import ElementTree

from jenkins_release.images import DockerEngine
from jenkins_release.records.attestation import read_envelope
from tests.fixtures.release import Product
from tests.fixtures.snapshots import Snapshots
from tests.groovy.conftest import SkyDrm
from tests.groovy.jenkins import GOLDEN, ROOT, VARS, Jenkins, Outcome, keep_log

BUILD = (ROOT / "Jenkinsfile").read_text()
QA = (ROOT / "jobs" / "qa.Jenkinsfile").read_text()
PROMOTE = (ROOT / "jobs" / "promote.Jenkinsfile").read_text()
_, _, _CALL = PROMOTE.partition("\npromotePipeline(")
SPELLED_OUT = (VARS / "promotePipeline.groovy").read_text() + f"\ncall({_CALL}"
"""The promote job with the pipeline's own text, for tests that change it."""
PARAMETERS = {"VERSION": "8.1.0", "BUILD": "42", "REASON": "8.1.0 is what the customers wait for"}


def test_the_build_pipeline_exports_what_it_built(
    jenkins: Jenkins, skydrm: SkyDrm, engine: DockerEngine, snapshots: Snapshots
):
    """The product's own make, one candidate with this build's number and revision, and a mail to QA."""
    with_installers(skydrm)
    job = dataclasses.replace(skydrm.job, build="1001")
    outcome = jenkins.run(job, BUILD, sandboxed=True)
    outcome.ok()
    snapshots.same("Jenkinsfile.txt", outcome.stack(job.workspace), GOLDEN)
    record = json.loads((skydrm.product.candidate("8.1.0/1001") / "candidate.json").read_text())
    assert record["revision"] == job.checkout["commit"]
    assert {image["reference"]: image["config_digest"] for image in record["images"]} == {
        f"skydrm/{name}:8.1.0-1001": engine.config_digest(f"skydrm/{name}:8.1.0-1001")
        for name in ("rms", "viewer", "router", "dbmigrate")
    }
    archived = json.loads((job.workspace / "candidate.json").read_text())
    assert archived["candidate"] == "8.1.0/1001"
    assert [each["name"] for each in archived["installers"]] == ["SkyDRM-8.1.0.exe", "SkyDRM-8.1.0.msi"]
    (mail,) = outcome.mails
    assert mail["subject"] == "SkyDRM 8.1.0/1001 is ready to be tested"
    assert archived["location"] in mail["body"]


def test_a_build_stays_good_where_its_mail_cannot_be_sent(jenkins: Jenkins, skydrm: SkyDrm):
    """The candidate is on the share."""
    job = dataclasses.replace(skydrm.job, build="1005")
    outcome = jenkins.run(job, BUILD, mail="refused", sandboxed=True)
    outcome.ok()
    (told,) = [line for line in outcome.console.splitlines() if "connect" in line.lower()]
    assert told == "QA could not be told: Couldn't connect to host, port: localhost, 25; timeout 60000;"
    assert (skydrm.product.candidate("8.1.0/1005") / "candidate.json").exists()


def test_the_whole_run_from_the_build_to_the_customers(jenkins: Jenkins, skydrm: SkyDrm):
    """All three jobs as they stand: built and wanted by alice, tested by quinn, approved by bob."""
    with_installers(skydrm)
    build = jenkins.run(dataclasses.replace(skydrm.job, build="1002"), BUILD)
    build.ok()
    candidate = {"VERSION": "8.1.0", "BUILD": "1002"}
    answers = {"VERDICT": "pass", "NOTE": "every smoke test by hand too"}
    job = dataclasses.replace(skydrm.job, build="5")
    tested = jenkins.run(job, QA, params=candidate, user="quinn", approver="quinn", answers=answers)
    tested.ok()
    job = dataclasses.replace(skydrm.job, build="8")
    promoted = jenkins.run(job, PROMOTE, params=PARAMETERS | candidate, approver="bob")
    promoted.ok()
    assert [set(tags) for tags in skydrm.product.tags().values()] == [{"8.1.0"}] * 4
    assert evidence(skydrm, "8.1.0/1002") == ["build", "qa", "approval", "promotion"]
    keep_log("Jenkinsfile", build)
    keep_log("qaPipeline", tested)
    keep_log("promotePipeline", promoted)


def test_the_promote_job_plans_asks_and_promotes(jenkins: Jenkins, promoting: SkyDrm, snapshots: Snapshots):
    """The question comes after the plan and outside any node; the lock is held while it promotes."""
    job = promoting.job
    outcome = jenkins.run(job, PROMOTE, params=PARAMETERS, approver="bob")
    outcome.ok()
    snapshots.same("promote.Jenkinsfile.txt", outcome.stack(job.workspace), GOLDEN)
    assert [set(tags) for tags in promoting.product.tags().values()] == [{"8.1.0"}] * 4
    plan = (job.workspace / "plan.json").read_bytes()
    approval = json.loads((job.workspace / "approval.json").read_text())
    promotion = json.loads((job.workspace / "promotion.json").read_text())
    assert approval["planDigest"] == f"sha256:{hashlib.sha256(plan).hexdigest()}"
    assert json.loads(plan)["candidate"] == promotion["digest"]
    assert promotion["changed"] is True
    assert "promoted by alice" in (job.workspace / "history.txt").read_text()
    planned, report = outcome.reports
    assert {case.get("name") for case in ElementTree.fromstring(report)} > {"sign-offs", "approvals"}
    assert not failed(report)
    # What the answer settles is no failure of the plan.
    assert not failed(planned)
    skipped = [case.get("name") for case in ElementTree.fromstring(planned) if len(case)]
    assert skipped == ["approvals"]
    assert outcome.name == "#7 8.1.0/42 promoted"
    assert outcome.description.splitlines() == [
        "8.1.0/42 promoted",
        "- approved by bob",
        f"- SkyDRM 8.1.0/42 to {promotion['registry']}, plan {approval['planDigest']}",
    ]
    assert outcome.kept


def test_the_approval_names_who_answered(jenkins: Jenkins, promoting: SkyDrm):
    """Approver from the question, requester from Jenkins, even where the job has such parameters."""
    lies = {"APPROVER": "carol", "BUILD_USER_ID": "carol"}
    declared = "".join(f"string(name: '{name}')\n" for name in lies)
    lying = SPELLED_OUT.replace("booleanParam(", f"{declared}booleanParam(")
    jenkins.run(promoting.job, lying, params=PARAMETERS | lies, approver="bob").ok()
    said = approval(promoting)
    assert (said["approver"], said["requester"]) == ("bob", "alice")
    assert said["reason"] == PARAMETERS["REASON"]


@pytest.mark.parametrize("answer", ["alice", "Alice", "\uff21lice"], ids=["same", "upper case", "full width"])
def test_nobody_approves_what_they_asked_for(jenkins: Jenkins, promoting: SkyDrm, answer: str):
    """An administrator may start the job and answer its question: the gate does not count it."""
    outcome = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS, approver=answer, user="alice")
    head, *reasons = outcome.failed().splitlines()
    assert (
        head == f"refused: the approval by {answer} would not count: "
        f"the approval by {answer}: the approver is the requester too"
    )
    assert reasons[-1] == "hint: somebody else has to approve"
    assert "input" in calls(outcome)
    assert "stage(name: 'Promote')" not in outcome.calls
    assert evidence(promoting) == ["build", "qa"]
    assert promoting.product.tags() == {}


@pytest.mark.parametrize("answer", ["root", "quinn"])
def test_neither_builder_nor_tester_approves(jenkins: Jenkins, skydrm: SkyDrm, answer: str):
    """They have had their say."""
    skydrm.product.environ["BUILD_USER_ID"] = "root"
    skydrm.product.export()
    skydrm.product.sign_off(tester="Quinn")
    failure = jenkins.run(skydrm.job, PROMOTE, params=PARAMETERS, approver=answer).failed()
    role = {"root": "builder", "quinn": "tester"}[answer]
    assert failure.startswith(f"refused: the approval by {answer} would not count: ")
    assert f"the approver is the {role} too" in failure
    assert evidence(skydrm) == ["build", "qa"]


def test_only_approvers_of_the_policy_count(jenkins: Jenkins, promoting: SkyDrm):
    """``submitter`` keeps no administrator out, release.toml does."""
    policy = '[policy]\napprovers = ["group:managers"]\ngroups = { managers = ["bob"] }\n'
    sources = Path(promoting.job.checkout["folder"], "release.toml")
    sources.write_text(sources.read_text().replace("[policy]\n", policy))
    failure = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS, approver="mallory").failed()
    assert failure.startswith("refused: the approval by mallory would not count: ")
    assert "mallory is not among the approvers" in failure
    assert evidence(promoting) == ["build", "qa"]
    jenkins.run(promoting.job, PROMOTE, params=PARAMETERS, approver="bob").ok()


def test_a_job_without_the_question_is_refused(jenkins: Jenkins, promoting: SkyDrm):
    """Who leaves the stage out, or starts the job again after it, still meets the gate."""
    begin = SPELLED_OUT.index("            stage('Approve')")
    end = SPELLED_OUT.index("            stage('Promote')")
    outcome = jenkins.run(promoting.job, SPELLED_OUT[:begin] + SPELLED_OUT[end:], params=PARAMETERS)
    head = "refused: candidate 8.1.0/42 may not be promoted: 1 condition not met"
    assert outcome.failed().splitlines()[0] == head
    assert "1 approval of this plan required, found 0" in outcome.failure
    assert promoting.product.tags() == {}
    assert [failed(report) for report in outcome.reports] == [[], ["approvals"]]
    assert outcome.name == "#7 8.1.0/42 refused: 1 approval of this plan required, found 0"
    assert not outcome.kept


def test_the_ticket_is_recorded_with_the_reason(jenkins: Jenkins, promoting: SkyDrm):
    """Who reads the history finds it."""
    jenkins.run(promoting.job, PROMOTE, params=PARAMETERS | {"TICKET": "REL-810"}, approver="bob").ok()
    assert approval(promoting)["reason"] == f"{PARAMETERS['REASON']} [REL-810]"


def test_the_job_of_another_product_promotes_nothing(jenkins: Jenkins, promoting: SkyDrm):
    """Whoever is wrong about the product is told before anyone is asked."""
    outcome = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS | {"PRODUCT": "Other"}, approver="bob")
    assert "  - PRODUCT is Other, but this job promotes SkyDRM" in outcome.failed()
    assert "planPromotion" not in calls(outcome)


def test_the_promote_job_stops_without_approval(jenkins: Jenkins, promoting: SkyDrm):
    """Aborted, and nothing is in the registry."""
    outcome = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS)
    assert outcome.status == "ABORTED"
    assert outcome.leaks == []
    assert "stage(name: 'Promote')" not in outcome.calls
    assert evidence(promoting) == ["build", "qa"]
    assert promoting.product.tags() == {}


def test_a_dry_run_asks_nobody(jenkins: Jenkins, promoting: SkyDrm):
    """Only the plan is made; it needs neither a reason nor a person."""
    parameters = {"VERSION": "8.1.0", "BUILD": "42", "DRY_RUN": True}
    outcome = jenkins.run(promoting.job, PROMOTE, params=parameters, user="")
    outcome.ok()
    assert not {"input", "lock", "approvePromotion", "promoteCandidate"} & calls(outcome)
    assert {"plan.json", "plan.html", "plan.css"} <= set(outcome.artifacts)
    assert outcome.name == "#7 8.1.0/42 plan only"
    assert promoting.product.tags() == {}


@pytest.mark.parametrize("dry_run", [False, True])
def test_nobody_is_asked_before_qa_signed(jenkins: Jenkins, skydrm: SkyDrm, exported: Product, dry_run: bool):
    """The reasons stand in the failure of the first stage, and the plan is kept for an override."""
    parameters = PARAMETERS | {"DRY_RUN": dry_run}
    outcome = jenkins.run(skydrm.job, PROMOTE, params=parameters, approver="bob")
    head, *reasons = outcome.failed().splitlines()
    assert head == "refused: approval cannot be requested yet: 1 QA sign-off missing"
    assert len(reasons) == 1
    assert "sign-off" in reasons[0]
    assert outcome.name == "#42 8.1.0/42 refused: 1 QA sign-off missing"
    told = outcome.description.splitlines()
    assert told[:2] == ["8.1.0/42 refused: 1 QA sign-off missing", f"- {reasons[0].removeprefix('  - ')}"]
    (report,) = outcome.reports
    assert "sign-offs" in failed(report)
    assert "input" not in calls(outcome)
    assert "archiveArtifacts" in calls(outcome)
    assert skydrm.product.tags() == {}


def test_nobody_is_asked_for_a_candidate_that_was_altered(jenkins: Jenkins, promoting: SkyDrm):
    """That shuts the gate in its own way."""
    (attestation,) = (promoting.product.candidate() / "attestations").glob("*-qa.dsse.json")
    attestation.rename(attestation.with_name("0009-qa.dsse.json"))
    outcome = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS, approver="bob")
    head, *reasons = outcome.failed().splitlines()
    assert head == "refused: approval cannot be requested yet: something was altered"
    assert reasons[0].startswith("  - 0009-qa.dsse.json was signed as 0002-qa.dsse.json")
    assert "input" not in calls(outcome)


@pytest.mark.parametrize(
    ("more", "user", "brief", "told"),
    [
        ({"REASON": " "}, "alice", "REASON is missing", "REASON has to say why"),
        (
            {},
            "",
            "no person started it",
            "a person has to start this job: the approver must be someone else",
        ),
    ],
    ids=["no reason", "started by a timer"],
)
def test_what_an_approval_needs_is_there_before_anyone_is_asked(
    jenkins: Jenkins, promoting: SkyDrm, more: dict[str, str], user: str, brief: str, told: str
):
    """Not found out after three days of waiting for an answer."""
    outcome = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS | more, user=user, approver="bob")
    assert outcome.failed() == f"refused: approval cannot be requested yet: {brief}\n  - {told}"
    assert outcome.name == f"#7 8.1.0/42 refused: {brief}"
    assert "input" not in calls(outcome)


@pytest.mark.parametrize("value", ["two\nlines", "REL-1\t", "one\u2028two", "one\u0085two"])
def test_every_field_of_the_form_is_one_line(jenkins: Jenkins, skydrm: SkyDrm, value: str):
    """Also one that is recorded only after the answer; nothing is run."""
    outcome = jenkins.run(skydrm.job, PROMOTE, params=PARAMETERS | {"TICKET": value}, approver="bob")
    assert outcome.failed() == (
        "configuration: this job cannot run with what its form says\n"
        "  - TICKET has to be one line, without control characters\n"
        "hint: start it again with a form that is right"
    )
    assert skydrm.arguments == []


def test_a_promotion_that_died_goes_on(jenkins: Jenkins, promoting: SkyDrm):
    """The same job once more, with another person's answer: approvals of the past do no harm."""
    broken = PROMOTE.replace("promotionKey: 'skydrm-promotion-key'", "promotionKey: 'skydrm-build-key'")
    failure = jenkins.run(promoting.job, broken, params=PARAMETERS, approver="bob").failed()
    assert failure.startswith("configuration: the key ")
    jenkins.run(promoting.job, PROMOTE, params=PARAMETERS, user="bob", approver="carol").ok()
    assert evidence(promoting) == ["build", "qa", "approval", "approval", "promotion"]
    assert [set(tags) for tags in promoting.product.tags().values()] == [{"8.1.0"}] * 4


def test_an_unset_parameter_is_told_by_name(jenkins: Jenkins, skydrm: SkyDrm):
    """The first run of a new job has no parameters."""
    failure = jenkins.run(skydrm.job, PROMOTE).failed()
    head = "configuration: this job cannot run with what its form says"
    assert failure.startswith(f"{head}\n  - VERSION is missing\n  - BUILD is missing\n")


def test_nobody_is_asked_for_a_plan_that_something_is_in_the_way_of(jenkins: Jenkins, promoting: SkyDrm):
    """An approval of it would be refused: that is told before, and the plan says it too."""
    sources = Path(promoting.job.checkout["folder"], "release.toml")
    sources.write_text(
        sources.read_text().replace("create_repositories = true", "create_repositories = false")
    )
    outcome = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS, approver="bob")
    head, *reasons = outcome.failed().splitlines()
    assert head == "refused: approval cannot be requested yet: the plan cannot be carried out"
    assert "create_repositories" in reasons[0]
    assert "input" not in calls(outcome)


def with_installers(skydrm: SkyDrm) -> None:
    """Have the product's release.toml name what ``make installers`` makes."""
    file = Path(skydrm.job.checkout["folder"], "release.toml")
    file.write_text(file.read_text() + '\n[[installers]]\nfiles = "out/SkyDRM-{version}.*"\n')


def calls(outcome: Outcome) -> set[str]:
    """Names of the steps that a build called."""
    return {call.strip().split("(")[0] for call in outcome.calls}


def asked(outcome: Outcome) -> str:
    """What was asked, with its lines; empty if nobody was."""
    found = [re.match(r"\s*input\(message: '(.*)', ok: ", call) for call in outcome.calls]
    return "".join(each[1].replace("\\n", "\n") for each in found if each)


def failed(report: str) -> list[str]:
    """Names of the conditions that a report of checks shows as not met."""
    cases = ElementTree.fromstring(report)
    return [case.get("name") for case in cases if case.find("failure") is not None]


def evidence(skydrm: SkyDrm, ident: str = "8.1.0/42") -> list[str]:
    """The kinds of a candidate's attestations, oldest first."""
    names = sorted(path.name for path in (skydrm.product.candidate(ident) / "attestations").iterdir())
    return [name.split("-", 1)[1].removesuffix(".dsse.json") for name in names]


def approval(skydrm: SkyDrm) -> Mapping[str, str]:
    """What the candidate's only approval says beside the plan."""
    (path,) = (skydrm.product.candidate() / "attestations").glob("*-approval.dsse.json")
    return read_envelope(path.read_bytes(), path.name)[1].extension
