"""Builds that were aborted, killed, restarted from a stage, or caught by a restart of the controller.

Each leaves a state from which the next build completes, and releases nothing on its way.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from defusedxml import ElementTree

from tests.fixtures.release import BY_DAEMON, WAYS
from tests.groovy.agent import install_stalling_program
from tests.groovy.conftest import SkyDrm
from tests.groovy.jenkins import ROOT, Jenkins, Job
from tests.groovy.test_pipelines import PARAMETERS, PROMOTE, approval, asked, calls, evidence
from tests.groovy.test_qa_pipeline import CANDIDATE, QA, TESTED, exported, verdict

__all__ = ["exported"]
RELEASED = [{"8.1.0"}] * 4


@pytest.fixture
def way() -> dict[str, str]:
    """Docker pushes: its lines tell where a promotion is."""
    return WAYS[BY_DAEMON]


def another(job: Job) -> Job:
    """The same job, one build later."""
    return dataclasses.replace(job, build=str(int(job.build) + 1))


def stalling(job: Job, tmp_path: Path, text: str) -> Job:
    """The job on an agent whose program goes no further than a line of its log."""
    folder = tmp_path / "stalling"
    install_stalling_program(folder, text)
    return dataclasses.replace(job, environment={**job.environment, "PATH": f"{folder}:/usr/bin:/bin"})


def tags(skydrm: SkyDrm) -> list[set[str]]:
    """The release tags of each repository."""
    return [
        {tag for tag in each if not tag.startswith("candidate-")} for each in skydrm.product.tags().values()
    ]


def test_the_controller_restarts_while_somebody_is_asked(jenkins: Jenkins, promoting: SkyDrm):
    """What the build knows was stored, the plan too: the answer after the restart counts."""
    outcome = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS, approver="bob", restarted=True)
    outcome.ok()
    assert "after Jenkins restart" in outcome.console
    assert outcome.name == "#7 8.1.0/42 promoted"
    assert "QA: pass by Quinn" in asked(outcome)
    # Stored and read back on the way, at every place: the build went on with the copies.
    assert {"promotePipeline.call: given", "promotePipeline.call: days"} <= set(outcome.survivors)
    assert "jenkinsReleaseCli.call: request" in outcome.survivors
    assert tags(promoting) == RELEASED
    assert approval(promoting)["approver"] == "bob"


def test_the_controller_restarts_while_a_tester_is_asked(jenkins: Jenkins, exported: SkyDrm):
    """The report of the tests was stashed."""
    answers = {"VERDICT": "pass"}
    outcome = jenkins.run(exported.job, QA, params=TESTED, approver="quinn", answers=answers, restarted=True)
    outcome.ok()
    assert "after Jenkins restart" in outcome.console
    assert verdict(exported)[0] == "PASSED"


def test_aborted_while_somebody_is_asked(jenkins: Jenkins, promoting: SkyDrm):
    """Nothing was recorded; the next build completes, and so does this one from the question on."""
    aborted = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS)
    assert aborted.status == "ABORTED"
    assert evidence(promoting) == ["build", "qa"]
    job = another(promoting.job)
    again = jenkins.restart(job, PROMOTE, "Approve", aborted, params=PARAMETERS, approver="bob")
    again.ok()
    # What is asked is what holds now: the plan is made anew, and described.
    assert "planPromotion" in calls(again)
    plan = r"- SkyDRM 8\.1\.0/42 to \S+, plan sha256:[0-9a-f]{64}"
    assert re.fullmatch(rf"8\.1\.0/42 promoted\n- approved by bob\n{plan}", again.description)
    assert again.name == "#8 8.1.0/42 promoted"
    assert f"{job.build}/artifact/plan.html" in asked(again)
    assert tags(promoting) == RELEASED
    assert evidence(promoting) == ["build", "qa", "approval", "promotion"]


def test_who_restarted_the_build_does_not_approve_it(jenkins: Jenkins, promoting: SkyDrm):
    """The gate takes them for the requester: nothing is recorded, and no stage follows."""
    aborted = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS)
    job = another(promoting.job)
    again = jenkins.restart(job, PROMOTE, "Approve", aborted, params=PARAMETERS, user="bob", approver="bob")
    assert again.failed().startswith(
        "refused: the approval by bob would not count: the approval by bob: the approver is the requester too"
    )
    assert "promoteCandidate" not in calls(again)
    assert evidence(promoting) == ["build", "qa"]
    job = another(job)
    jenkins.restart(job, PROMOTE, "Approve", aborted, params=PARAMETERS, user="carol", approver="bob").ok()
    assert tags(promoting) == RELEASED


def test_an_older_build_is_asked_about_only_as_things_are_now(jenkins: Jenkins, promoting: SkyDrm):
    """Its plan is gone, and QA has taken the verdict back: nobody is asked for what cannot be done."""
    aborted = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS)
    promoting.product.ok("qa", "revoke", "8.1.0/42", "--tester", "Quinn", "--reason", "wrong build")
    job = another(promoting.job)
    again = jenkins.restart(job, PROMOTE, "Approve", aborted, params=PARAMETERS, approver="bob")
    assert "1 passing QA sign-off" in again.failed()
    assert "input" not in calls(again)


def test_nobody_is_asked_for_what_was_promoted_before(jenkins: Jenkins, promoting: SkyDrm):
    """Started once more, the job says that nothing is to do; so does a plan."""
    jenkins.run(promoting.job, PROMOTE, params=PARAMETERS, approver="bob").ok()
    before = evidence(promoting)
    again = jenkins.run(another(promoting.job), PROMOTE, params=PARAMETERS)
    again.ok()
    assert "input" not in calls(again)
    assert (again.name, again.kept) == ("#8 8.1.0/42 was promoted before, nothing to do", True)
    assert again.description.endswith("\n- promoted before: nobody is asked")
    assert evidence(promoting) == before
    assert promoting.product.ok("promote", "plan", "8.1.0/42")["promoted"] is True
    another_product = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS | {"PRODUCT": "Other"})
    assert "PRODUCT is Other, but this job promotes SkyDRM" in another_product.failed()


def test_a_restart_behind_the_promotion_is_a_success(jenkins: Jenkins, promoting: SkyDrm):
    """There is nothing to do: the gate's conditions are skipped, and the build says why."""
    first = jenkins.run(promoting.job, PROMOTE, params=PARAMETERS, approver="bob")
    again = jenkins.restart(another(promoting.job), PROMOTE, "Promote", first, params=PARAMETERS, user="bob")
    again.ok()
    told = "8.1.0/42 was promoted before, nothing to do\n- SkyDRM 8.1.0/42, without a new plan"
    assert again.description == told
    (report,) = again.reports
    (skipped,) = [case for case in ElementTree.fromstring(report) if case.get("name") == "approvals"]
    assert skipped.find("skipped").get("message").startswith("nothing to do: 8.1.0/42 is promoted to ")


