"""The sandbox's ECS and Run Command: they progress, fail, and check signatures, rights and arguments."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from jenkins_release.aws import aws_client
from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.aws.api import JsonApi
from jenkins_release.sandbox.aws.ecs_state import EcsState
from jenkins_release.sandbox.aws.ssm_api import Instance
from jenkins_release.sandbox.ecr.state import REGION, PolicyStatement
from jenkins_release.sandbox.saas import CLUSTER, create_services
from tests.fixtures.saas import SaasStack


@pytest.fixture
def ecs(bare_stack: SaasStack) -> Any:
    """A client of an ECS with one service, which takes its steps by hand."""
    client = aws_client("ecs", REGION, attempts=1)
    bare_stack.front.ecs.pace = "hand"
    create_services(client, ["rms"])
    bare_stack.settle()
    return client


def deployments(ecs: Any) -> list[tuple[str, str, int, int]]:
    """Status, rollout state, pending and running tasks of each deployment."""
    (service,) = ecs.describe_services(cluster=CLUSTER, services=["rms"])["services"]
    return [
        (each["status"], each["rolloutState"], each["pendingCount"], each["runningCount"])
        for each in service["deployments"]
    ]


def test_a_deployment_goes_from_pending_to_running_to_steady(bare_stack: SaasStack, ecs: Any):
    """Old tasks run until the new ones do; then one deployment is left."""
    assert deployments(ecs) == [("PRIMARY", "COMPLETED", 0, 2)]
    made = ecs.register_task_definition(
        family="new", containerDefinitions=[{"name": "rms", "image": "public"}]
    )
    arn = made["taskDefinition"]["taskDefinitionArn"]
    ecs.update_service(cluster=CLUSTER, service="rms", taskDefinition=arn)
    seen = []
    for _ in range(8):
        bare_stack.front.ecs.step()
        if not seen or seen[-1] != deployments(ecs):
            seen.append(deployments(ecs))
    old = ("ACTIVE", "COMPLETED", 0, 2)
    assert seen[:2] == [
        [("PRIMARY", "IN_PROGRESS", 2, 0), old],
        [("PRIMARY", "IN_PROGRESS", 0, 2), old],
    ]
    assert seen[-1] == [("PRIMARY", "COMPLETED", 0, 2)]
    (service,) = ecs.describe_services(cluster=CLUSTER, services=["rms"])["services"]
    assert service["events"][0]["message"] == "(service rms) has reached a steady state."


def test_time_moves_it_where_the_clock_does(bare_stack: SaasStack, ecs: Any):
    """A step for each 0.2 seconds, however seldom somebody looks."""
    now = [1000.0]
    state = EcsState(bare_stack.front.state, pace="clock", step_s=0.2, clock=lambda: now[0])
    steps: list[int] = []
    state.step = lambda: steps.append(1)  # type: ignore[method-assign]
    state.looked()
    now[0] += 0.5
    state.looked()
    now[0] += 0.15
    state.looked()
    assert len(steps) == 3


def test_an_image_that_ecr_does_not_have_cannot_be_pulled(bare_stack: SaasStack, ecs: Any):
    """The task stops with the reason that ECS gives."""
    image = f"{bare_stack.front.host}/skydrm/rms@sha256:{'1' * 64}"
    made = ecs.register_task_definition(family="new", containerDefinitions=[{"name": "rms", "image": image}])
    arn = made["taskDefinition"]["taskDefinitionArn"]
    ecs.update_service(cluster=CLUSTER, service="rms", taskDefinition=arn)
    bare_stack.settle()
    stopped = ecs.list_tasks(cluster=CLUSTER, serviceName="rms", desiredStatus="STOPPED")["taskArns"]
    reasons = {each["stoppedReason"] for each in ecs.describe_tasks(cluster=CLUSTER, tasks=stopped)["tasks"]}
    assert any(reason.startswith("CannotPullContainerError") for reason in reasons)
    assert deployments(ecs)[0][1] == "FAILED"


@pytest.mark.parametrize(
    ("action", "arguments", "code"),
    [
        ("describe_services", {"cluster": "none", "services": ["rms"]}, "ClusterNotFoundException"),
        ("update_service", {"cluster": CLUSTER, "service": "none"}, "ServiceNotFoundException"),
        ("list_tasks", {"cluster": CLUSTER, "serviceName": "none"}, "ServiceNotFoundException"),
        ("describe_task_definition", {"taskDefinition": "none"}, "ClientException"),
        (
            "update_service",
            {"cluster": CLUSTER, "service": "rms", "taskDefinition": "none:1"},
            "ClientException",
        ),
        (
            "register_task_definition",
            {"family": "big", "containerDefinitions": [{"name": "x" * 70_000, "image": "y"}]},
            "ClientException",
        ),
        ("delete_cluster", {"cluster": CLUSTER}, "UnknownOperationException"),
    ],
)
def test_wrong_calls_are_answered_with_aws_s_codes(ecs: Any, action, arguments, code):
    """As the API reference names them."""
    with pytest.raises(ClientError) as caught:
        getattr(ecs, action)(**arguments)
    assert caught.value.response["Error"]["Code"] == code


def test_a_service_that_does_not_exist_is_a_failure_in_the_answer(ecs: Any):
    """DescribeServices raises nothing for it."""
    answer = ecs.describe_services(cluster=CLUSTER, services=["rms", "none"])
    assert [each["serviceName"] for each in answer["services"]] == ["rms"]
    assert [each["reason"] for each in answer["failures"]] == ["MISSING"]


def test_rights_are_those_of_the_policy(bare_stack: SaasStack, ecs: Any, monkeypatch):
    """On the service's ARN; a wrong secret is no right at all."""
    mine = PolicyStatement(
        actions=["ecs:DescribeServices"], resources=[f"arn:aws:ecs:{REGION}:123456789012:service/skydrm/rms"]
    )
    key, secret = bare_stack.front.state.add_user("reader", [mine])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    reader = aws_client("ecs", REGION, attempts=1)
    assert reader.describe_services(cluster=CLUSTER, services=["rms"])["services"]
    for action, arguments in (
        ("describe_services", {"cluster": CLUSTER, "services": ["other"]}),
        ("update_service", {"cluster": CLUSTER, "service": "rms"}),
    ):
        with pytest.raises(ClientError) as caught:
            getattr(reader, action)(**arguments)
        assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ClientError) as caught:
        aws_client("ecs", REGION, attempts=1).describe_services(cluster=CLUSTER, services=["rms"])
    assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"


