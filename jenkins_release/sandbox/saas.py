"""A SaaS stack to rehearse with: services on the sandbox's ECS, and the section that describes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

CLUSTER = "skydrm"
STACK = "rehearsal"
_OLD_IMAGE = "skydrm-before-the-first-refresh"
_HEAD = """
[saas]
strategy = "ecs"
stack = "{stack}"
cluster = "{cluster}"
deadline_s = {deadline}
poll_s = {poll}
"""
_SERVICE = """
[[saas.services]]
name = "{name}"
containers = {{ {name} = "{name}" }}
"""
_HEALTH = """
[[saas.health]]
url = "{url}"
version_field = "build.version"
successes = 3
interval_s = {poll}
deadline_s = {deadline}
"""


def saas_toml(
    names: Sequence[str],
    application: Callable[[str, str], str],
    *,
    cluster: str = CLUSTER,
    poll_s: float = 0.2,
    deadline_s: float = 60.0,
) -> str:
    """Return the section ``[saas]`` for a stack with one service for each image.

    Args:
        names: Short names of the images, which the services and their containers have too.
        application: Returns the URL at which a service of a cluster answers.
        cluster: Name of the cluster.
        poll_s: Time between two looks, in seconds.
        deadline_s: Longest wait, in seconds.
    """
    text = _HEAD.format(stack=STACK, cluster=cluster, deadline=deadline_s, poll=poll_s)
    for name in names:
        text += _SERVICE.format(name=name)
    for name in names:
        text += _HEALTH.format(url=application(cluster, name), poll=poll_s, deadline=deadline_s)
    return text


def create_services(
    ecs: Any, names: Sequence[str], *, cluster: str = CLUSTER, desired: int = 2, rollback: bool = False
) -> None:
    """Create the cluster and its services, which run an image that is no release.

    Args:
        ecs: A boto3 ``ecs`` client.
        names: Names of the services.
        cluster: Name of the cluster.
        desired: Tasks of each.
        rollback: Whether ECS returns by itself from a deployment that its circuit breaker gave up.
    """
    ecs.create_cluster(clusterName=cluster)
    for name in names:
        made = ecs.register_task_definition(
            family=f"{cluster}-{name}",
            executionRoleArn="arn:aws:iam::123456789012:role/ecs-execution",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="512",
            memory="1024",
            containerDefinitions=[
                {
                    "name": name,
                    "image": _OLD_IMAGE,
                    "essential": True,
                    "environment": [{"name": "STACK", "value": STACK}],
                    "portMappings": [{"containerPort": 8080, "protocol": "tcp"}],
                },
                {"name": "log-router", "image": "fluent-bit", "essential": False},
            ],
            tags=[{"key": "product", "value": "SkyDRM"}],
        )
        ecs.create_service(
            cluster=cluster,
            serviceName=name,
            taskDefinition=made["taskDefinition"]["taskDefinitionArn"],
            desiredCount=desired,
            deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": rollback}},
        )
