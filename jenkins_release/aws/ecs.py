"""The parts of Amazon ECS that a refresh needs: services, task definitions, tasks.

Sources: Amazon ECS API reference, and the chapter "How the Amazon ECS deployment
circuit breaker detects failures" in its developer guide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field
from datetime import UTC
from functools import cached_property
from typing import Any, Protocol

from jenkins_release.aws.errors import error_code, translate
from jenkins_release.aws.session import aws_client
from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.base.waits import Limits
from jenkins_release.records.stack_service import Deployment, EcsService, ServiceEvent

_SERVICES_AT_A_TIME = 10
"""Services in one DescribeServices."""
_WHOLE = "jenkins-release-whole"
"""Key of the definition as ECS wrote it, in an answer parsed by botocore."""
_TOLD_ONLY = frozenset(
    {
        "compatibilities",
        "deleteRequestedAt",
        "deregisteredAt",
        "registeredAt",
        "registeredBy",
        "requiresAttributes",
        "revision",
        "status",
        "taskDefinitionArn",
    }
)
"""Fields that ECS adds to a definition; they cannot be registered (ECS API reference, TaskDefinition)."""
_TASKS_AT_A_TIME = 100
"""Tasks in one DescribeTasks, and on one page of ListTasks."""
_AS_IT_STANDS = "ECS does not accept it"
_WRONG: Mapping[str, str] = {
    "ClientException": _AS_IT_STANDS,
    "InvalidParameterException": _AS_IT_STANDS,
    "NamespaceNotFoundException": "the service's Service Connect namespace is gone: create it again",
    "PlatformTaskDefinitionIncompatibilityException": "the service's platform version does not run this task "
    "definition: update the service's platform version",
    "PlatformUnknownException": "the service's platform version does not exist: update the service",
    "ServiceNotActiveException": "the service is being deleted: check saas.services",
    "ServiceNotFoundException": "check saas.services, saas.cluster, saas.region and the account",
    "UnsupportedFeatureException": _AS_IT_STANDS,
}
"""Error codes of requests that ECS would refuse again, and what to do."""


@dataclass(frozen=True)
class TaskDefinition:
    """A revision of a task definition.

    Attributes:
        arn: Its ARN.
        family: Its family.
        active: Whether a service may be updated to it.
        settings: Its fields for RegisterTaskDefinition, including tags.
        unknown: Paths of other fields that a new revision would lack, because this boto3 does not know them.
    """

    arn: str
    family: str
    active: bool
    settings: Mapping[str, Any] = field(repr=False)
    unknown: tuple[str, ...] = ()

    @property
    def images(self) -> dict[str, str]:
        """Container to image, as in the definition."""
        return {each["name"]: each.get("image", "") for each in self.settings["containerDefinitions"]}


@dataclass(frozen=True)
class RunningTask:
    """A running task.

    Attributes:
        definition: ARN of its task definition.
        digests: Container to manifest digest that the agent pulled; empty if ECS does not say.
        images: Container to requested image.
    """

    definition: str
    digests: Mapping[str, str]
    images: Mapping[str, str]


class EcsCluster(Protocol):
    """A cluster; errors are :class:`ReleaseError`."""

    def services(self, names: Sequence[str]) -> dict[str, EcsService]:
        """Describe services; missing ones are left out."""
        ...

    def task_definition(self, name: str) -> TaskDefinition:
        """Describe a revision by its ARN, or the newest active one of a family."""
        ...

    def register(self, settings: Mapping[str, Any]) -> str:
        """Register a new revision and return its ARN. If the answer is lost, it is the newest revision."""
        ...

    def deploy(self, service: str, definition: str, *, again: bool = False) -> str:
        """Let a service run a task definition; never repeated automatically.

        Args:
            service: Name of the service.
            definition: ARN of the task definition.
            again: Begin a new deployment even if the service already has this task definition.

        Returns:
            Id of the deployment. Later descriptions of the service may not show it yet: ECS is eventually
            consistent (ECS API reference, "Eventual consistency").
        """
        ...

    def tasks(self, service: str) -> list[RunningTask]:
        """Return the running tasks of a service."""
        ...

    def stopped(self, service: str) -> list[str]:
        """Return why tasks of a service stopped recently, each reason once."""
        ...


class Ecs:
    """Amazon ECS.

    Args:
        region: AWS region.
        cluster: Name of the cluster.
        client: A boto3 ``ecs`` client instead of one from boto3's credential chain.
        limits: How long a call may take.
    """

    def __init__(
        self, region: str, cluster: str, *, client: Any = None, limits: Limits | None = None
    ) -> None:
        self._client = client or aws_client("ecs", region, limits=limits)
        self._given, self._limits = client, limits
        self._client.meta.events.register(
            "before-parse.ecs.DescribeTaskDefinition", _keep_whole, unique_id="jenkins-release-whole"
        )
        self._region = region
        self.cluster = cluster

    @cached_property
    def _once(self) -> Any:
        # For calls that create something, check whether it exists before repeating them.
        return self._given or aws_client("ecs", self._region, attempts=1, limits=self._limits)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._client.close()
        if "_once" in self.__dict__:
            self._once.close()

    def services(self, names: Sequence[str]) -> dict[str, EcsService]:
        """Describe services."""
        found: dict[str, EcsService] = {}
        for start in range(0, len(names), _SERVICES_AT_A_TIME):
            part = list(names[start : start + _SERVICES_AT_A_TIME])
            with self._errors(f"describe the services {', '.join(part)} of {self.cluster}"):
                answer = self._client.describe_services(cluster=self.cluster, services=part)
            for each in answer.get("services", []):
                if each.get("status") != "INACTIVE":  # deleted; ECS still lists it for a while
                    found[each["serviceName"]] = _service(each)
        return found

    def task_definition(self, name: str) -> TaskDefinition:
        """Describe a revision."""
        with self._errors(f"read the task definition {name}"):
            answer = self._client.describe_task_definition(taskDefinition=name, include=["TAGS"])
        said = answer["taskDefinition"]
        # Copies every field that this boto3 can register, and nothing else from the answer.
        taken = self._client.meta.service_model.operation_model("RegisterTaskDefinition").input_shape
        settings = {key: value for key, value in said.items() if key in taken.members}
        whole = {key: value for key, value in answer[_WHOLE].items() if key not in _TOLD_ONLY}
        # Tags that begin with aws: are reserved for AWS.
        if tags := [each for each in answer.get("tags", []) if not each["key"].startswith("aws:")]:
            settings["tags"] = tags
        return TaskDefinition(
            said["taskDefinitionArn"],
            said["family"],
            said.get("status") == "ACTIVE",
            settings,
            tuple(_beyond(whole, taken, "")),
        )

    def register(self, settings: Mapping[str, Any]) -> str:
        """Register a revision."""
        with self._errors(f"register a revision of {settings['family']}"):
            answer = self._once.register_task_definition(**settings)
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def deploy(self, service: str, definition: str, *, again: bool = False) -> str:
        """Update a service."""
        what = f"update the service {service} of {self.cluster}"
        with self._errors(what, not_yet="TaskDefinition not found"):
            answer = self._once.update_service(
                cluster=self.cluster,
                service=service,
                taskDefinition=definition,
                forceNewDeployment=again,
            )
        primary = _service(answer["service"]).primary
        return primary.ident if primary else ""

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
        """Return the reasons of stopped tasks, or of their containers if these say more."""
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
    def _errors(self, what: str, *, not_yet: str = "") -> Iterator[None]:
        """Translate errors; one with the text ``not_yet`` may be about something that was just created."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError) as error:
            found = self._translated(error, what)
            if not_yet and not_yet in found.message:
                hint = "it takes ECS a moment to know a new revision; or it was deregistered"
                raise RemoteError(found.message, hint=hint, retryable=True) from error
            raise found from error

    def _translated(self, error: Exception, what: str) -> ReleaseError:
        code = error_code(error)
        if code == "ClusterNotFoundException":
            return ConfigurationError(
                f"cannot {what}: there is no cluster {self.cluster} in {self._region}",
                hint="set saas.cluster and saas.region; check which account the credentials belong to",
            )
        found = translate(error, what)
        if code in _WRONG and not found.retryable:
            return ConfigurationError(found.message, hint=_WRONG[code])
        return found


