"""QA's pipeline and the one that builds candidates, as steps, on real Docker and share."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from jenkins_release.images import DockerEngine
from jenkins_release.records.attestation import Statement, read_envelope
from tests.fixtures.damage import flip
from tests.fixtures.release import Product
from tests.fixtures.snapshots import Snapshots
from tests.groovy.conftest import SkyDrm
from tests.groovy.jenkins import GOLDEN, ROOT, Jenkins, keep_log

QA = (ROOT / "jobs" / "qa.Jenkinsfile").read_text()
TESTED = {"VERSION": "8.1.0", "BUILD": "42"}
CANDIDATE = """\
@Library('jenkins-release@0123456789abcdef0123456789abcdef01234567') _

candidatePipeline(
    version: '8.1.0', notify: 'qa@nextlabs.com',
    credentials: [smb: 'release-share', key: 'skydrm-build-key', passphrase: 'skydrm-build-passphrase'],
) {
    env.VERSION = '8.1.0'
    sh 'make images'
}
"""


@pytest.fixture
def exported(skydrm: SkyDrm, exported: Product) -> SkyDrm:
    """QA's job, and a candidate to test."""
    return skydrm.as_build("5")


def attestation(skydrm: SkyDrm) -> Statement:
    """The candidate's only sign-off."""
    (path,) = (skydrm.product.candidate() / "attestations").glob("*-qa.dsse.json")
    return read_envelope(path.read_bytes(), path.name)[1]


def verdict(skydrm: SkyDrm) -> tuple[str, dict[str, object]]:
    """What the candidate's only sign-off says: the result, and what stands beside it."""
    statement = attestation(skydrm)
    return str(statement.predicate["result"]), dict(statement.extension)


def test_the_verdict_is_signed_in_the_name_of_who_gave_it(
    jenkins: Jenkins, exported: SkyDrm, engine: DockerEngine, snapshots: Snapshots
):
    """Loaded and tested on an agent, asked outside of any, signed with the report of the tests."""
    answers = {"VERDICT": "pass", "NOTE": "looks good"}
    outcome = jenkins.run(exported.job, QA, params=TESTED, approver="quinn", answers=answers)
    outcome.ok()
    snapshots.same("qa.Jenkinsfile.txt", outcome.stack(exported.job.workspace), GOLDEN)
    result, said = verdict(exported)
    assert result == "PASSED"
    assert (said["tester"], said["note"]) == ("quinn", "looks good")
    digest = exported.product.digest()
    assert said["tested"] == {"by": "digest", "digest": digest}
    assert outcome.name == "#5 8.1.0/42 signed: pass"
    assert outcome.description.splitlines() == [
        "8.1.0/42 signed: pass",
        "- by quinn: looks good",
        "- Tests: 1 passed, 0 failed, 0 skipped.",
        f"- candidate.json {digest}",
    ]
    assert len(outcome.reports) == 1
    archived = json.loads((exported.job.workspace / "verdict.json").read_text())
    assert archived["candidate"] == "8.1.0/42"


def test_the_first_choice_is_no_pass(jenkins: Jenkins, exported: SkyDrm):
    """Who presses the button without looking rejects the candidate, and the build is not green."""
    outcome = jenkins.run(exported.job, QA, params=TESTED, approver="quinn")
    outcome.unstable()
    assert outcome.name == "#5 8.1.0/42 signed: fail"
    assert "verdict.json" in outcome.artifacts
    assert verdict(exported)[0] == "FAILED"


def test_tests_that_failed_do_not_pass_unless_somebody_says_why(jenkins: Jenkins, exported: SkyDrm):
    """The reason is recorded."""
    makefile = Path(exported.job.checkout["folder"], "Makefile")
    makefile.write_text(makefile.read_text().replace("SMOKE := pass", "SMOKE := fail"))
    answers = {"VERDICT": "pass"}
    failure = jenkins.run(exported.job, QA, params=TESTED, approver="quinn", answers=answers).failed()
    assert failure.splitlines() == [
        "configuration: tests failed, so a pass needs ACCEPT_FAILURES: why it passes",
        "hint: restart this build from Sign off, and the question is asked again",
    ]
    answers["ACCEPT_FAILURES"] = "the test is wrong, QA-17"
    outcome = jenkins.run(exported.job, QA, params=TESTED, approver="quinn", answers=answers)
    outcome.unstable()
    # Whoever is asked knows it before.
    told = r"Tests: \d+ passed, 1 failed, 0 skipped. A pass needs ACCEPT_FAILURES."
    assert any(re.search(told, call) for call in outcome.calls if "input(" in call)
    assert "- failed tests were accepted: the test is wrong, QA-17" in outcome.description
    assert verdict(exported)[1]["acceptedFailures"] == "the test is wrong, QA-17"


