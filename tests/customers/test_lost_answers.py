"""A change is done, and its answer is lost once: whatever call it was, the run ends as it would have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from jenkins_release.aws import aws_client
from jenkins_release.base.errors import RemoteError
from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION
from jenkins_release.steps.customers.account import AccountRequest, issue_account, revoke_account
from jenkins_release.steps.customers.handover import SecretHandOver
from jenkins_release.steps.customers.issue import IssueRequest, issue_customer
from jenkins_release.steps.customers.revoke import RevokeRequest, revoke_customer
from jenkins_release.steps.customers.rotate import RotateRequest, rotate_customer
from tests.customers.test_faults import wipe
from tests.faults.http_proxy import Exchange, HttpProxy, Order
from tests.fixtures.customers import CustomerLab

USER, SECRET = "skydrm-acme", "skydrm/customers/acme"
CHANGES = "(?!Get|List|Describe|Batch).*"
"""Labels of the calls that change something."""
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/skydrm/customers/skydrm-customer-boundary"

NOTHING = json.dumps(
    {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}
)
"""A policy that allows nothing."""


@dataclass
class Lines:
    """The wires to IAM and Secrets Manager, and to ECR."""

    aws: HttpProxy
    ecr: HttpProxy

    def suffer(self, skip: int, times: int | None = 1, label: str = CHANGES) -> list[Order]:
        """Lose answers of either wire."""
        orders = []
        for proxy in (self.aws, self.ecr):
            orders.append(Order(label, lose, skip=skip, times=times))
            proxy.suffer(orders[-1])
        return orders

    def changes(self) -> tuple[list[str], list[str]]:
        """Return the changes that arrived on each, and forget them."""
        found = tuple(
            [label for label in each.seen if re.fullmatch(CHANGES, label)] for each in (self.aws, self.ecr)
        )
        for each in (self.aws, self.ecr):
            each.heal()
            each.seen.clear()
        return found  # type: ignore[return-value]  # of two


def lose(exchange: Exchange) -> None:
    """Have the server do it, and break the connection."""
    exchange.forward()
    exchange.reset()


@pytest.fixture
def lines(lab: CustomerLab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Wires that everything goes over."""
    images = lab.services.configuration.images[:1]
    lab.services.configuration = lab.services.configuration.model_copy(update={"images": images})
    made = Lines(*(HttpProxy(urlsplit(each.endpoint).port or 0) for each in (lab.moto, lab.front)))
    for server, proxy in ((lab.moto, made.aws), (lab.front, made.ecr)):
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value.replace(server.endpoint, f"http://127.0.0.1:{proxy.port}"))
    yield made
    made.aws.close()
    made.ecr.close()


def issue(lab: CustomerLab) -> None:
    lab.issue()


def rotate(lab: CustomerLab) -> None:
    rotate_customer(RotateRequest("ACME", lab.handover()), lab.services)


def later(days: float, action: Callable[[CustomerLab], None]) -> Callable[[CustomerLab], None]:
    def act(lab: CustomerLab) -> None:
        lab.clock.pass_days(days)
        try:
            action(lab)
        finally:
            lab.clock.pass_days(-days)

    return act


def revoke(lab: CustomerLab) -> None:
    revoke_customer(RevokeRequest("ACME", "contract ended"), lab.services)


def undo(lab: CustomerLab) -> None:
    revoke_customer(RevokeRequest("ACME", undo=True), lab.services)


def delete(lab: CustomerLab) -> None:
    revoke_customer(RevokeRequest("ACME", delete=True), lab.services)


def networks(lab: CustomerLab) -> None:
    lab.issue(networks=("203.0.113.0/24",))


def any_network(lab: CustomerLab) -> None:
    lab.issue(networks=("any",))


def with_secret(lab: CustomerLab) -> None:
    handover = SecretHandOver(lab.services.secret_store, SECRET)
    issue_customer(IssueRequest("ACME", "DEVOPS-123", handover), lab.services)


def into_secret(lab: CustomerLab) -> None:
    rotate_customer(RotateRequest("ACME", SecretHandOver(lab.services.secret_store, SECRET)), lab.services)


def foreign(lab: CustomerLab) -> None:
    """Give the user more than it is to have, and the boundary four versions besides."""
    client = aws_client("iam", REGION)
    client.create_group(GroupName="staff")
    client.add_user_to_group(GroupName="staff", UserName=USER)
    client.create_login_profile(UserName=USER, Password="hunter2-Hunter2")
    client.attach_user_policy(UserName=USER, PolicyArn=BOUNDARY)


def bounded_otherwise(lab: CustomerLab) -> None:
    """Give the user another boundary."""
    arn = lab.iam.create_policy(PolicyName="staff", PolicyDocument=NOTHING)["Policy"]["Arn"]
    lab.iam.put_user_permissions_boundary(UserName=USER, PermissionsBoundary=arn)


