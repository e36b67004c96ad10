"""What the doctor says about AWS: who this machine is there, and what it may do. It changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION, PolicyStatement
from jenkins_release.sandbox.front.front import EcrFront
from jenkins_release.sandbox.process import LOOPBACK, free_port
from jenkins_release.steps.doctor.registry import PUSH_ACTIONS
from tests.docs.pages import ROOT, marked
from tests.doctor.machine import Desk, told
from tests.fixtures.raw_server import RawServer, Request, answer

ARN = f"arn:aws:sts::{ACCOUNT}:assumed-role/promoter/i-0123456789"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/promoter"
READS = {
    *("GetAuthorizationToken", "DescribeRepositories", "ListImages", "BatchGetImage"),
    "BatchCheckLayerAvailability",
}
_CALLER = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    "<Arn>{arn}</Arn><UserId>AROA:i-0123456789</UserId><Account>{account}</Account></GetCallerIdentityResult>"
    "<ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
)
_REFUSED = (
    '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
    "<Code>{code}</Code><Message>{message}</Message></Error><RequestId>r-1</RequestId></ErrorResponse>"
)
_SIMULATED = (
    '<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
    "<SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults>{members}"
    "</EvaluationResults></SimulatePrincipalPolicyResult>"
    "<ResponseMetadata><RequestId>r-2</RequestId></ResponseMetadata></SimulatePrincipalPolicyResponse>"
)


class Aws:
    """STS and IAM, which say what a test wants."""

    def __init__(self) -> None:
        self.arn, self.account = ARN, ACCOUNT
        self.refuses_identity = ""
        self.denied: Sequence[str] = ()
        self.refuses_simulation = False
        self.ahead = timedelta()
        self.asked: list[dict[str, list[str]]] = []

    def __call__(self, request: Request) -> bytes:
        form = parse_qs(request.body.decode())
        self.asked.append(form)
        date = format_datetime(datetime.now(UTC) + self.ahead, usegmt=True)
        status, body = self._simulated(form) if "Simulate" in form["Action"][0] else self._identity()
        return answer(status, body.encode(), Content_Type="text/xml", Date=date)

    def _identity(self) -> tuple[int, str]:
        if self.refuses_identity:
            return 403, _REFUSED.format(code=self.refuses_identity, message="no")
        return 200, _CALLER.format(arn=self.arn, account=self.account)

    def _simulated(self, form: dict[str, list[str]]) -> tuple[int, str]:
        assert form["PolicySourceArn"] == [ROLE]
        if self.refuses_simulation:
            said = f"User: {self.arn} is not authorized to perform: iam:SimulatePrincipalPolicy"
            return 403, _REFUSED.format(code="AccessDenied", message=said)
        actions = [values[0] for name, values in form.items() if name.startswith("ActionNames.member")]
        members = "".join(
            f"<member><EvalActionName>{action}</EvalActionName><EvalDecision>"
            f"{'implicitDeny' if action in self.denied else 'allowed'}</EvalDecision></member>"
            for action in actions
        )
        return 200, _SIMULATED.format(members=members)


@pytest.fixture
def aws(ecr: EcrFront, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """An AWS whose ECR is the sandbox's."""
    speech = Aws()
    with RawServer(speech) as server:
        for service in ("STS", "IAM"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", server.url)
        yield speech


@pytest.fixture
def machine(tmp_path: Path, aws: Aws, boto_ecr: Any) -> Desk:
    """A machine that promotes; the repository is there."""
    (tmp_path / "share").mkdir()
    boto_ecr.create_repository(repositoryName="skydrm/rms")
    return Desk(tmp_path).of(tmp_path / "share")


def test_a_promoter_with_all_rights(machine: Desk, aws: Aws, ecr: EcrFront):
    """Everything that a promotion reads was read, nothing else was called, and the role was asked about."""
    ecr.requests.clear()
    found = told(machine, "--for", "promote")
    found.ended("aws: identity", "ok", ARN)
    found.ended("aws: clock", "ok", "agree")
    found.ended("ecr: registry", "ok", REGION, "gives a token")
    found.ended("ecr: skydrm/rms", "ok", "may be read; 0 tags")
    found.ended("ecr: rights to push", "ok", "allowed by the policies")
    assert {each.action for each in ecr.requests.all()} == READS
    assert [form["Action"][0] for form in aws.asked] == ["GetCallerIdentity", "SimulatePrincipalPolicy"]


def test_rights_that_cannot_be_asked_about_are_no_failure(machine: Desk, aws: Aws):
    """Most principals may not simulate: it is said, with what would help."""
    aws.refuses_simulation = True
    found = told(machine, "--for", "promote")
    found.ended("ecr: rights to push", "warning", "could not be checked", "iam:SimulatePrincipalPolicy")


def test_missing_rights_to_push_are_named(machine: Desk, aws: Aws):
    """Each action, with its repository."""
    aws.denied = ("ecr:PutImage", "ecr:UploadLayerPart")
    found = told(machine, "--for", "promote")
    said = f"{ROLE} may not ecr:UploadLayerPart on skydrm/rms, ecr:PutImage on skydrm/rms"
    found.ended("ecr: rights to push", "fail", said, "docs/devops.md")
    assert not set(aws.denied) - set(PUSH_ACTIONS)


def test_the_rights_follow_the_configuration(machine: Desk, aws: Aws):
    """What creates repositories, tags them, moves tags and reads scans needs more."""
    told(machine, "--for", "promote")
    usual = _actions_of(aws)
    lines = 'create_repositories = true\nmoving_tags = ["latest"]\nrepository_tags = { product = "SkyDRM" }\n'
    machine.edit("[ecr]\n", f"[ecr]\n{lines}")
    machine.append('[policy]\nscan = ["CRITICAL"]\n')
    aws.denied = ("ecr:CreateRepository",)
    found = told(machine, "--for", "promote")
    found.ended("ecr: rights to push", "fail", "may not ecr:CreateRepository on skydrm/rms")
    every = _actions_of(aws)
    assert usual == set(PUSH_ACTIONS)
    more = {"DescribeImageScanFindings", "CreateRepository", "TagResource", "PutImageTagMutability"}
    assert every - usual == {f"ecr:{action}" for action in more}
    policy = marked(ROOT / "docs" / "devops.md", "promoter-policy")[0].text
    assert every <= set(re.findall(r"ecr:\w+", policy))


def _actions_of(aws: Aws) -> set[str]:
    """Return the actions that IAM was last asked about."""
    return {values[0] for name, values in aws.asked[-1].items() if name.startswith("ActionNames.member")}


def test_an_approver_needs_no_rights_to_push(machine: Desk, aws: Aws):
    """It only reads, and is not asked about."""
    found = told(machine, "--for", "approve")
    found.ended("ecr: skydrm/rms", "ok")
    assert "ecr: rights to push" not in str(found.result)


def test_no_credentials(machine: Desk, monkeypatch: pytest.MonkeyPatch):
    """It says where boto3 looks; nothing that needs them is tried."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    found = told(machine, "--for", "promote")
    assert found.status == 2
    found.ended("aws: identity", "fail", "boto3 found no AWS credentials", "AWS_PROFILE")
    for name in ("aws: clock", "ecr: registry", "ecr: skydrm/rms", "ecr: rights to push"):
        found.ended(name, "skipped", "not checked: needs aws: identity")


def test_expired_credentials(machine: Desk, aws: Aws):
    """Sign in again; the clock was measured all the same."""
    aws.refuses_identity = "ExpiredToken"
    found = told(machine, "--for", "promote")
    found.ended("aws: identity", "fail", "have expired", "sign in again")
    found.ended("aws: clock", "ok", "agree")
    found.ended("ecr: registry", "skipped", "needs aws: identity")


def test_a_wrong_clock_is_found_behind_a_refused_signature(machine: Desk, aws: Aws):
    """AWS only says that the signature is wrong; the time in its answer says why."""
    aws.refuses_identity, aws.ahead = "SignatureDoesNotMatch", timedelta(minutes=10)
    found = told(machine, "--for", "promote")
    found.ended("aws: identity", "fail", "does not accept the signature")
    found.ended("aws: clock", "fail", "10 minutes behind AWS", "chrony")


def test_another_account(machine: Desk, aws: Aws):
    """It may be meant: registries are used across accounts."""
    aws.account, aws.arn = "999999999999", "arn:aws:iam::999999999999:user/release"
    aws.refuses_simulation = True
    found = told(machine, "--for", "approve")
    found.ended("aws: identity", "warning", f"the registry is that of account {ACCOUNT}", "ecr.account")


def test_a_repository_that_is_missing(machine: Desk, boto_ecr: Any):
    """In the wrong region or account it is missing too: both are named. A promotion may create it."""
    boto_ecr.delete_repository(repositoryName="skydrm/rms", force=True)
    found = told(machine, "--for", "approve")
    said = f"there is no repository skydrm/rms in {REGION} of account {ACCOUNT}"
    found.ended("ecr: skydrm/rms", "fail", said, "ecr.region")
    machine.edit("[ecr]\n", "[ecr]\ncreate_repositories = true\n")
    told(machine, "--for", "approve").ended("ecr: skydrm/rms", "ok", "the first promotion creates it")


def test_a_repository_that_may_not_be_read(machine: Desk, ecr: EcrFront, monkeypatch: pytest.MonkeyPatch):
    """The right is named; the other repositories are looked at all the same."""
    arn = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/skydrm/rms"
    statements = [
        PolicyStatement(actions=["ecr:GetAuthorizationToken"]),
        PolicyStatement(actions=["ecr:DescribeRepositories", "ecr:ListImages"], resources=[arn]),
    ]
    key, secret = ecr.state.add_user("half", statements)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    found = told(machine, "--for", "approve")
    found.ended("ecr: registry", "ok")
    found.ended("ecr: skydrm/rms", "fail", "must allow ecr:BatchGetImage")


def test_aws_that_cannot_be_reached(machine: Desk, monkeypatch: pytest.MonkeyPatch):
    """It ends in time, and says what is on the way."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://{LOOPBACK}:{free_port()}")
    found = told(machine, "--for", "approve")
    assert found.status == 5
    found.ended("aws: identity", "fail", "proxy and firewall")


def test_a_product_without_images_needs_no_aws(machine: Desk, aws: Aws):
    """Installers go to the release area."""
    machine.keep_images(0)
    machine.append("\n[[installers]]\nfiles = 'out/*'\n")
    found = told(machine, "--for", "approve")
    found.ended("aws", "skipped", "not needed: the product has no images")
    assert not aws.asked


def test_each_call_has_a_deadline(machine: Desk, aws: Aws, monkeypatch: pytest.MonkeyPatch):
    """A check that does not end is a failure of that check, not of the doctor."""
    silent: Callable[[Request], None] = lambda _: None  # noqa: E731 - what RawServer takes
    with RawServer(silent) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        machine.append("[network]\nanswer_s = 1\n")
        found = told(machine, "--for", "approve")
    found.ended("aws: identity", "fail")
    assert found.named("ok") >= {"share: path", "program"}
