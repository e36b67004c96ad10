"""The job of support and DevOps on the real program: moto's IAM and the ECR front behind it."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from jenkins_release.steps.customers.revoke import RevokeRequest, revoke_customer
from jenkins_release.steps.customers.rotate import RotateRequest, rotate_customer
from tests.fixtures.customers import CustomerLab
from tests.fixtures.snapshots import Snapshots
from tests.groovy import agent
from tests.groovy.jenkins import GOLDEN, ROOT, Jenkins, Job, Outcome, keep_log

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
def desk(lab: CustomerLab, tmp_path: Path, warm_program: Path) -> Desk:
    """An agent with the program and release.toml; the administrator's key is a credential."""
    log, sources = tmp_path / "arguments", tmp_path / "sources"
    agent.install_program(tmp_path / "programs", log, warm_program)
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


def test_the_whole_run_that_shows_lets_and_issues_an_access(
    jenkins: Jenkins, desk: Desk, snapshots: Snapshots
):
    """The key works, leaves as a file for the customer only, and is nowhere else."""
    recipient = str(desk.lab.identity.to_public())
    outcome = desk.run(jenkins, **ISSUE, RECIPIENT=recipient)
    outcome.ok()
    stack = outcome.stack(desk.job.workspace).replace(recipient, "<recipient>")
    snapshots.same("customer-access.Jenkinsfile.txt", stack, GOLDEN)
    assert outcome.name == "#42 issue ACME done"
    assert outcome.description.startswith("issue ACME done\n- let by dave\n- create the boundary ")
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


def question(outcome: Outcome) -> str:
    """What was asked; empty where nobody was."""
    told = [re.match(r"\s*input\(message: '(.*)', ok: ", call) for call in outcome.calls]
    return "".join(found[1] for found in told if found)


def test_what_is_asked_is_what_is_done(jenkins: Jenkins, desk: Desk):
    """Not the name of the action: a revocation that is undone gives the access back."""
    key = desk.lab.issue().key_id
    revoke = {"ACTION": "revoke", "CUSTOMER": "ACME"}
    outcome = desk.run(jenkins, **revoke, REASON="contract ended")
    outcome.ok()
    steps = ("deny everything", f"switch off the key {key}", "see a key refused that is made for it")
    assert question(outcome) == f"ACME: {'; '.join(steps)}?"
    outcome = desk.run(jenkins, **revoke, UNDO=True)
    outcome.ok()
    assert question(outcome) == f"ACME: switch on the key {key}; take the denial away?"
    told = f"revoke, undo, ACME done\n- let by dave\n- switch on the key {key}; take the denial away"
    assert outcome.description == told
    outcome = desk.run(jenkins, **revoke, UNDO=True)
    outcome.ok()
    assert not asked(outcome)
    assert outcome.name == "#42 revoke, undo, ACME nothing to do"
    outcome = desk.run(jenkins, **revoke, DELETE=True)
    assert "ACME is not revoked, so the access is not deleted" in outcome.failed()
    assert not asked(outcome)


def test_what_cannot_be_done_is_not_asked(jenkins: Jenkins, desk: Desk):
    """And is told in the words of the form, not of the command line."""
    outcome = desk.run(jenkins, **ISSUE)
    told = outcome.failed().splitlines()
    assert told == [
        "configuration: there is no place to hand over the new key of ACME",
        "hint: give SECRET or RECIPIENT",
    ]
    assert not asked(outcome)
    desk.lab.issue()
    outcome = desk.run(jenkins, ACTION="rotate", CUSTOMER="ACME")
    assert outcome.failed().startswith("configuration: there is no place to hand over the new key of ACME")
    assert not asked(outcome)
    outcome = desk.run(jenkins, ACTION="rotate", CUSTOMER="ACME", RECIPIENT="age1nonsense")
    assert not asked(outcome)
    outcome = desk.run(jenkins, **ISSUE, EXPIRES_DAYS="soon")
    assert outcome.failed().startswith("configuration: Invalid value for 'EXPIRES_DAYS'")
    revoke_customer(RevokeRequest("ACME", "contract ended"), desk.lab.services)
    outcome = desk.run(jenkins, **ISSUE, SECRET="skydrm/customers/acme")
    assert "hint: ACTION revoke with UNDO gives it back, ACTION revoke with DELETE " in outcome.failed()