def _keep_whole(response_dict: Mapping[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Keep a definition as ECS wrote it: botocore drops fields that its model does not have."""
    said: Any = None
    with suppress(ValueError):
        said = json.loads(response_dict["body"])
    if isinstance(said, dict):
        customized_response_dict[_WHOLE] = said.get("taskDefinition") or {}


def _beyond(said: Any, shape: Any, where: str) -> Iterator[str]:
    """Yield the paths of values beyond a shape; ``null`` and empty lists do not count."""
    if shape.type_name == "structure" and isinstance(said, dict):
        for key, value in said.items():
            path = f"{where}.{key}" if where else key
            if key in shape.members:
                yield from _beyond(value, shape.members[key], path)
            elif value is not None and value != []:
                yield path
    elif shape.type_name == "list" and isinstance(said, list):
        for number, value in enumerate(said):
            name = value.get("name", number) if isinstance(value, dict) else number
            yield from _beyond(value, shape.member, f"{where}[{name}]")
    elif shape.type_name == "map" and isinstance(said, dict):
        for key, value in said.items():
            yield from _beyond(value, shape.value, f"{where}.{key}")


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
        # Services from before there were strategies have none, and use rolling updates.
        strategy=said.get("deploymentConfiguration", {}).get("strategy", "ROLLING"),
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
