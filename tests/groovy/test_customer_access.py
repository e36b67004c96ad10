"""The job of support and DevOps on the real program: moto's IAM and the ECR front behind it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.customers import CustomerLab
from tests.groovy import agent
from tests.groovy.jenkins import ROOT, Jenkins, Job, Outcome, keep_log, same_as_golden

SCRIPT = (ROOT / "jobs" / "customer-access.Jenkinsfile").read_text()
ISSUE = {"ACTION": "issue", "CUSTOMER": "ACME", "TICKET": "DEVOPS-7"}


@dataclass(frozen=True)
class Desk:
    """The job, its account, and the arguments that the program got."""

    job: Job
    lab: CustomerLab
    log: Path

    def run(self, jenkins: Jenkins, approver: str = "dave", **params: object) -> Outcome:
        """Run the job; ``approver`` answers its question."""
        return jenkins.run(self.job, SCRIPT, params=params, approver=approver)


@pytest.fixture
def desk(lab: CustomerLab, tmp_path: Path) -> Desk:
    """An agent with the program and release.toml; the administrator's key is a credential."""
    log, sources = tmp_path / "arguments", tmp_path / "sources"
    agent.install_program(tmp_path / "programs", log)
    sources.mkdir()
    (sources / "release.toml").write_text(lab.config.read_text())
    known = {**lab.moto.environment(), **lab.front.environment()}
    admin = {
        "kind": "usernamePassword",
        "username": known.pop("AWS_ACCESS_KEY_ID"),
        "password": known.pop("AWS_SECRET_ACCESS_KEY"),
    }
    path = f"{tmp_path}/programs:/usr/local/bin:/usr/bin:/bin"
    environment = {**known, "PATH": path, "HOME": str(tmp_path)}
    checkout = {"folder": str(sources), "commit": "4f0c2d1be7a95d3f2e6b8c1a9d7e5f3b1c0a8e6d"}
    job = Job(tmp_path / "it's a job @2", environment, {"skydrm-customer-admin": admin}, checkout)
    return Desk(job, lab, log)


def asked(outcome: Outcome) -> bool:
    return any(call.strip().startswith("input(") for call in outcome.calls)


def test_the_whole_run_that_shows_lets_and_issues_an_access(jenkins: Jenkins, desk: Desk):
    """The key works, leaves as a file for the customer only, and is nowhere else."""
    recipient = str(desk.lab.identity.to_public())
    outcome = desk.run(jenkins, **ISSUE, RECIPIENT=recipient)
    outcome.ok()
    stack = outcome.stack(desk.job.workspace).replace(recipient, "<recipient>")
    same_as_golden("customer-access.Jenkinsfile", stack)
    assert outcome.description == "issue ACME, let by dave"
    keep_log("customerAccessPipeline", outcome)
    (name,) = [name for name in outcome.artifacts if name.endswith(".age")]
    sealed = desk.lab.folder / "archived.age"
    sealed.write_text(outcome.artifacts[name])
    key = desk.lab.opened(sealed)
    assert desk.lab.pull(desk.lab.login(key)) == 200
    result = json.loads(outcome.artifacts["access/result.json"])
    assert (result["customer"], result["keyId"]) == ("ACME", key["accessKeyId"])
    everything = [outcome.story(), *outcome.artifacts.values(), *agent.arguments(desk.log)]
    assert not [text for text in everything if key["secretAccessKey"] in text]
    left = [path for path in desk.job.workspace.parent.rglob("*.age") if path != sealed]
    assert left == []
    tags = desk.lab.state()["skydrm-acme"]["tags"]
    assert (tags["ticket"], tags["issued-by"]) == ("DEVOPS-7", "alice")


def test_nobody_gets_access_before_somebody_lets_it(jenkins: Jenkins, desk: Desk):
    """What would be done is shown; without an answer nothing is."""
    outcome = desk.run(jenkins, "", **ISSUE, SECRET="skydrm/customers/acme")
    assert outcome.status == "ABORTED"
    assert asked(outcome)
    assert "create the user /skydrm/customers/skydrm-acme" in outcome.console
    assert desk.lab.state() == {}


