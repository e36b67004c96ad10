"""QA's pipeline and the one that builds candidates, as steps, on real Docker and share."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from jenkins_release.images import DockerEngine
from jenkins_release.records.attestation import read_envelope
from tests.groovy.conftest import SkyDrm
from tests.groovy.jenkins import ROOT, Jenkins, keep_log, same_as_golden

QA = (ROOT / "jobs" / "qa.Jenkinsfile").read_text()
TESTED = {"VERSION": "8.1.0", "BUILD": "42"}
CANDIDATE = """\
@Library('jenkins-release@v0.1.0') _

candidatePipeline(
    version: '8.1.0', notify: 'qa@nextlabs.com',
    credentials: [smb: 'release-share', key: 'skydrm-build-key', passphrase: 'skydrm-build-passphrase'],
) {
    env.VERSION = '8.1.0'
    sh 'make images'
}
"""


@pytest.fixture
def exported(skydrm: SkyDrm) -> SkyDrm:
    """QA's job, and a candidate to test."""
    skydrm.product.export()
    return dataclasses.replace(skydrm, job=dataclasses.replace(skydrm.job, build="5"))


def verdict(skydrm: SkyDrm) -> tuple[str, dict[str, object]]:
    """What the candidate's only sign-off says: the result, and what stands beside it."""
    (path,) = (skydrm.product.candidate() / "attestations").glob("*-qa.dsse.json")
    statement = read_envelope(path.read_bytes(), path.name)[1]
    return str(statement.predicate["result"]), dict(statement.extension)


def test_the_verdict_is_signed_in_the_name_of_who_gave_it(
    jenkins: Jenkins, exported: SkyDrm, engine: DockerEngine
):
    """Loaded and tested on an agent, asked outside of any, signed with the report of the tests."""
    answers = {"VERDICT": "pass", "NOTE": "looks good"}
    outcome = jenkins.run(exported.job, QA, params=TESTED, approver="quinn", answers=answers)
    outcome.ok()
    same_as_golden("qa.Jenkinsfile", outcome.stack(exported.job.workspace))
    result, said = verdict(exported)
    assert result == "PASSED"
    assert (said["tester"], said["note"]) == ("quinn", "looks good")
    assert outcome.description == "8.1.0/42"
    assert len(outcome.reports) == 1
    archived = json.loads((exported.job.workspace / "verdict.json").read_text())
    assert archived["candidate"] == "8.1.0/42"


def test_the_first_choice_is_no_pass(jenkins: Jenkins, exported: SkyDrm):
    """Who presses the button without looking rejects the candidate."""
    jenkins.run(exported.job, QA, params=TESTED, approver="quinn").ok()
    assert verdict(exported)[0] == "FAILED"


def test_tests_that_failed_do_not_pass_unless_somebody_says_why(jenkins: Jenkins, exported: SkyDrm):
    """The reason is recorded."""
    makefile = Path(exported.job.checkout["folder"], "Makefile")
    makefile.write_text(makefile.read_text().replace("SMOKE := pass", "SMOKE := fail"))
    answers = {"VERDICT": "pass"}
    failure = jenkins.run(exported.job, QA, params=TESTED, approver="quinn", answers=answers).failed()
    assert "the verdict is pass, but 1 test failed in junit.xml" in failure
    answers["ACCEPT_FAILURES"] = "the test is wrong, QA-17"
    jenkins.run(exported.job, QA, params=TESTED, approver="quinn", answers=answers).ok()
    assert verdict(exported)[1]["acceptedFailures"] == "the test is wrong, QA-17"


def test_nobody_is_asked_about_a_candidate_that_was_altered(jenkins: Jenkins, exported: SkyDrm):
    """It is not even tested."""
    (archive,) = (exported.product.candidate() / "images").iterdir()
    archive.chmod(0o644)
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    outcome = jenkins.run(exported.job, QA, params=TESTED, approver="quinn")
    assert outcome.failed().startswith("integrity: ")
    assert not any(call.strip().startswith("input(") for call in outcome.calls)


def test_an_unanswered_question_signs_nothing(jenkins: Jenkins, exported: SkyDrm):
    """Aborted: the candidate is as untested as before."""
    assert jenkins.run(exported.job, QA, params=TESTED).status == "ABORTED"
    assert not list((exported.product.candidate() / "attestations").glob("*-qa.dsse.json"))


def test_the_whole_run_of_a_build_ends_with_a_mail(jenkins: Jenkins, skydrm: SkyDrm):
    """The mail names the candidate and its digest; the description does too."""
    job = dataclasses.replace(skydrm.job, build="1003")
    outcome = jenkins.run(job, CANDIDATE)
    outcome.ok()
    same_as_golden("candidatePipeline", outcome.stack(job.workspace))
    document = json.loads((job.workspace / "candidate.json").read_text())
    (mail,) = outcome.mails
    assert mail["to"] == "qa@nextlabs.com"
    assert mail["subject"] == "SkyDRM 8.1.0/1003 is ready to be tested"
    assert document["digest"] in mail["body"]
    assert outcome.description == f"SkyDRM 8.1.0/1003, {document['digest']}"
    keep_log("candidatePipeline", outcome)


def test_a_mail_that_cannot_be_sent_fails_nothing(jenkins: Jenkins, skydrm: SkyDrm):
    """The candidate is on the share all the same."""
    job = dataclasses.replace(skydrm.job, build="1004")
    outcome = jenkins.run(job, CANDIDATE, mail="refused")
    outcome.ok()
    assert "QA could not be told: Connection refused" in outcome.console
    assert (skydrm.product.candidate("8.1.0/1004") / "candidate.json").exists()
