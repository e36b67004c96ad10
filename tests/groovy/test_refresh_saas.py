"""The step refreshSaas on the real command line and the sandbox's ECS."""

from __future__ import annotations

import shutil

import pytest

from jenkins_release.sandbox.aws.ecs_state import Misbehaviour
from tests.fixtures.release import Product
from tests.fixtures.snapshots import Snapshots
from tests.groovy.conftest import SkyDrm
from tests.groovy.jenkins import GOLDEN, Jenkins

REFRESH = """
node('docker') {
    checkout scm
    refreshSaas version: '8.1.0', %s credentials: [
        smb: 'release-share', aws: 'skydrm-saas-refresh',
        key: 'skydrm-promotion-key', passphrase: 'skydrm-promotion-passphrase']
}
"""


@pytest.fixture
def promoted(validated: Product) -> Product:
    """8.1.0/42 of the product that ``skydrm`` is about is promoted."""
    validated.ok("promote", "run", "8.1.0/42")
    return validated


def test_a_release_is_brought_onto_the_stack(
    jenkins: Jenkins, promoted: Product, skydrm: SkyDrm, snapshots: Snapshots
):
    """The step returns what the command tells; a second one finds nothing to do."""
    skydrm.add_stack()
    planned = jenkins.run(skydrm.job, REFRESH % "dryRun: true,").ok()
    assert (planned["dryRun"], planned["changed"]) == (True, True)
    refreshing = jenkins.run(skydrm.job, REFRESH % "build: 42,")
    snapshots.same("refresh.txt", refreshing.stack(skydrm.job.workspace), GOLDEN)
    refreshed = refreshing.ok()
    assert (refreshed["release"], refreshed["changed"]) == ("8.1.0/42", True)
    (part,) = refreshed["after"]["parts"]
    assert part["images"]["rms"] == promoted.tags()[f"{promoted.prefix}/rms"]["8.1.0"]
    assert (promoted.candidate() / "attestations" / refreshed["attestation"]).exists()
    assert jenkins.run(skydrm.job, REFRESH % "").ok()["changed"] is False
    # The chain goes on, and customers verify it whole.
    bundle, keys = promoted.folder / "bundle.jsonl", promoted.folder / "public"
    promoted.ok("release", "attestations", "8.1.0", "--out", str(bundle))
    keys.mkdir()
    for role in ("qa", "build", "promotion"):
        shutil.copy(promoted.folder / "keys" / f"{role}.pem.pub", keys)
    (archive,) = (promoted.candidate() / "images").glob("*.tar")
    promoted.ok("verify", "--bundle", str(bundle), "--trusted-keys", str(keys), "--archive", str(archive))


def test_a_stack_that_had_to_be_returned_fails_the_build(jenkins: Jenkins, promoted: Product, skydrm: SkyDrm):
    """Category, what became of the stack, the reasons of the tasks, and a hint."""
    skydrm.add_stack()
    ecr = promoted.sandbox.ecr
    ecr.misbehave(Misbehaviour(kind="pull", image=f"{promoted.prefix}/rms"))
    try:
        failure = jenkins.run(skydrm.job, REFRESH % "").failed()
    finally:
        ecr.behave()
    head, *reasons, hint = failure.splitlines()
    assert head.startswith(
        "remote: the refresh of rehearsal failed, the stack was returned to what ran before"
    )
    assert "CannotPullContainerError" in reasons[0]
    assert hint.startswith("hint: the events of the service") and "recorded in 0" in hint
    refused = jenkins.run(skydrm.job, REFRESH.replace("8.1.0", "8.2.0") % "").failed()
    assert refused.startswith("configuration: there is no candidate of SkyDRM 8.2.0")
