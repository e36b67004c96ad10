"""Amazon ECS as a refresh needs it: services, task definitions, tasks.

Facts are those of the Amazon ECS API reference and of the chapter "How the Amazon ECS deployment
circuit breaker detects failures" in its developer guide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from jenkins_release.aws.errors import error_code, translate
from jenkins_release.aws.session import aws_client
from jenkins_release.errors import ConfigurationError, ReleaseError

_SERVICES_AT_A_TIME = 10
"""Services in one DescribeServices."""
_TASKS_AT_A_TIME = 100
"""Tasks in one DescribeTasks, and on one page of ListTasks."""
_WRONG = frozenset({"ClientException", "InvalidParameterException", "LimitExceededException"})
"""Codes of a request that ECS does not take: it would not take it the second time either."""


@dataclass(frozen=True)
class Deployment:
    """A deployment of a service.

    Attributes:
        ident: Id, such as ``ecs-svc/0123456789``.
        status: ``PRIMARY`` for the newest one, ``ACTIVE`` while an older one still has tasks.
        task_definition: ARN of its task definition.
        desired: Tasks that it is to have.
        pending: Tasks that are starting.
        running: Tasks that run.
        failed: Tasks that did not come up, one after the other.
        rollout: ``IN_PROGRESS``, ``COMPLETED`` or ``FAILED``; empty where ECS does not tell.
        reason: What ECS says of that.
    """

    ident: str
    status: str
    task_definition: str
    desired: int
    pending: int
    running: int
    failed: int
    rollout: str
    reason: str


@dataclass(frozen=True)
class ServiceEvent:
    """A line of a service's event log; ECS keeps the last hundred."""

    ident: str
    created_at: datetime
    message: str


@dataclass(frozen=True)
class EcsService:
    """A service.

    Attributes:
        name: Its name.
        status: ``ACTIVE``, ``DRAINING`` or ``INACTIVE``.
        controller: ``ECS`` for rolling updates; ``CODE_DEPLOY`` or ``EXTERNAL``.
        desired: Tasks that it is to have.
        deployments: The newest one first.
        events: The newest one first.
    """

    name: str
    status: str
    controller: str
    desired: int
    deployments: tuple[Deployment, ...]
    events: tuple[ServiceEvent, ...]

    @property
    def primary(self) -> Deployment | None:
        """The newest deployment."""
        return next((each for each in self.deployments if each.status == "PRIMARY"), None)


@dataclass(frozen=True)
class TaskDefinition:
    """A revision of a task definition.

    Attributes:
        arn: Its ARN.
        family: Its family.
        active: Whether a service may be updated to it.
        settings: Its fields that RegisterTaskDefinition takes, tags included.
    """

    arn: str
    family: str
    active: bool
    settings: Mapping[str, Any] = field(repr=False)

    @property
    def images(self) -> dict[str, str]:
        """Container to image, as the definition names them."""
        return {each["name"]: each.get("image", "") for each in self.settings["containerDefinitions"]}


@dataclass(frozen=True)
class RunningTask:
    """A task that runs.

    Attributes:
        definition: ARN of its task definition.
        digests: Container to manifest digest that the agent pulled; empty where ECS does not tell.
        images: Container to image as it was asked for.
    """

    definition: str
    digests: Mapping[str, str]
    images: Mapping[str, str]


class EcsCluster(Protocol):
    """A cluster; errors are :class:`ReleaseError`."""

    def services(self, names: Sequence[str]) -> dict[str, EcsService]:
        """Describe services; one that does not exist is left out."""
        ...

    def task_definition(self, name: str) -> TaskDefinition:
        """Describe a revision by its ARN, or the newest active one of a family."""
        ...

    def register(self, settings: Mapping[str, Any]) -> str:
        """Register a new revision and return its ARN."""
        ...

    def deploy(self, service: str, definition: str, *, again: bool = False) -> None:
        """Let a service run a task definition.

        Args:
            service: Name of the service.
            definition: ARN of the task definition.
            again: Begin a new deployment although the service has this task definition already.
        """
        ...

    def tasks(self, service: str) -> list[RunningTask]:
        """Return the tasks of a service that run."""
        ...

    def stopped(self, service: str) -> list[str]:
        """Return why tasks of a service stopped lately, each reason once."""
        ...


