"""The rights that docs/saas.md grants are the ones that the commands need, no more and no less."""

from __future__ import annotations

import contextlib

import pytest

from jenkins_release.base.errors import ReleaseError
from jenkins_release.sandbox.ecr.state import ACCOUNT, REGION, PolicyStatement
from tests.docs.scenarios import statements
from tests.fixtures.saas import SaasStack

_DOCUMENTED = "eu-central-1:123456789012"
ECS = {
    f"arn:aws:ecs:{_DOCUMENTED}:{what}": f"arn:aws:ecs:{REGION}:{ACCOUNT}:{what}"
    for what in ("service/skydrm/*", "task/skydrm/*")
}
_DOCUMENT = f"arn:aws:ssm:{REGION}::document/AWS-RunShellScript"
SSM = {
    f"arn:aws:ssm:{_DOCUMENTED}:document/SkyDRM-Install": _DOCUMENT,
    f"arn:aws:ec2:{_DOCUMENTED}:instance/*": f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/*",
}


def work_as(stack: SaasStack, granted: list[PolicyStatement], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Refresh, see, fail and return with these rights only; returns the actions that were called."""
    key, secret = stack.front.state.add_user("refresher", granted)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    stack.front.requests.clear()
    stack.refresh("8.1.0")
    stack.refresh("8.1.1")
    stack.rollback()
    stack.ok("saas", "status")
    stack.misbehave("pull", "8.1.1/50")
    for instance in stack.front.ssm.instances.values():
        instance.ends, instance.fails_on = "hang", "8.1.1"
    stack.edit("poll_s = 0.02", "poll_s = 5.0")
    with contextlib.suppress(ReleaseError):
        stack.refresh("8.1.1")
    assert stack.outcomes("8.1.1/50")[-1] == ("refresh", "returned")
    return {each.label for each in stack.front.requests.all() if each.principal.endswith("user/refresher")}


def actions(granted: list[PolicyStatement]) -> set[str]:
    """All actions of a policy."""
    return {action for each in granted for action in each.actions}


def test_the_documented_rights_are_those_of_a_stack_on_ecs(stack: SaasStack, monkeypatch):
    """Every action of the page is called, and no other."""
    granted = statements("saas.md", "refresher-ecs", ECS)
    assert work_as(stack, granted, monkeypatch) == actions(granted)


def test_the_documented_rights_are_those_of_a_stack_of_instances(ssm_stack: SaasStack, monkeypatch):
    """Cancelling included."""
    granted = statements("saas.md", "refresher-ssm", SSM)
    assert work_as(ssm_stack, granted, monkeypatch) == actions(granted)