def test_nobody_is_asked_about_a_candidate_that_was_altered(jenkins: Jenkins, exported: SkyDrm):
    """It is not even tested. Whole archives are loaded: a daemon that pulls reads only what it lacks."""
    with (exported.product.folder.parent / "sources" / "release.toml").open("a") as file:
        file.write('\n[load]\nsource = "load"\n')
    (archive,) = (exported.product.candidate() / "images").iterdir()
    flip(archive, archive.stat().st_size // 2)
    outcome = jenkins.run(exported.job, QA, params=TESTED, approver="quinn")
    assert outcome.failed().startswith("integrity: ")
    assert not any(call.strip().startswith("input(") for call in outcome.calls)


def swapped_while_tested(skydrm: SkyDrm, tmp_path: Path) -> tuple[str, str]:
    """Let somebody put another candidate in the place of 8.1.0/42 while the tests run; both digests."""
    product, place = skydrm.product, skydrm.product.candidate()
    genuine = product.digest()
    shutil.move(place, tmp_path / "genuine")
    text = product.config.read_text()
    product.config.write_text(text.replace("{version}-{build}", "{version}-43"))
    product.export()
    product.config.write_text(text)
    other = product.digest()
    shutil.move(place, tmp_path / "other")
    shutil.copytree(tmp_path / "genuine", place)
    with Path(skydrm.job.checkout["folder"], "Makefile").open("a") as file:
        file.write(f"\t@rm -rf '{place}' && cp -a '{tmp_path}/other' '{place}'\n")
    return genuine, other


@pytest.mark.parametrize("restarted", [False, True])
def test_a_candidate_that_was_swapped_after_the_test_is_not_signed(
    jenkins: Jenkins, exported: SkyDrm, tmp_path: Path, restarted: bool
):
    """The digest goes from Test to Sign off, through a restart, and is shown."""
    tested, other = swapped_while_tested(exported, tmp_path)
    more = {"params": TESTED, "approver": "quinn", "answers": {"VERDICT": "pass"}, "restarted": restarted}
    outcome = jenkins.run(exported.job, QA, **more)
    failure = outcome.failed()
    assert failure.startswith("integrity: ")
    assert tested in failure
    assert other in failure
    (asked,) = [call for call in outcome.calls if call.strip().startswith("input(")]
    assert tested in asked
    assert not list((exported.product.candidate() / "attestations").glob("*-qa.dsse.json"))
    # On another agent, where nobody loaded it, and from the stage on: the digest is what counts.
    elsewhere = {**exported.job.environment, "HOME": str(tmp_path / "another-home")}
    job = dataclasses.replace(exported.job, build="6", environment=elsewhere)
    again = jenkins.restart(job, QA, "Sign off", outcome, **more)
    assert again.failed().startswith("integrity: ")
    assert tested in again.failure


def test_an_unanswered_question_signs_nothing(jenkins: Jenkins, exported: SkyDrm):
    """Aborted: the candidate is as untested as before."""
    assert jenkins.run(exported.job, QA, params=TESTED).status == "ABORTED"
    assert not list((exported.product.candidate() / "attestations").glob("*-qa.dsse.json"))


def test_the_whole_run_of_a_build_ends_with_a_mail(jenkins: Jenkins, skydrm: SkyDrm, snapshots: Snapshots):
    """The mail names the candidate and its digest; the description does too."""
    job = dataclasses.replace(skydrm.job, build="1003")
    outcome = jenkins.run(job, CANDIDATE)
    outcome.ok()
    snapshots.same("candidatePipeline.txt", outcome.stack(job.workspace), GOLDEN)
    document = json.loads((job.workspace / "candidate.json").read_text())
    (mail,) = outcome.mails
    assert mail["to"] == "qa@nextlabs.com"
    assert mail["subject"] == "SkyDRM 8.1.0/1003 is ready to be tested"
    assert document["digest"] in mail["body"]
    assert outcome.name == "#1003 8.1.0/1003 exported"
    assert outcome.description == f"8.1.0/1003 exported\n- SkyDRM 8.1.0/1003, {document['digest']}"
    keep_log("candidatePipeline", outcome)


def test_a_mail_that_cannot_be_sent_fails_nothing(jenkins: Jenkins, skydrm: SkyDrm):
    """The candidate is on the share all the same."""
    job = dataclasses.replace(skydrm.job, build="1004")
    outcome = jenkins.run(job, CANDIDATE, mail="refused")
    outcome.ok()
    assert outcome.description.splitlines()[1].startswith("- QA could not be told: ")
    (told,) = [line for line in outcome.console.splitlines() if "connect" in line.lower()]
    assert told == "QA could not be told: Couldn't connect to host, port: localhost, 25; timeout 60000;"
    assert (skydrm.product.candidate("8.1.0/1004") / "candidate.json").exists()


@pytest.mark.parametrize("writes", [False, True])
def test_the_report_of_another_candidate_is_not_signed(jenkins: Jenkins, exported: SkyDrm, writes: bool):
    """It lies on the agent, and this test run writes none: it fails before anybody is asked."""
    stale = exported.job.workspace / "junit.xml"
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.write_text('<testsuite name="smoke"><testcase name="of-8.0.0"/></testsuite>')
    script = (
        QA if writes else QA.replace("make smoke-test || true", "make smoke-test-that-is-not-there || true")
    )
    answers = {"VERDICT": "pass"}
    outcome = jenkins.run(exported.job, script, params=TESTED, approver="quinn", answers=answers)
    if writes:
        outcome.ok()
        statement = attestation(exported)
        assert "of-8.0.0" not in str(statement.predicate)
        return
    assert "there is no test report junit.xml" in outcome.failed()
    assert not any(call.strip().startswith("input(") for call in outcome.calls)
    assert not list((exported.product.candidate() / "attestations").glob("*-qa.dsse.json"))


def test_a_report_that_the_tests_put_back_is_not_signed(jenkins: Jenkins, exported: SkyDrm, tmp_path: Path):
    """From a cache, with its time."""
    old = tmp_path / "junit.xml"
    old.write_text('<testsuite name="smoke"><testcase name="of-8.0.0"/></testsuite>')
    os.utime(old, (1_700_000_000, 1_700_000_000))
    script = QA.replace("make smoke-test || true", f"cp -p {old} junit.xml")
    outcome = jenkins.run(exported.job, script, params=TESTED, approver="quinn")
    assert "junit.xml is older than tested.digest" in outcome.failed()


@pytest.mark.parametrize("when", ["asked", "signed"])
def test_a_report_that_lies_where_the_verdict_is_signed_is_not_signed(
    jenkins: Jenkins, exported: SkyDrm, when: str
):
    """The pattern finds it too: another build tested there meanwhile, or the checkout holds it."""
    script = QA.replace("submitter: 'qa',", "submitter: 'qa', results: 'reports/*.xml',").replace(
        "|| true", "&& mkdir -p reports && mv junit.xml reports/"
    )
    stale = '<testsuite name="smoke"><testcase name="of-8.0.0"/></testsuite>'
    aborted = jenkins.run(exported.job, script, params=TESTED)
    place = exported.job.workspace if when == "asked" else Path(exported.job.checkout["folder"])
    (place / "reports").mkdir(exist_ok=True)
    (place / "reports" / "other.xml").write_text(stale)
    job = dataclasses.replace(exported.job, build="6")
    more = {"params": TESTED, "approver": "quinn", "answers": {"VERDICT": "pass"}}
    jenkins.restart(job, script, "Sign off", aborted, **more).ok()
    assert "of-8.0.0" not in str(attestation(exported).predicate)