@pytest.mark.parametrize(
    ("signal", "status", "told"),
    [
        ("TERM", "ABORTED", "Aborted by Alice of SkyDRM"),
        ("KILL", "FAILURE", "bug: jenkins-release promote run ended with status 137 and left no result"),
    ],
    ids=["aborted", "killed"],
)
def test_ended_while_it_promotes(
    jenkins: Jenkins, promoting: SkyDrm, tmp_path: Path, signal: str, status: str, told: str
):
    """After the second of four images: no tag is set. Restarted from its last stage it is finished.

    Nobody approves again: the approval holds for what is left of the plan. The approver cannot restart it.
    """
    line = "/viewer:candidate-8.1.0-42"
    stopped = stalling(promoting.job, tmp_path, line)
    abort = {"after": line, "signal": signal}
    outcome = jenkins.run(stopped, PROMOTE, params=PARAMETERS, approver="bob", abort=abort)
    assert (outcome.status, outcome.failure.splitlines()[0]) == (status, told), outcome.story()
    said = {"TERM": "aborted", "KILL": told}[signal]
    assert outcome.name == f"#7 8.1.0/42 {said}"
    assert "\n- approved by bob\n" in outcome.description
    assert outcome.leaks == []
    assert tags(promoting) == [set()] * 4
    assert evidence(promoting) == ["build", "qa", "approval"]
    assert not [path for path in Path(f"{stopped.workspace}@tmp").rglob("*") if path.is_file()]

    job = another(promoting.job)
    refused = jenkins.restart(job, PROMOTE, "Promote", outcome, params=PARAMETERS, user="bob").failed()
    assert refused.startswith("refused: ")
    finished = jenkins.restart(another(job), PROMOTE, "Promote", outcome, params=PARAMETERS)
    finished.ok()
    assert (finished.name, finished.kept) == ("#9 8.1.0/42 promoted", True)
    assert not {"input", "planPromotion", "approvePromotion"} & calls(finished)
    assert tags(promoting) == RELEASED
    assert evidence(promoting) == ["build", "qa", "approval", "promotion"]


def test_the_checks_of_the_build_before_are_not_shown(jenkins: Jenkins, promoting: SkyDrm, tmp_path: Path):
    """Aborted before its checks were written: the workspace had the report of another build."""
    stale = promoting.job.workspace / "checks.xml"
    line = "/viewer:candidate-8.1.0-42"
    stopped = stalling(promoting.job, tmp_path, line)
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.write_text('<testsuite name="gate"><testcase name="all of 8.0.0"/></testsuite>')
    jenkins.run(stopped, PROMOTE, params=PARAMETERS, approver="bob", abort={"after": line})
    assert not stale.exists()


def test_a_new_build_finishes_what_was_aborted(jenkins: Jenkins, promoting: SkyDrm, tmp_path: Path):
    """Started anew instead of restarted: somebody approves what is left."""
    line = "/rms:candidate-8.1.0-42"
    stopped = stalling(promoting.job, tmp_path, line)
    outcome = jenkins.run(stopped, PROMOTE, params=PARAMETERS, approver="bob", abort={"after": line})
    assert outcome.status == "ABORTED", outcome.story()
    jenkins.run(another(promoting.job), PROMOTE, params=PARAMETERS, user="bob", approver="carol").ok()
    assert tags(promoting) == RELEASED


