"""Arguments of the steps: every mistake at once, before anything happens on the agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.groovy.agent import install_program
from tests.groovy.jenkins import Jenkins, Job

HEAD = "configuration: {} cannot run with these arguments"


def refusal(jenkins: Jenkins, job: Job, call: str, **more) -> list[str]:
    """Reasons of a step that is refused without a single step on the agent."""
    outcome = jenkins.run(job, f"node('docker') {{ {call} }}", **more)
    head, *reasons, hint = outcome.failed().splitlines()
    step = call.split("(")[0]
    assert head == HEAD.format(step)
    assert hint == f"hint: {step}.txt describes them"
    assert [line.split("(")[0].strip() for line in outcome.calls] == [
        "node",
        step,
        "jenkinsReleaseArguments",
        "error",
    ]
    return [reason.removeprefix("  - ") for reason in reasons]


def test_every_mistake_is_told_at_once(jenkins: Jenkins, empty_job: Job):
    """Misspelt, missing and wrong arguments stand in one failure."""
    credentials = "[smd: 'x', key: 7.5, aws: [1]]"
    call = f"promoteCandidate(verison: '8.1.0', config: ['a'], dryRun: 'false', credentials: {credentials})"
    assert refusal(jenkins, empty_job, call) == [
        "verison: there is no such argument; "
        "accepted are version, build, config, credentials, dryRun, checks, report",
        "version: is missing",
        "build: is missing",
        "config: must be text",
        "credentials.smd: there is no such kind; accepted are smb, aws, key, passphrase, mail, webhook",
        "credentials.aws: must be text",
        "dryRun: must be true or false without quotes, such as params.DRY_RUN",
    ]


@pytest.mark.parametrize("value", ["8.1.0\n--verbose", "8.1.0\r", "8.1\0", "8.1.0\t", "\x1b[2J8.1.0"])
def test_a_control_character_is_refused(jenkins: Jenkins, empty_job: Job, value: str):
    """A line break cannot smuggle in a second argument."""
    reasons = refusal(
        jenkins, empty_job, "exportCandidate(version: params.VERSION)", params={"VERSION": value}
    )
    assert reasons == ["version: holds a line break or another control character"]


@pytest.mark.parametrize("version", ["''", "'  '", "null", '"${params.NONE ?: ""}"'])
def test_blank_is_missing(jenkins: Jenkins, empty_job: Job, version: str):
    """An empty job parameter is not a version."""
    call = f"exportCandidate(version: {version})"
    assert refusal(jenkins, empty_job, call) == ["version: is missing"]


def test_credentials_must_be_a_map(jenkins: Jenkins, empty_job: Job):
    """One id alone does not say what it is for."""
    call = "exportCandidate(version: '8.1.0', credentials: 'release-share')"
    assert refusal(jenkins, empty_job, call) == [
        "credentials: must be a Map of credentials ids: smb, key, passphrase, mail, webhook"
    ]


def test_without_a_node_the_step_says_so(jenkins: Jenkins, empty_job: Job):
    """The failure names what is missing instead of a Java class."""
    failure = jenkins.run(empty_job, "exportCandidate version: '8.1.0'").failed()
    assert failure.splitlines() == [
        "configuration: this step needs a workspace",
        "hint: call it inside node, or give the stage an agent",
    ]


def test_credentials_that_do_not_exist_fail_the_build(
    jenkins: Jenkins, empty_job: Job, tmp_path: Path, warm_program: Path
):
    """With a category, and Jenkins' own words about the id; nothing is left of the call."""
    install_program(tmp_path / "programs", tmp_path / "log", warm_program)
    job = Job(empty_job.workspace, {"PATH": f"{tmp_path}/programs:/usr/bin:/bin"})
    call = "node('x') { exportCandidate(version: '8.1.0', credentials: [smb: 'no-such-id', key: '']) }"
    head, hint = jenkins.run(job, call).failed().splitlines()
    assert head == "configuration: Could not find credentials entry with ID 'no-such-id'"
    assert "a job can bind what lies in its own folder" in hint
    assert jenkins.run(
        job, call, credentials={"no-such-id": {"kind": "string", "secret": "s3cret-text"}}
    ).failed() == (
        "configuration: Credentials 'no-such-id' is of type 'string' where 'usernamePassword' was expected\n"
        + hint
    )
    assert not [path for path in tmp_path.glob("job@tmp/**/*") if path.is_file()]