class Ecs:
    """Amazon ECS.

    Args:
        region: AWS region.
        cluster: Name of the cluster.
        client: A boto3 ``ecs`` client instead of one from boto3's credential chain.
    """

    def __init__(self, region: str, cluster: str, *, client: Any = None) -> None:
        self._client = client or aws_client("ecs", region)
        self._region = region
        self.cluster = cluster

    def services(self, names: Sequence[str]) -> dict[str, EcsService]:
        """Describe services."""
        found: dict[str, EcsService] = {}
        for start in range(0, len(names), _SERVICES_AT_A_TIME):
            part = list(names[start : start + _SERVICES_AT_A_TIME])
            with self._errors(f"describe the services {', '.join(part)} of {self.cluster}"):
                answer = self._client.describe_services(cluster=self.cluster, services=part)
            for each in answer.get("services", []):
                if each.get("status") != "INACTIVE":  # deleted; ECS tells of it for a while
                    found[each["serviceName"]] = _service(each)
        return found

    def task_definition(self, name: str) -> TaskDefinition:
        """Describe a revision."""
        with self._errors(f"read the task definition {name}"):
            answer = self._client.describe_task_definition(taskDefinition=name, include=["TAGS"])
        said = answer["taskDefinition"]
        # All that this boto3 knows to register is taken over, and nothing else of the answer.
        taken = self._client.meta.service_model.operation_model("RegisterTaskDefinition").input_shape.members
        settings = {key: value for key, value in said.items() if key in taken}
        # Tags that begin with aws: are AWS's own; nobody else may set them.
        if tags := [each for each in answer.get("tags", []) if not each["key"].startswith("aws:")]:
            settings["tags"] = tags
        return TaskDefinition(
            said["taskDefinitionArn"], said["family"], said.get("status") == "ACTIVE", settings
        )

    def register(self, settings: Mapping[str, Any]) -> str:
        """Register a revision."""
        with self._errors(f"register a revision of {settings['family']}"):
            answer = self._client.register_task_definition(**settings)
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def deploy(self, service: str, definition: str, *, again: bool = False) -> None:
        """Update a service."""
        with self._errors(f"update the service {service} of {self.cluster}"):
            self._client.update_service(
                cluster=self.cluster,
                service=service,
                taskDefinition=definition,
                forceNewDeployment=again,
            )

    def tasks(self, service: str) -> list[RunningTask]:
        """Describe the running tasks."""
        found = []
        for each in self._tasks(service, "RUNNING"):
            if each.get("lastStatus") != "RUNNING":
                continue
            containers = each.get("containers", [])
            digests = {one["name"]: one["imageDigest"] for one in containers if one.get("imageDigest")}
            images = {one["name"]: one.get("image", "") for one in containers}
            found.append(RunningTask(each["taskDefinitionArn"], digests, images))
        return found

    def stopped(self, service: str) -> list[str]:
        """Return the reasons of stopped tasks, of the containers where these tell more."""
        reasons: dict[str, None] = {}
        for each in self._tasks(service, "STOPPED"):
            own = [
                f"{one['name']}: {one['reason']}" for one in each.get("containers", []) if one.get("reason")
            ]
            for reason in own or [each.get("stoppedReason", "")]:
                if reason and not reason.startswith("Scaling activity"):
                    reasons[reason] = None
        return list(reasons)

    def _tasks(self, service: str, status: str) -> Iterator[dict[str, Any]]:
        names: list[str] = []
        with self._errors(f"list the tasks of {service} in {self.cluster}"):
            pages = self._client.get_paginator("list_tasks").paginate(
                cluster=self.cluster, serviceName=service, desiredStatus=status
            )
            for page in pages:
                names += page.get("taskArns", [])
        for start in range(0, len(names), _TASKS_AT_A_TIME):
            with self._errors(f"describe the tasks of {service} in {self.cluster}"):
                answer = self._client.describe_tasks(
                    cluster=self.cluster, tasks=names[start : start + _TASKS_AT_A_TIME]
                )
            yield from answer.get("tasks", [])

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise self._translated(error, what) from error

    def _translated(self, error: Exception, what: str) -> ReleaseError:
        code = error_code(error)
        if code == "ClusterNotFoundException":
            return ConfigurationError(
                f"cannot {what}: there is no cluster {self.cluster} in {self._region}",
                hint="set saas.cluster and saas.region; check which account the credentials lead to",
            )
        found = translate(error, what)
        if code in _WRONG and not found.retryable:
            return ConfigurationError(found.message, hint="ECS does not take it as it stands")
        return found


def _service(said: Mapping[str, Any]) -> EcsService:
    return EcsService(
        name=said["serviceName"],
        status=said.get("status", ""),
        controller=said.get("deploymentController", {}).get("type", "ECS"),
        desired=said.get("desiredCount", 0),
        deployments=tuple(_deployment(each) for each in said.get("deployments", [])),
        events=tuple(
            ServiceEvent(each["id"], each["createdAt"].astimezone(UTC), each["message"])
            for each in said.get("events", [])
        ),
    )


def _deployment(said: Mapping[str, Any]) -> Deployment:
    return Deployment(
        ident=said["id"],
        status=said["status"],
        task_definition=said["taskDefinition"],
        desired=said.get("desiredCount", 0),
        pending=said.get("pendingCount", 0),
        running=said.get("runningCount", 0),
        failed=said.get("failedTasks", 0),
        rollout=said.get("rolloutState", ""),
        reason=said.get("rolloutStateReason", ""),
    )