def test_aborted_while_it_exports(jenkins: Jenkins, skydrm: SkyDrm, tmp_path: Path):
    """Nobody sees half a candidate; the next build is exported under its own number."""
    job = dataclasses.replace(skydrm.job, build="1101")
    line = "images/skydrm-8.1.0-1101.tar"
    outcome = jenkins.run(stalling(job, tmp_path, line), CANDIDATE, abort={"after": line})
    assert outcome.status == "ABORTED", outcome.story()
    assert "exportCandidate" in calls(outcome)
    assert not skydrm.product.candidate("8.1.0/1101").exists()
    assert outcome.mails == []
    # Restarted, the build has a new number, and no images of that number: it says so, and exports nothing.
    again = jenkins.restart(another(job), CANDIDATE, "Export candidate", outcome)
    assert again.failed().startswith("configuration: ")
    assert "8.1.0-1102" in again.failure
    jenkins.run(another(another(job)), CANDIDATE).ok()
    assert (skydrm.product.candidate("8.1.0/1103") / "candidate.json").exists()


@pytest.mark.parametrize("kept", [True, False])
def test_a_verdict_is_asked_for_again(jenkins: Jenkins, exported: SkyDrm, kept: bool):
    """With the report of the tests as long as Jenkins has it; without it nothing is signed."""
    aborted = jenkins.run(exported.job, QA, params=TESTED)
    assert aborted.status == "ABORTED"
    (exported.job.workspace / "junit.xml").unlink()
    of = aborted if kept else dataclasses.replace(aborted, stashes={})
    more: dict[str, Any] = {"params": TESTED, "approver": "quinn", "answers": {"VERDICT": "pass"}}
    again = jenkins.restart(another(exported.job), QA, "Sign off", of, **more)
    if kept:
        again.ok()
        assert again.name == "#6 8.1.0/42 signed: pass"
        facts = [
            "by quinn",
            f"candidate.json {exported.product.digest()}",
            "Tests: 1 passed, 0 failed, 0 skipped.",
        ]
        assert again.description.splitlines()[1:] == [f"- {fact}" for fact in facts]
    else:
        assert again.failed().startswith("configuration: the reports of the tests are gone")
        assert "start this job again" in again.failure
        assert "input" not in calls(again)
        jenkins.run(another(another(exported.job)), QA, **more).ok()
    assert verdict(exported)[0] == "PASSED"


def test_stashes_are_kept_only_by_pipelines_that_say_so(jenkins: Jenkins, empty_job: Job):
    """And a stage that does not exist cannot be restarted from: the harness tells both."""
    script = """pipeline { agent none
        stages { stage('A') { steps { node('x') { writeFile(file: 'f', text: 'x')
                                                  stash(name: 'f', includes: 'f') } } }
                 stage('B') { steps { node('x') { unstash 'f' } } } } }"""
    first = jenkins.run(empty_job, script)
    first.ok()
    assert first.stashes == {}
    assert jenkins.restart(empty_job, script, "B", first).failed() == "No such saved stash \u2018f\u2019"
    keeping = script.replace("stages {", "options { preserveStashes() }\nstages {", 1)
    jenkins.restart(empty_job, keeping, "B", jenkins.run(empty_job, keeping)).ok()
    assert "no stage C" in jenkins.restart(empty_job, script, "C", first).failure


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("def found = 'a' =~ /a/", "java.util.regex.Matcher in WorkflowScript: found"),
        ("def found = new Object()", "java.lang.Object in WorkflowScript: found"),
        ("Map found = [a: [1, 2].iterator()]", "Itr in WorkflowScript: found"),
        (
            "def found = new groovy.json.JsonSlurper().parseText('{\"a\": 1}').entrySet()",
            "WorkflowScript: found",
        ),
    ],
)
def test_a_variable_that_no_restart_survives_is_found(jenkins: Jenkins, empty_job: Job, line: str, told: str):
    """The build fails at the next statement, and names it."""
    outcome = jenkins.run(empty_job, f"{line}\necho 'next'\n")
    assert outcome.status == "FAILURE"
    assert outcome.failure.endswith(told)
    assert "next" not in outcome.console


def test_a_build_goes_on_with_the_stored_copy(jenkins: Jenkins, empty_job: Job):
    """Two names for one list are two lists afterwards, as after a restart."""
    script = "List a = [1]\nList b = a\na << 2\necho 'x'\nreturn [a, b]"
    outcome = jenkins.run(empty_job, script)
    assert outcome.ok() == [[1, 2], [1]]
    assert outcome.survivors == ["WorkflowScript: a", "WorkflowScript: b"]


def test_every_pipeline_of_the_library_has_its_stashes_after_a_restart():
    """It keeps those of more than the last build, or makes what it stashed again."""
    for path in (ROOT / "vars").glob("*Pipeline.groovy"):
        text = path.read_text()
        kept = "preserveStashes(buildCount: 50)" in text or "if (!env.DECIDED)" in text
        assert ("unstash" in text or "jenkinsReleaseApproval.ask" in text) <= kept, path.name