def test_a_look_asks_nobody(jenkins: Jenkins, desk: Desk):
    """A list needs no answer; an audit with findings fails the build and keeps them."""
    desk.lab.issue()
    listed = desk.run(jenkins, ACTION="list")
    listed.ok()
    assert not asked(listed)
    assert json.loads(listed.artifacts["access/result.json"])["customers"][0]["customer"] == "ACME"
    desk.lab.iam.create_user(UserName="mallory", Path="/skydrm/customers/")
    audit = desk.run(jenkins, ACTION="audit")
    assert audit.failed().startswith("refused: the audit of 2 customers has 1 finding")
    assert json.loads(audit.artifacts["access/result.json"])["findings"][0]["user"] == "mallory"


def test_an_access_is_revoked_with_a_proof(jenkins: Jenkins, desk: Desk):
    """The result that is archived says what was refused."""
    desk.lab.issue()
    outcome = desk.run(jenkins, ACTION="revoke", CUSTOMER="ACME", REASON="contract ended")
    outcome.ok()
    result = json.loads(outcome.artifacts["access/result.json"])
    assert (result["state"], result["unproven"]) == ("revoked", "")
    assert all(": denied (" in line for line in result["proof"])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("$(touch hacked)", "the customer '$(touch hacked)' is not 1 to 40 letters"),
        ("--help", "the customer '--help' is not 1 to 40 letters"),
        ("../etc", "the customer '../etc' is not 1 to 40 letters"),
    ],
)
def test_a_hostile_name_is_refused_before_anybody_is_asked(
    jenkins: Jenkins, desk: Desk, name: str, told: str
):
    """It reaches the program as it is, and goes no further."""
    outcome = desk.run(jenkins, **{**ISSUE, "CUSTOMER": name, "SECRET": "x"})
    assert told in outcome.failed()
    assert not asked(outcome)
    assert not list(desk.job.workspace.rglob("hacked"))


def test_what_does_not_go_with_an_action_is_told_at_once(jenkins: Jenkins, empty_job: Job):
    """Every mistake in one failure, before anything happens on the agent."""

    def failure(call: str) -> list[str]:
        outcome = jenkins.run(empty_job, f"node('x') {{ customerAccess {call} }}")
        head, *reasons, hint = outcome.failed().splitlines()
        assert head == "configuration: customerAccess cannot run with these arguments"
        assert hint == "hint: customerAccess.txt describes them"
        assert not [each for each in outcome.calls if "jenkinsReleaseCli" in each]
        return [reason.removeprefix("  - ") for reason in reasons]

    assert failure("action: 'grant', customer: 'ACME'") == [
        "action: grant is none of issue, rotate, revoke, list, audit, doctor"
    ]
    assert failure("action: 'revoke', ticket: 'DEVOPS-1', dryRun: true, secret: 'x'") == [
        "customer: is missing",
        "--ticket does not go with revoke",
        "--secret does not go with revoke",
    ]
    assert failure("action: 'audit', customer: 'ACME'") == ["customer: does not go with audit"]


def test_several_networks_are_several_options(jenkins: Jenkins, desk: Desk):
    """A text with blanks or commas, as a job's parameter holds it."""
    credentials = "credentials: [aws: 'skydrm-customer-admin']"
    networks = "networks: '203.0.113.0/24, 198.51.100.7'"
    call = f"action: 'issue', customer: 'ACME', ticket: 'DEVOPS-1', dryRun: true, {networks}, {credentials}"
    answer = jenkins.run(desk.job, f"node('x') {{ checkout scm\ncustomerAccess {call} }}").ok()
    assert answer["networks"] == ["198.51.100.7/32", "203.0.113.0/24"]
    assert "--source-ip=198.51.100.7" in agent.arguments(desk.log)
