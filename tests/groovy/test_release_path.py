"""The steps on the real thing: export, refusal, sign-off by QA, plan, approval, promotion."""

from __future__ import annotations

import getpass
import json
from hashlib import sha256

import pytest

from tests.fixtures.snapshots import Snapshots
from tests.groovy.conftest import SkyDrm
from tests.groovy.jenkins import GOLDEN, Jenkins

EXPORT = """
node('docker') {
    checkout scm
    exportCandidate version: '8.1.0', revision: 'f00d', credentials: [
        smb: 'release-share', key: 'skydrm-build-key', passphrase: 'skydrm-build-passphrase']
}
"""
PLAN = """
node('docker') {
    checkout scm
    planPromotion version: '8.1.0', build: 42, credentials: [smb: 'release-share', aws: 'skydrm-ecr-push']
}
"""
APPROVE = """
def approver = input(message: 'Promote?', submitter: 'release-managers', submitterParameter: 'APPROVER')
node('docker') {
    checkout scm
    approvePromotion plan: 'plan.json', approver: approver, reason: 'the "8.1.0" that $HOME waits for',
        credentials: [smb: 'release-share', aws: 'skydrm-ecr-push',
                      key: 'skydrm-approval-key', passphrase: 'skydrm-approval-passphrase']
}
"""
PROMOTE = """
node('docker') {
    checkout scm
    promoteCandidate version: '8.1.0', build: 42, %s credentials: [
        smb: 'release-share', aws: 'skydrm-ecr-push',
        key: 'skydrm-promotion-key', passphrase: 'skydrm-promotion-passphrase']
}
"""
COMPARE = """
node('docker') {
    checkout scm
    compareReleases from: '8.1.0/42', to: '8.1.0/43', page: 'compare.html', report: 'compare.json',
        credentials: [smb: 'release-share']
}
"""
BOARD = """
node('docker') {
    checkout scm
    releaseBoard credentials: [smb: 'release-share', aws: 'skydrm-ecr-push'], report: 'board.json'
}
"""


def test_from_export_to_promotion(jenkins: Jenkins, skydrm: SkyDrm, snapshots: Snapshots):
    """The steps return what the command line tells, and the gate stands between them."""
    job, product = skydrm.job, skydrm.product
    exported = jenkins.run(job, EXPORT)
    snapshots.same("export.txt", exported.stack(job.workspace), GOLDEN)
    candidate = exported.ok()
    record = json.loads((product.candidate() / "candidate.json").read_text())
    assert candidate["candidate"] == "8.1.0/42"
    assert candidate["digest"].startswith("sha256:")
    assert candidate["location"].endswith(r"\SkyDRM\8.1.0\42")
    assert candidate["attested"] is True
    assert [image["configDigest"] for image in candidate["images"]] == [
        image["config_digest"] for image in record["images"]
    ]
    assert (record["revision"], record["built_by"]) == ("f00d", "alice")
    assert record["build_url"] == "https://jenkins.example/job/skydrm/42/"

    refused = jenkins.run(job, PROMOTE % "")
    assert refused.calls[-1].strip().startswith("error(message: 'refused: candidate 8.1.0/42 ")
    head, *reasons, hint = refused.failed().splitlines()
    assert head == "refused: candidate 8.1.0/42 may not be promoted: 2 conditions not met"
    assert len(reasons) == 2
    assert "sign-off" in reasons[0]
    assert "1 approval of this plan" in reasons[1]
    assert hint.startswith("hint: ")
    assert product.tags() == {}

    shut = jenkins.run(job, PLAN).ok()
    assert shut["gate"]["open"] is False
    assert [reason["condition"] for reason in shut["gate"]["unmet"]] == ["sign-offs", "approvals"]

    product.sign_off()
    planning = jenkins.run(job, PLAN)
    snapshots.same("plan.txt", planning.stack(job.workspace), GOLDEN)
    planned = planning.ok()
    assert planned["planDigest"] == f"sha256:{sha256((job.workspace / 'plan.json').read_bytes()).hexdigest()}"
    assert planned["requester"] == "alice"
    assert [reason["condition"] for reason in planned["gate"]["unmet"]] == ["approvals"]
    assert [image["state"] for image in planned["images"]] == ["absent"] * 4
    unapproved = jenkins.run(job, PROMOTE % "dryRun: true,").failed()
    assert "1 approval of this plan required, found 0" in unapproved

    approving = jenkins.run(job, APPROVE, approver="bob")
    snapshots.same("approve.txt", approving.stack(job.workspace), GOLDEN)
    approved = approving.ok()
    assert (approved["candidate"], approved["planDigest"]) == ("8.1.0/42", planned["planDigest"])
    assert approved["gate"]["open"] is True
    assert (product.candidate() / "attestations" / approved["attestation"]).exists()
    checked = jenkins.run(job, PROMOTE % "dryRun: true,").ok()
    assert checked["dryRun"] is True
    assert product.tags() == {}

    promoted = jenkins.run(job, PROMOTE % "")
    snapshots.same("promote.txt", promoted.stack(job.workspace), GOLDEN)
    release = promoted.ok()
    assert release["changed"] is True
    assert product.tags() == {image["repository"]: {"8.1.0": image["digest"]} for image in release["images"]}
    assert jenkins.run(job, PROMOTE % "").ok()["changed"] is False


