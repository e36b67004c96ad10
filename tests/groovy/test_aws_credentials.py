"""Credentials for AWS as Jenkins has them: a username with password, AWS credentials, an OIDC token file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from jenkins_release.sandbox.ecr.state import PolicyStatement
from tests.groovy.agent import write_program
from tests.groovy.conftest import SkyDrm
from tests.groovy.jenkins import ROOT, Jenkins, Job

PLAN = """
node('docker') {
    checkout scm
    planPromotion version: '8.1.0', build: 42, credentials: [smb: 'release-share', aws: %s]
}
"""
SHOW = "node('x') { planPromotion version: '8.1.0', build: 1, credentials: [aws: %s] }"
ROLE = "arn:aws:iam::123456789012:role/skydrm-push"
OTHERS = {
    "AWS_ACCESS_KEY_ID": "AKIAOFTHEAGENT",
    "AWS_SECRET_ACCESS_KEY": "secret of the agent",
    "AWS_SESSION_TOKEN": "token of the agent",
    "AWS_PROFILE": "profile-of-the-agent",
}
ENDED = "cannot read images: AWS answered ExpiredToken: the session credentials%s have expired"


@pytest.fixture
def showing(empty_job: Job) -> Job:
    """An agent with a login of its own for AWS, and a program that only writes down what it got."""
    folder = empty_job.workspace.parent
    program = f"""\
        #!/bin/sh
        [ "$1" != --version ] || exec echo "jenkins-release, version $JENKINS_RELEASE_VERSION"
        env | grep ^AWS_ | sort >'{folder}/seen'
        cat "${{AWS_WEB_IDENTITY_TOKEN_FILE:-/dev/null}}" >'{folder}/token'
        result=${{3#--result=}}
        cp '{folder}/result' "$result"
        exit $(cat '{folder}/status')
    """
    write_program(folder / "bin", "\n".join(line.strip() for line in program.splitlines()))
    (folder / "result").write_text("{}")
    (folder / "status").write_text("0")
    credentials = {
        "user": {"kind": "usernamePassword", "username": "AKIAUSER", "password": "user's secret"},
        "entry": {
            "kind": "aws",
            "key": "AKIAENTRY",
            "secret": "entry's secret",
            "roles": {ROLE: {"key": "ASIAROLE", "secret": "role's secret", "token": "role's token"}},
        },
        "token": {"kind": "file", "name": "id-token", "content": "eyJ.token.of-jenkins"},
    }
    environment = empty_job.environment | OTHERS | {"PATH": f"{folder}/bin:/usr/bin:/bin"}
    return dataclasses.replace(empty_job, environment=environment, credentials=credentials)


def seen(job: Job) -> dict[str, str]:
    lines = (job.workspace.parent / "seen").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


KEPT = {"AWS_PROFILE": "profile-of-the-agent"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("'user'", KEPT | {"AWS_ACCESS_KEY_ID": "AKIAUSER", "AWS_SECRET_ACCESS_KEY": "user's secret"}),
        (
            "[aws: 'entry']",
            KEPT | {"AWS_ACCESS_KEY_ID": "AKIAENTRY", "AWS_SECRET_ACCESS_KEY": "entry's secret"},
        ),
        (
            f"[aws: 'entry', role: '{ROLE}', duration: '7200', session: '']",
            KEPT
            | {
                "AWS_ACCESS_KEY_ID": "ASIAROLE",
                "AWS_SECRET_ACCESS_KEY": "role's secret",
                "AWS_SESSION_TOKEN": "role's token",
            },
        ),
        (
            f"[oidc: 'token', role: \"{ROLE}${{''}}\", session: 'promote']",
            {"AWS_ROLE_ARN": ROLE, "AWS_ROLE_SESSION_NAME": "promote"},
        ),
    ],
    ids=["username", "entry", "role", "oidc"],
)
def test_the_program_gets_these_credentials_and_no_others(
    jenkins: Jenkins, showing: Job, given: str, expected: Mapping[str, str]
):
    """A token that was bound stays; a token, key or profile of the agent does not mix with what is bound."""
    jenkins.run(showing, SHOW % given).ok()
    found = seen(showing)
    path = found.pop("AWS_WEB_IDENTITY_TOKEN_FILE", "")
    assert found == expected
    token = (showing.workspace.parent / "token").read_text()
    assert (bool(path), token) == (("oidc" in given), "eyJ.token.of-jenkins" if "oidc" in given else "")


def test_the_binding_says_which_role_for_how_long_and_which_build(jenkins: Jenkins, showing: Job):
    """CloudTrail shows the name of the session."""
    outcome = jenkins.run(showing, SHOW % f"[aws: 'entry', role: '{ROLE}', duration: 7200]")
    outcome.ok()
    (binding,) = [line for line in outcome.calls if "withCredentials" in line]
    assert f"roleArn: '{ROLE}', roleSessionName: 'jenkins-42', roleSessionDurationSeconds: 7200" in binding


def test_a_long_name_of_a_build_keeps_its_end(jenkins: Jenkins, showing: Job):
    """STS takes 64 characters of a few kinds; the number of the build is at the end."""
    tag = f"jenkins-{'Sky DRM/' * 12}promote-7"
    job = dataclasses.replace(showing, environment={**showing.environment, "BUILD_TAG": tag})
    jenkins.run(job, SHOW % f"[oidc: 'token', role: '{ROLE}']").ok()
    name = seen(showing)["AWS_ROLE_SESSION_NAME"]
    assert len(name) == 64
    assert name.endswith("-Sky-DRM-promote-7")


@pytest.mark.parametrize(
    ("given", "reasons"),
    [
        ("[:]", [": must have either aws, the id of AWS credentials, or oidc, the id of an OIDC token"]),
        (
            "[aws: 'a', oidc: 'b']",
            [": must have either aws, the id of AWS credentials, or oidc, the id of an OIDC token"],
        ),
        ("[oidc: 'b']", [".role: is missing; a token opens nothing without the ARN of a role"]),
        (
            f"[oidc: 'b', role: '{ROLE}', duration: 3600]",
            [".duration: there is no such value with oidc; accepted are oidc, role, session"],
        ),
        (
            "[aws: 'a', rol: 'x']",
            [".rol: there is no such value with aws; accepted are aws, role, session, duration"],
        ),
        ("[aws: 'a', duration: 3600]", [".role: is missing; session and duration are those of a role"]),
        (
            "[aws: [1], role: 'skydrm-push', session: 'a b', duration: 60]",
            [
                ".aws: must be text",
                ".role: must be the ARN of a role, such as arn:aws:iam::123456789012:role/skydrm-push",
                ".session: must be 2 to 64 letters, digits and + = , . @ _ -",
                ".duration: must be 900 to 43200 seconds; the role says how many it allows",
            ],
        ),
    ],
)
@pytest.mark.parametrize("kind", ["aws", "awsRead"])
def test_a_map_that_is_wrong_is_refused_with_every_mistake(
    jenkins: Jenkins, empty_job: Job, kind: str, given: str, reasons: list[str]
):
    """Before anything is bound, in steps and in pipelines."""
    step = "planPromotion" if kind == "aws" else "promotePipeline"
    more = "version: '1', build: 1" if kind == "aws" else "product: 'SkyDRM', submitter: 'bob'"
    call = f"node('x') {{ {step}({more}, credentials: [{kind}: {given}]) }}"
    head, *told, hint = jenkins.run(empty_job, call).failed().splitlines()
    assert head == f"configuration: {step} cannot run with these arguments"
    assert told == [f"  - credentials.{kind}{reason}" for reason in reasons]
    assert hint == f"hint: {step}.txt describes them"


def test_only_credentials_for_aws_may_be_a_map(jenkins: Jenkins, empty_job: Job):
    """A share has no roles."""
    call = "node('x') { exportCandidate version: '1', credentials: [smb: [aws: 'x']] }"
    assert "credentials.smb: must be text" in jenkins.run(empty_job, call).failed()


@pytest.mark.parametrize(("given", "kept"), [("[aws: 'user']", "usernamePassword"), ("'entry'", "aws")])
def test_an_id_of_another_kind_is_a_mistake_of_the_configuration(
    jenkins: Jenkins, showing: Job, given: str, kept: str
):
    """Jenkins' own words, with a category."""
    head, hint = jenkins.run(showing, SHOW % given).failed().splitlines()
    assert head.startswith("configuration: Credentials '")
    assert f"is of type '{kept}'" in head
    assert "its kind in the table of docs/jenkins.md" in hint


def test_a_missing_plugin_is_named(jenkins: Jenkins, showing: Job):
    """Not every Jenkins has AWS Credentials."""
    failure = jenkins.run(showing, SHOW % "[aws: 'entry']", withoutPlugins=True).failed()
    head, hint = failure.splitlines()
    assert head == "configuration: this Jenkins cannot bind AWS credentials"
    assert hint.startswith("hint: install the plugin AWS Credentials, or let credentials.aws be the id of a ")


@pytest.mark.parametrize(
    ("given", "said", "shown"),
    [
        (
            "[aws: 'entry']",
            ENDED % " in AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN",
            ENDED % " of credentials.aws (entry)",
        ),
        (
            f"[oidc: 'token', role: '{ROLE}']",
            "the OIDC token in AWS_WEB_IDENTITY_TOKEN_FILE has expired",
            "the OIDC token of credentials.aws (token) has expired",
        ),
    ],
)
def test_a_session_that_ended_is_named_in_the_words_of_the_job(
    jenkins: Jenkins, showing: Job, given: str, said: str, shown: str
):
    """Whoever reads the failure knows the id, not the variables."""
    folder = showing.workspace.parent
    error = f'{{"error": {{"category": "remote", "message": "{said}", "reasons": [], "hint": "later"}}}}'
    (folder / "result").write_text(error)
    (folder / "status").write_text("5")
    failure = jenkins.run(showing, SHOW % given).failed()
    assert failure == f"remote: {shown}\nhint: later"


@dataclass(frozen=True)
class Roles:
    """Jobs of SkyDRM whose Jenkins has a role in AWS, and no key of a user."""

    skydrm: SkyDrm
    arn: str
    job: Job

    def planned(self, jenkins: Jenkins, given: str) -> Any:
        return jenkins.run(self.job, PLAN % given)


@pytest.fixture
def roles(promoting: SkyDrm) -> Roles:
    """AWS credentials with a role, and an OIDC token for it."""
    ecr = promoting.product.sandbox.ecr
    arn = ecr.add_role(f"push-{promoting.product.prefix}", [PolicyStatement(actions=["ecr:*"])])
    session = ecr.start_session(arn, "jenkins-7")
    bound = {
        "key": session["AWS_ACCESS_KEY_ID"],
        "secret": session["AWS_SECRET_ACCESS_KEY"],
        "token": session["AWS_SESSION_TOKEN"],
    }
    job = promoting.job
    credentials = {
        **{name: kept for name, kept in job.credentials.items() if "ecr" not in name},
        "skydrm-aws": {"kind": "aws", "key": "AKIAX", "secret": "not used here", "roles": {arn: bound}},
        "skydrm-oidc": {"kind": "file", "name": "id-token", "content": ecr.issue_identity_token(arn)},
    }
    environment = {**job.environment, **OTHERS, "AWS_ENDPOINT_URL_STS": ecr.endpoint}
    del environment["AWS_PROFILE"]
    return Roles(promoting, arn, dataclasses.replace(job, credentials=credentials, environment=environment))


def test_a_role_of_aws_credentials_plans(jenkins: Jenkins, roles: Roles):
    """With the token of its session; when that has ended, the failure says whose it was."""
    given = f"[aws: 'skydrm-aws', role: '{roles.arn}']"
    assert roles.planned(jenkins, given).ok()["version"] == "8.1.0"
    roles.skydrm.product.sandbox.ecr.end_sessions()
    failure = roles.planned(jenkins, given).failed()
    assert "the session credentials of credentials.aws (skydrm-aws) have expired" in failure
    assert "hint: sign in again, then repeat" in failure


def test_the_promote_job_needs_no_key_of_aws_with_an_oidc_token(jenkins: Jenkins, roles: Roles):
    """From the plan to the release tags, with the pipeline as it stands."""
    script = (ROOT / "jobs" / "promote.Jenkinsfile").read_text()
    given = f"[oidc: 'skydrm-oidc', role: '{roles.arn}']"
    keys = "awsRead: 'skydrm-ecr-read', aws: 'skydrm-ecr-push'"
    assert keys in script
    parameters = {"VERSION": "8.1.0", "BUILD": "42", "REASON": "the customers wait"}
    script = script.replace(keys, f"awsRead: {given}, aws: {given}")
    jenkins.run(roles.job, script, params=parameters, approver="bob", sandboxed=True).ok()
    assert [set(tags) for tags in roles.skydrm.product.tags().values()] == [{"8.1.0"}] * 4