def test_an_answer_that_aws_could_not_give_is_a_mistake_of_the_sandbox():
    """It is noticed by whoever breaks it."""
    for answer in ({"taskArns": "no list"}, {"tasks": []}):
        api = JsonApi("ecs", {"ListTasks": lambda _, a=answer: a}, lambda *_: ["*"], invalid="x")
        with pytest.raises(ApiFault, match="the sandbox's answer is wrong"):
            api.answer("ListTasks", {})


def test_a_command_goes_over_the_instances_in_batches(bare_stack: SaasStack):
    """So many at a time, no more after too many errors, and cancelled where somebody asks."""
    state = bare_stack.front.ssm
    state.pace = "hand"
    for number in range(4):
        ends = "Failed" if number == 1 else "Success"
        ident = f"i-0000000000000000{number}"
        state.instances[ident] = Instance(ident=ident, tags={"Stack": "s"}, ends=ends)
    ssm = aws_client("ssm", REGION, attempts=1)
    sent = ssm.send_command(
        DocumentName="AWS-RunShellScript",
        Targets=[{"Key": "tag:Stack", "Values": ["s"]}],
        MaxConcurrency="50%",
        MaxErrors="0",
    )["Command"]["CommandId"]

    def statuses() -> list[str]:
        found = ssm.list_command_invocations(CommandId=sent)["CommandInvocations"]
        return [each["StatusDetails"] for each in found]

    assert statuses() == ["Pending"] * 4
    state.step()
    assert statuses() == ["InProgress", "InProgress", "Pending", "Pending"]
    state.step()
    assert statuses() == ["Success", "Failed", "Terminated", "Terminated"]
    (command,) = ssm.list_commands(CommandId=sent)["Commands"]
    assert (command["Status"], command["ErrorCount"]) == ("Failed", 1)
    with pytest.raises(ClientError) as caught:
        ssm.cancel_command(CommandId="11111111-1111-4111-8111-111111111111")
    assert caught.value.response["Error"]["Code"] == "InvalidCommandId"