def five_versions(lab: CustomerLab) -> None:
    """Change the boundary until it has as many versions as IAM allows: the oldest makes room for the next."""
    _change_boundary(lab, 4)


def four_versions(lab: CustomerLab) -> None:
    """Change the boundary until four versions of it are there."""
    _change_boundary(lab, 3)


def _change_boundary(lab: CustomerLab, times: int) -> None:
    for _ in range(times):
        lab.iam.create_policy_version(PolicyArn=BOUNDARY, PolicyDocument=NOTHING, SetAsDefault=True)


def share(lab: CustomerLab) -> None:
    issue_account(AccountRequest("ACME", "DEVOPS-123", "210987654321"), lab.services)


def unshare(lab: CustomerLab) -> None:
    revoke_account("ACME", lab.services)


Step = Callable[[CustomerLab], None]
JOURNEYS: dict[str, tuple[list[Step], Step]] = {
    "issue": ([], issue),
    "issue into a secret": ([], with_secret),
    "other networks": ([issue], networks),
    "any network": ([networks], any_network),
    "another boundary": ([issue, four_versions], issue),
    "another boundary in place of the oldest": ([issue, five_versions], issue),
    "a user with another boundary": ([issue, bounded_otherwise], issue),
    "rotate": ([issue], rotate),
    "rotate into a secret": ([with_secret], into_secret),
    "switch off": ([issue, rotate], later(20, rotate)),
    "end a rotation": ([issue, rotate, later(20, rotate)], later(20, rotate)),
    "revoke": ([issue], revoke),
    "undo": ([issue, revoke], undo),
    "delete": ([issue, revoke, foreign], later(40, delete)),
    "let an account in": ([], share),
    "take an account away": ([share], unshare),
}


NAMED = {
    "another boundary in place of the oldest": "DeletePolicyVersion",
    "a user with another boundary": "PutUserPermissionsBoundary",
}
"""Calls that a journey is there for."""


def prepare(lab: CustomerLab, lines: Lines, journey: str) -> Callable[[], None]:
    """Bring the account to where a journey begins, and return what brings it back there."""
    wipe(lab)
    with lab.front.state.change() as document:
        for repository in document.repositories.values():
            repository.policy = ""
    for step in JOURNEYS[journey][0]:
        step(lab)
    lines.changes()
    return lab.keep()


def state(lab: CustomerLab) -> dict[str, Any]:
    """What is there in the end."""
    versions: list[Any] = []
    for policy in lab.iam.list_policies(Scope="Local")["Policies"]:
        found = lab.iam.list_policy_versions(PolicyArn=policy["Arn"])["Versions"]
        versions.append((policy["Arn"], len(found)))
    with lab.front.state.read() as document:
        policies = {name: each.policy for name, each in document.repositories.items()}
    secrets = lab.secrets.list_secrets()["SecretList"]
    return {
        "users": lab.state(),
        "policies": policies,
        "versions": versions,
        "secrets": [each["Name"] for each in secrets],
        "files": len(lab.files()),
    }


@pytest.mark.parametrize("journey", JOURNEYS)
def test_a_lost_answer_changes_nothing(lab: CustomerLab, lines: Lines, journey: str):
    """The run goes on, and ends as it would have ended."""
    action = JOURNEYS[journey][1]
    begin = prepare(lab, lines, journey)
    action(lab)
    aws, ecr = lines.changes()
    expected = state(lab)
    assert aws or ecr
    assert NAMED.get(journey, "") in {"", *aws, *ecr}
    for number in range(max(len(aws), len(ecr))):
        begin()
        orders = lines.suffer(number)
        action(lab)
        told = f"the answer to {[each[number] for each in (aws, ecr) if number < len(each)]}"
        assert sum(order.hits for order in orders) == sum(number < len(each) for each in (aws, ecr)), told
        lines.changes()
        assert state(lab) == expected, told


@pytest.mark.parametrize("journey", ["issue", "rotate", "revoke"])
def test_a_key_that_nobody_heard_of_is_deleted_and_named(lab: CustomerLab, lines: Lines, journey: str):
    """No answer to any attempt: each made a key, and nobody has the secret of one."""
    action = JOURNEYS[journey][1]
    prepare(lab, lines, journey)
    before = keys(lab)
    lines.suffer(0, None, "CreateAccessKey")
    with pytest.raises(RemoteError) as caught:
        action(lab)
    assert lines.changes()[0].count("CreateAccessKey") == lab.services.configuration.retry.attempts
    assert keys(lab) == before
    assert "a key whose secret is lost; running the command again deletes it" in caught.value.hint
    action(lab)
    assert len(keys(lab)) == len(before) + (journey != "revoke")


def keys(lab: CustomerLab) -> list[str]:
    """Return the ids of the customer's keys."""
    if USER not in lab.state():
        return []
    return [each["AccessKeyId"] for each in lab.iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]]
