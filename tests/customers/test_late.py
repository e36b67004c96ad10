"""IAM, ECR and Secrets Manager show a change some moments later: nothing follows from what was before it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from jenkins_release.aws import aws_client
from jenkins_release.base.errors import ConfigurationError, GateRefused, RemoteError
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.state import REGION
from jenkins_release.steps.customers.audit import audit_customers
from jenkins_release.steps.customers.handover import SecretHandOver
from jenkins_release.steps.customers.issue import IssueRequest, issue_customer
from jenkins_release.steps.customers.revoke import RevokeRequest, revoke_customer
from jenkins_release.steps.customers.rotate import RotateRequest, rotate_customer
from tests.customers.test_faults import watched
from tests.fixtures.customers import CustomerLab

USER = "skydrm-acme"


@pytest.fixture(params=[1, 2], ids=lambda reads: f"late by {reads}")
def late(lab: CustomerLab, request: pytest.FixtureRequest) -> CustomerLab:
    """An account whose IAM is late by one or two reads of each kind."""
    lab.be_late(request.param)
    return lab


def rotate(lab: CustomerLab, **given):
    return rotate_customer(RotateRequest("ACME", lab.handover(), **given), lab.services)


def revoke(lab: CustomerLab, **given):
    return revoke_customer(RevokeRequest("ACME", "contract ended", **given), lab.services)


def active(report) -> dict[str, bool]:
    """Key to whether it works, as a report has it."""
    return {key.key_id: key.active for key in report.keys}


def test_an_access_is_issued_once(late: CustomerLab):
    """User, tags, policy and key are there, the key works, and the report has it."""
    report = late.issue()
    assert active(report) == {report.key_id: True}
    assert len(late.files()) == 1
    late.be_late(0)
    assert audit_customers(late.services).findings == ()
    assert late.issue().done == ()


def test_a_rotation_goes_through_its_states(late: CustomerLab):
    """Each report shows the keys as they are then."""
    old = late.issue().key_id
    first = rotate(late)
    assert active(first) == {old: True, first.new: True}
    late.clock.pass_days(15)
    off = rotate(late)
    assert (off.state, active(off)) == ("switched off", {old: False, first.new: True})
    last = rotate(late)
    assert (last.state, active(last)) == ("deleted", {first.new: True})
    late.be_late(0)
    assert audit_customers(late.services).findings == ()


def test_an_access_that_was_renewed_is_rotated(late: CustomerLab):
    """The last day from before would say that it ended."""
    late.issue(expires_days=1, networks=("203.0.113.0/24",))
    late.clock.pass_days(3)
    late.issue(expires_days=30, networks=("any",))
    assert rotate(late, dry_run=True).state == "handed over"


def test_a_revocation_holds_and_is_undone(late: CustomerLab):
    """No key is left that was made to try with."""
    key = late.issue().key_id
    report = revoke(late)
    assert report.proof
    late.be_late(0)
    (left,) = late.iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]
    assert (left["AccessKeyId"], left["Status"]) == (key, "Inactive")
    assert "probe" not in late.state()[USER]["tags"]
    late.be_late(2)
    assert revoke(late, undo=True).state == "restored"
    late.be_late(0)
    (left,) = late.iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]
    assert (left["AccessKeyId"], left["Status"]) == (key, "Active")


def test_a_deletion_leaves_nothing(late: CustomerLab):
    """Keys, policies and the user are gone."""
    late.issue()
    revoke(late)
    late.clock.pass_days(40)
    assert revoke(late, delete=True).state == "deleted"
    late.be_late(0)
    assert late.state() == {}


@pytest.mark.parametrize("journey", ["issue", "rotate", "revoke"])
def test_a_key_whose_answer_was_lost_is_found_behind_a_late_list(late: CustomerLab, journey: str):
    """IAM made it, nobody has its secret, and the list does not show it when another one is made."""
    if journey != "issue":
        late.issue()
    begin = {"issue": late.issue, "rotate": lambda: rotate(late), "revoke": lambda: revoke(late)}[journey]
    with watched(late) as calls:
        calls.fault, calls.lose = "lose", "CreateAccessKey"
        begin()
    assert calls.names.count("CreateAccessKey") >= 2
    late.be_late(0)
    listed = late.iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]
    assert len(listed) == {"issue": 1, "rotate": 2, "revoke": 1}[journey]
    assert len(late.files()) == {"issue": 1, "rotate": 2, "revoke": 1}[journey]


def test_a_key_that_is_known_at_one_place_only_proves_nothing(lab: CustomerLab):
    """A push that is refused because the key is too new says nothing about its rights."""
    lab.issue()
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    text = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    lab.iam.put_user_policy(UserName=USER, PolicyName="more", PolicyDocument=text)
    lab.iam.create_policy(PolicyName="wide", PolicyDocument=text)
    arn = "arn:aws:iam::123456789012:policy/wide"
    lab.iam.put_user_permissions_boundary(UserName=USER, PermissionsBoundary=arn)
    unknown = Fault(action="InitiateLayerUpload", status=400, code="UnrecognizedClientException", count=2)
    lab.front.faults.add(unknown)
    with pytest.raises(GateRefused, match="may push"):
        rotate(lab)
    assert len(lab.files()) == 1


def test_a_boundary_that_is_somewhere_else_is_told(lab: CustomerLab):
    """Names of policies are unique over all paths: IAM has one of that name under another path."""
    deny = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    text = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    lab.iam.create_policy(PolicyName="skydrm-customer-boundary", Path="/elsewhere/", PolicyDocument=text)
    retry = lab.services.configuration.retry.model_copy(update={"deadline_s": 0.3})
    lab.services.configuration = lab.services.configuration.model_copy(update={"retry": retry})
    with pytest.raises(RemoteError, match="does not show the policy") as caught:
        lab.issue()
    assert "under another path" in caught.value.hint
    assert lab.state() == {}


def test_a_secret_that_shows_late_is_no_reason_for_another_key(late: CustomerLab):
    """The run after this one would delete the key that the customer was given."""
    store, name = late.services.secret_store, "skydrm/customers/acme"
    handover = SecretHandOver(store, name)
    first = issue_customer(IssueRequest("ACME", "DEVOPS-1", handover), late.services).key_id
    assert store.holds(name, first)
    second = rotate_customer(RotateRequest("ACME", handover), late.services).new
    assert store.holds(name, second)
    late.be_late(0)
    listed = late.iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]
    assert {each["AccessKeyId"] for each in listed} == {first, second}


def test_a_secret_that_is_being_deleted_is_told_with_what_to_do(lab: CustomerLab):
    """A mistake of the request, told before anything is made; also where it was deleted a moment ago."""
    store = lab.services.secret_store
    words = "You can't create this secret because a secret with this name is already scheduled for deletion."
    store._client.meta.events.register(
        "before-send.secrets-manager.CreateSecret",
        lambda request, **_: refusal(request, "InvalidRequestException", words),
    )
    with pytest.raises(ConfigurationError, match="scheduled for deletion") as caught:
        store.put("acme", "AKIA", "x", owner=USER, description="")
    assert "restore-secret" in caught.value.hint
    client = aws_client("secretsmanager", REGION)
    client.create_secret(Name="acme", SecretString="x", Tags=[{"Key": "customer-user", "Value": USER}])
    client.delete_secret(SecretId="acme", RecoveryWindowInDays=7)
    done = lab.run("customer", "issue", "ACME", "--ticket", "DEVOPS-7", "--secret", "acme")
    assert done.status == 2
    assert "the secret acme is about to be deleted" in done.err
    assert lab.state() == {}


def refusal(request: Any, code: str, message: str) -> AWSResponse:
    """AWS's refusal, as a service with JSON writes it."""
    answer = AWSResponse(request.url, 400, {"Content-Type": "application/x-amz-json-1.1"}, None)
    answer._content = json.dumps({"__type": code, "message": message}).encode()
    return answer