def test_a_comparison_and_its_page(jenkins: Jenkins, skydrm: SkyDrm):
    """Both candidates are on the share; page and style sheet are in the workspace, to be archived."""
    for build in ("42", "43"):
        skydrm.product.export(build)
    found = jenkins.run(skydrm.job, COMPARE).ok()
    assert [found[side]["candidate"] for side in ("old", "new")] == ["8.1.0/42", "8.1.0/43"]
    unknown = "no SBOM in 8.1.0/42 and 8.1.0/43: packages unknown"
    assert [image["packagesUnknown"] for image in found["images"]] == [unknown] * 4
    assert unknown in (skydrm.job.workspace / "compare.html").read_text()
    assert (skydrm.job.workspace / "compare.css").exists()
    assert json.loads((skydrm.job.workspace / "compare.json").read_text())["notes"] == []


def test_the_board(jenkins: Jenkins, skydrm: SkyDrm):
    """The pages are in the workspace, to be archived."""
    skydrm.product.export("42")
    found = jenkins.run(skydrm.job, BOARD).ok()
    assert [(each["candidate"], each["waitsFor"]) for each in found["candidates"]] == [
        ("8.1.0/42", "a sign-off")
    ]
    assert found["unread"] == []
    assert "a sign-off" in (skydrm.job.workspace / "board" / "index.html").read_text()
    assert json.loads((skydrm.job.workspace / "board.json").read_text())["places"] == found["places"]


def test_no_secret_is_an_argument_or_stays_on_the_agent(jenkins: Jenkins, skydrm: SkyDrm):
    """Secrets reach the program through the environment, and nothing of a call is left."""
    job = skydrm.job
    jenkins.run(job, EXPORT).ok()
    words = skydrm.arguments
    assert words[:2] == ["candidate", "export"]
    for secret in secrets(skydrm):
        assert not [word for word in words if secret in word]
    assert not [path for path in beside(skydrm).rglob("*") if path.is_file()]
    for path in job.workspace.rglob("*"):
        assert path.is_dir() or not [s for s in secrets(skydrm) if s.encode() in path.read_bytes()], path


def test_arguments_reach_the_program_unchanged(jenkins: Jenkins, skydrm: SkyDrm):
    """Neither Groovy, Jenkins' own $NAME nor the shell changes a value."""
    hostile = ' it\'s "$(touch hacked)" `touch hacked` $HOME ${JENKINS_RELEASE_SMB_PASSWORD} $$ \\n * é; -- '
    script = EXPORT.replace("'f00d'", "params.REVISION")
    jenkins.run(skydrm.job, script, params={"REVISION": hostile}).ok()
    record = json.loads((skydrm.product.candidate() / "candidate.json").read_text())
    assert record["revision"] == hostile
    assert f"--revision={hostile}" in skydrm.arguments
    assert not list(skydrm.job.workspace.rglob("hacked"))


@pytest.mark.parametrize(
    "version", ["$(touch hacked)", "--help", "../../8.1.0", "8.1.0/7", "8.1.0'; touch hacked'"]
)
def test_a_hostile_version_is_refused(jenkins: Jenkins, skydrm: SkyDrm, version: str):
    """The command line names the value; nothing is run or written."""
    script = PROMOTE.replace("'8.1.0'", "params.VERSION") % ""
    failure = jenkins.run(skydrm.job, script, params={"VERSION": version}).failed()
    assert failure.startswith(("configuration: version ", "configuration: build "))
    assert not list(skydrm.job.workspace.rglob("hacked"))
    assert list(skydrm.product.share.rglob("candidate.json")) == []


def test_a_candidate_is_recorded_under_the_user_of_the_build(jenkins: Jenkins, skydrm: SkyDrm):
    """A parameter of that name does not count, Jenkins' own knowledge does."""
    job = skydrm.job
    jenkins.run(job, EXPORT, params={"BUILD_USER_ID": "mallory"}, user="o'hara$HOME").ok()
    record = json.loads((skydrm.product.candidate() / "candidate.json").read_text())
    assert record["built_by"] == "o'hara$HOME"


def test_a_build_that_no_user_started_is_recorded_under_the_account_of_the_agent(
    jenkins: Jenkins, skydrm: SkyDrm
):
    """Neither a parameter nor the controller's environment makes it somebody's."""
    job = skydrm.job
    lies = {"BUILD_USER_ID": "mallory", "BUILD_USER": "Mallory"}
    jenkins.run(job, EXPORT, params=lies, user="").ok()
    record = json.loads((skydrm.product.candidate() / "candidate.json").read_text())
    assert record["built_by"] == getpass.getuser()


def secrets(skydrm: SkyDrm) -> list[str]:
    found = []
    for kept in skydrm.job.credentials.values():
        found += [kept[name] for name in ("password", "secret") if name in kept]
        found += [line for line in kept.get("content", "").splitlines() if not line.startswith("---")]
    return found


def beside(skydrm: SkyDrm):
    return skydrm.job.workspace.with_name(skydrm.job.workspace.name + "@tmp")
