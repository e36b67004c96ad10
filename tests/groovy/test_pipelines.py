"""The reference pipelines: Jenkinsfile and the promote job, on real Docker, share and registry."""

from __future__ import annotations

import dataclasses
import json

import pytest

from jenkins_release.images import DockerEngine
from tests.groovy.conftest import SkyDrm
from tests.groovy.jenkins import ROOT, Jenkins, same_as_golden

BUILD = (ROOT / "Jenkinsfile").read_text()
PROMOTE = (ROOT / "jobs" / "promote.Jenkinsfile").read_text()


@pytest.fixture
def validated(skydrm: SkyDrm) -> SkyDrm:
    """A job that promotes a candidate which QA signed off."""
    skydrm.product.export()
    skydrm.product.sign_off()
    return dataclasses.replace(skydrm, job=dataclasses.replace(skydrm.job, build="7"))


def test_the_build_pipeline_exports_what_it_built(jenkins: Jenkins, skydrm: SkyDrm, engine: DockerEngine):
    """It runs the product's own make, then exports one candidate with this build's number and revision."""
    job = dataclasses.replace(skydrm.job, build="1001")
    outcome = jenkins.run(job, BUILD)
    outcome.ok()
    same_as_golden("Jenkinsfile", outcome.stack(job.workspace))
    record = json.loads((skydrm.product.candidate("8.1.0/1001") / "candidate.json").read_text())
    assert record["revision"] == job.checkout["commit"]
    assert {image["reference"]: image["config_digest"] for image in record["images"]} == {
        f"skydrm/{name}:8.1.0-1001": engine.config_digest(f"skydrm/{name}:8.1.0-1001")
        for name in ("rms", "viewer", "router", "dbmigrate")
    }
    archived = json.loads((job.workspace / "candidate.json").read_text())
    assert archived["candidate"] == "8.1.0/1001"


def test_the_promote_job_plans_asks_and_promotes(jenkins: Jenkins, validated: SkyDrm):
    """The question comes after the plan and outside any node; the lock is held while it promotes."""
    job = validated.job
    outcome = jenkins.run(job, PROMOTE, params={"VERSION": "8.1.0", "BUILD": "42"}, approver="bob")
    outcome.ok()
    same_as_golden("promote.Jenkinsfile", outcome.stack(job.workspace))
    assert "Approved by bob" in outcome.console
    assert [set(tags) for tags in validated.product.tags().values()] == [{"8.1.0"}] * 4
    plan = json.loads((job.workspace / "plan.json").read_text())
    promotion = json.loads((job.workspace / "promotion.json").read_text())
    assert plan["digest"] == promotion["digest"]
    assert (plan["dryRun"], promotion["dryRun"]) == (True, False)


def test_the_promote_job_stops_without_approval(jenkins: Jenkins, validated: SkyDrm):
    """Aborted, and nothing is in the registry."""
    outcome = jenkins.run(validated.job, PROMOTE, params={"VERSION": "8.1.0", "BUILD": "42"})
    assert outcome.status == "ABORTED"
    assert outcome.leaks == []
    assert "stage(name: 'Promote')" not in outcome.calls
    assert validated.product.tags() == {}


def test_a_dry_run_asks_nobody(jenkins: Jenkins, validated: SkyDrm):
    """Only the plan is made."""
    parameters = {"VERSION": "8.1.0", "BUILD": "42", "DRY_RUN": True}
    outcome = jenkins.run(validated.job, PROMOTE, params=parameters)
    outcome.ok()
    assert not any(call.strip().startswith(("input", "lock")) for call in outcome.calls)
    assert validated.product.tags() == {}


def test_a_shut_gate_fails_before_anyone_is_asked(jenkins: Jenkins, skydrm: SkyDrm):
    """The reasons stand in the failure of the first stage."""
    skydrm.product.export()
    outcome = jenkins.run(skydrm.job, PROMOTE, params={"VERSION": "8.1.0", "BUILD": "42"}, approver="bob")
    assert outcome.failed().startswith("refused: ")
    assert not any("input" in call for call in outcome.calls)
    assert skydrm.product.tags() == {}


def test_an_unset_parameter_is_told_by_name(jenkins: Jenkins, skydrm: SkyDrm):
    """The first run of a new job has no parameters."""
    failure = jenkins.run(skydrm.job, PROMOTE).failed()
    assert "  - version: is missing\n  - build: is missing\n" in failure