def test_a_rotated_access_is_revoked_with_a_proof(jenkins: Jenkins, desk: Desk):
    """With the customer's key as a credential; without it the question says that none is possible."""
    desk.lab.issue()
    rotate_customer(RotateRequest("ACME", desk.lab.handover()), desk.lab.services)
    revoke = {"ACTION": "revoke", "CUSTOMER": "ACME", "REASON": "contract ended"}
    outcome = desk.run(jenkins, "", **revoke)
    assert "it cannot be proven, because the user has two keys: fill in CUSTOMER_KEY" in question(outcome)
    opened = desk.lab.opened(desk.lab.files()[0])
    customer = {
        "kind": "usernamePassword",
        "username": opened["accessKeyId"],
        "password": opened["secretAccessKey"],
    }
    known = {**desk.job.credentials, "acme-key": customer}
    with_key = dataclasses.replace(desk, job=dataclasses.replace(desk.job, credentials=known))
    outcome = with_key.run(jenkins, **revoke, CUSTOMER_KEY="acme-key")
    outcome.ok()
    assert "; see the customer's own key refused?" in question(outcome)
    assert json.loads(outcome.artifacts["access/result.json"])["unproven"] == ""


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (
            {"ACTION": "issue", "UNDO": True},
            ["CUSTOMER is missing", "TICKET is missing", "UNDO does not go with"],
        ),
        ({"ACTION": "audit", "CUSTOMER": "ACME"}, ["CUSTOMER does not go with the ACTION audit"]),
        (
            {"ACTION": "revoke", "CUSTOMER": "ACME", "UNDO": True, "DELETE": True, "TICKET": "T-1"},
            ["TICKET does not go with the ACTION revoke", "UNDO and DELETE exclude each other"],
        ),
        (
            {"ACTION": "issue", "CUSTOMER": "A\nB", "TICKET": "T", "KIND": "aws-account", "SECRET": "s"},
            [
                "CUSTOMER has to be one line",
                "ACCOUNT_ID is missing",
                "SECRET does not go with the KIND aws-account",
            ],
        ),
        (
            {"ACTION": "issue", "CUSTOMER": "A", "TICKET": "T-1", "NETWORKS": "10.0.0.0/8\n10.1.0.0/16"},
            ["NETWORKS has to be one line"],
        ),
        (
            {"ACTION": "revoke", "CUSTOMER": "A", "KIND": "aws-account", "REASON": "contract ended"},
            ["REASON does not go with the KIND aws-account"],
        ),
        (
            {"ACTION": "revoke", "CUSTOMER": "A", "DELETE": True, "REASON": "over", "CUSTOMER_KEY": "a"},
            ["DELETE and REASON exclude each other", "DELETE and CUSTOMER_KEY exclude each other"],
        ),
        (
            {"ACTION": "rotate", "CUSTOMER": "A", "UNDO": True, "RECIPIENT": "age1"},
            ["UNDO and RECIPIENT exclude each other"],
        ),
        (
            {"ACTION": "rotate", "CUSTOMER": "A", "SECRET": "s", "RECIPIENT": "r"},
            ["SECRET and RECIPIENT exclude"],
        ),
    ],
)
def test_a_form_that_says_two_things_is_refused(
    jenkins: Jenkins, desk: Desk, form: dict[str, object], told: list[str]
):
    """What would be left out without a word: nothing is run, and nobody is asked."""
    outcome = desk.run(jenkins, **form)
    head, *reasons, hint = outcome.failed().splitlines()
    assert head == "configuration: this job cannot run with what its form says"
    assert [reason.startswith(f"  - {each}") for reason, each in zip(reasons, told, strict=True)] == [
        True
    ] * len(told)
    assert hint.startswith("hint: ")
    assert agent.arguments(desk.log) == []


def test_a_change_that_is_restarted_is_looked_at_again(jenkins: Jenkins, desk: Desk):
    """What is asked is what would be done now."""
    issued = desk.lab.issue()
    revoke = {"ACTION": "revoke", "CUSTOMER": "ACME", "UNDO": True}
    first = desk.run(jenkins, **revoke)
    revoke_customer(RevokeRequest("ACME", "contract ended"), desk.lab.services)
    again = jenkins.restart(desk.job, SCRIPT, "Change", first, params=revoke, approver="dave")
    again.ok()
    assert again.name == "#42 revoke, undo, ACME done"
    assert again.description.startswith("revoke, undo, ACME done\n- let by dave\n")
    assert question(again) == f"ACME: switch on the key {issued.key_id}; take the denial away?"


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
        "ticket does not go with revoke",
        "secret does not go with revoke",
    ]
    assert failure("action: 'audit', customer: 'ACME'") == ["customer: does not go with audit"]


def test_several_networks_are_several_options(jenkins: Jenkins, desk: Desk):
    """A text with blanks or commas, as a job's parameter holds it."""
    credentials = "credentials: [aws: 'skydrm-customer-admin']"
    networks = "networks: '203.0.113.0/24, 198.51.100.7'"
    call = f"action: 'issue', customer: 'ACME', ticket: 'DEVOPS-1', dryRun: true, {networks}, {credentials}"
    call += ", secret: 'skydrm/customers/acme'"
    answer = jenkins.run(desk.job, f"node('x') {{ checkout scm\ncustomerAccess {call} }}").ok()
    assert answer["networks"] == ["198.51.100.7/32", "203.0.113.0/24"]
    assert "--source-ip=198.51.100.7" in agent.arguments(desk.log)
