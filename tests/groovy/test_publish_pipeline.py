"""The publish job: installers of a validated candidate to the release area, on real shares."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from tests.fixtures.release import Product, Shelf, validate
from tests.fixtures.snapshots import Snapshots
from tests.groovy.conftest import SkyDrm
from tests.groovy.jenkins import GOLDEN, ROOT, Jenkins, keep_log
from tests.groovy.test_pipelines import PARAMETERS, PROMOTE, approval, asked, calls, evidence

PUBLISH = (ROOT / "jobs" / "publish.Jenkinsfile").read_text()


def release_area(skydrm: SkyDrm) -> Path:
    return skydrm.product.releases / "SkyDRM"


@pytest.fixture
def publishing(skydrm: SkyDrm, shelf: Shelf) -> SkyDrm:
    """A job that publishes a candidate of installers alone, which QA signed off."""

    def prepare(product: Product) -> None:
        product.installers("SkyDRM-8.1.0.msi", images=False)
        validate(product)

    product = skydrm.product
    product.installers("SkyDRM-8.1.0.msi", images=False)
    shelf.on_share("an installer", product, prepare)
    sources = Path(skydrm.job.checkout["folder"], "release.toml")
    sources.write_text(product.config.read_text())
    return skydrm.as_build("7")


def test_the_whole_run_of_the_publish_job(jenkins: Jenkins, publishing: SkyDrm, snapshots: Snapshots):
    """Plan, question, approval in the name of who answered, publication, history."""
    job = publishing.job
    outcome = jenkins.run(job, PUBLISH, params=PARAMETERS, approver="bob")
    outcome.ok()
    snapshots.same("publish.Jenkinsfile.txt", outcome.stack(job.workspace), GOLDEN)
    assert (release_area(publishing) / "8.1.0" / "installers" / "SkyDRM-8.1.0.msi").exists()
    assert evidence(publishing) == ["build", "qa", "approval", "publication"]
    assert (approval(publishing)["approver"], approval(publishing)["requester"]) == ("bob", "alice")
    publication = json.loads((job.workspace / "publication.json").read_text())
    assert publication["changed"] is True
    assert re.fullmatch(
        r"8\.1\.0/42 published\n- approved by bob\n"
        r"- SkyDRM 8\.1\.0/42 to .*SkyDRM\\8\.1\.0, plan sha256:[0-9a-f]{64}",
        outcome.description,
    )
    assert (outcome.name, outcome.kept) == ("#7 8.1.0/42 published", True)
    assert {"plan.html", "plan.css"} < set(outcome.artifacts)
    assert "1 installer to " in asked(outcome)
    assert "published by alice" in (job.workspace / "history.txt").read_text()
    keep_log("publishPipeline", outcome)


def test_who_asks_cannot_approve(jenkins: Jenkins, publishing: SkyDrm):
    """Installers go through the gate of images."""
    outcome = jenkins.run(publishing.job, PUBLISH, params=PARAMETERS, approver="alice")
    assert outcome.failed().startswith("refused: the approval by alice would not count: ")
    assert not release_area(publishing).exists()


def test_nobody_is_asked_before_qa_has_signed(jenkins: Jenkins, publishing: SkyDrm):
    """What is missing is told at once, without a question."""
    publishing.product.ok("qa", "revoke", "8.1.0/42", "--tester", "Quinn", "--reason", "wrong build")
    outcome = jenkins.run(publishing.job, PUBLISH, params=PARAMETERS | {"REASON": " "}, approver="bob")
    failure = outcome.failed()
    assert "1 passing QA sign-off" in failure
    assert "REASON has to say why" in failure
    assert "input" not in calls(outcome)


def test_a_dry_run_plans_only(jenkins: Jenkins, publishing: SkyDrm):
    """Nobody is asked, nothing is published."""
    outcome = jenkins.run(publishing.job, PUBLISH, params=PARAMETERS | {"DRY_RUN": True})
    outcome.ok()
    assert "publishRelease" not in calls(outcome)
    assert "input" not in calls(outcome)
    assert not release_area(publishing).exists()


def test_an_approved_promotion_is_not_asked_about_again(jenkins: Jenkins, skydrm: SkyDrm):
    """The plan of the promotion names the installers: its approval is one of the publication."""
    product = skydrm.product
    product.installers("SkyDRM-8.1.0.msi")
    Path(skydrm.job.checkout["folder"], "release.toml").write_text(product.config.read_text())
    product.export()
    product.sign_off()
    jenkins.run(dataclasses.replace(skydrm.job, build="8"), PROMOTE, params=PARAMETERS, approver="bob").ok()
    # Nobody is asked, so no reason is recorded, and nobody has to be told apart from an approver.
    params = {"VERSION": "8.1.0", "BUILD": "42"}
    outcome = jenkins.run(dataclasses.replace(skydrm.job, build="9"), PUBLISH, params=params, user="")
    outcome.ok()
    assert "input" not in calls(outcome)
    assert "- already approved by bob (0003-approval.dsse.json): nobody is asked" in outcome.description
    assert evidence(skydrm) == ["build", "qa", "approval", "promotion", "publication"]


def test_a_publication_that_was_published_already(jenkins: Jenkins, publishing: SkyDrm):
    """A second build of the job ends well, and changes nothing."""
    jenkins.run(publishing.job, PUBLISH, params=PARAMETERS, approver="bob").ok()
    again = dataclasses.replace(publishing.job, build="8")
    jenkins.run(again, PUBLISH, params=PARAMETERS).ok()
    assert json.loads((again.workspace / "publication.json").read_text())["changed"] is False


def test_nobody_is_asked_for_what_was_published_before(jenkins: Jenkins, publishing: SkyDrm):
    """The gate was shut afterwards: there is nothing to do all the same, and the build says so."""
    jenkins.run(publishing.job, PUBLISH, params=PARAMETERS, approver="bob").ok()
    product = publishing.product
    product.ok("qa", "revoke", "8.1.0/42", "--tester", "Quinn", "--reason", "a question of a customer")
    again = jenkins.run(dataclasses.replace(publishing.job, build="8"), PUBLISH, params=PARAMETERS)
    again.ok()
    assert "input" not in calls(again)
    assert again.description.endswith("\n- published before: nobody is asked")
    assert (again.name, again.kept) == ("#8 8.1.0/42 was published before, nothing to do", True)
    assert product.ok("promote", "plan", "8.1.0/42")["published"] is True


def test_an_approval_is_not_asked_for_again_after_a_restart(jenkins: Jenkins, publishing: SkyDrm):
    """Restarted from Approve: whether somebody has approved is looked up, not remembered."""
    job = publishing.job
    first = jenkins.run(job, PUBLISH, params=PARAMETERS, approver="bob")
    again = jenkins.restart(dataclasses.replace(job, build="8"), PUBLISH, "Approve", first, params=PARAMETERS)
    again.ok()
    assert "input" not in calls(again)
    assert again.description.endswith("\n- published before: nobody is asked")


def test_the_body_makes_the_setup_zip(jenkins: Jenkins, publishing: SkyDrm):
    """It runs on the agent that publishes; what it made goes to the program, which wants images for it."""
    body = "{ writeFile file: 'SkyDRM-setup-8.1.0.zip', text: 'PK' }"
    head = "publishPipeline(\n"
    script = PUBLISH.replace(head, f"{head}    setupZip: 'SkyDRM-setup-8.1.0.zip',\n")
    script = script.rstrip().removesuffix(")") + f") {body}\n"
    outcome = jenkins.run(publishing.job, script, params=PARAMETERS, approver="bob")
    assert "a setup zip would deploy nothing" in outcome.failed()
    assert (publishing.job.workspace / "SkyDRM-setup-8.1.0.zip").read_text() == "PK"
    assert not release_area(publishing).exists()
