"""The actions of the sandbox's ECS; errors have the codes and the texts of the ECS API reference."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.aws.api import Answer, JsonApi
from jenkins_release.sandbox.aws.ecs_state import DeploymentState, EcsState, ServiceState, TaskState

MAX_DEFINITION = 64 * 1024
"""Bytes of a task definition (ECS developer guide, "Amazon ECS service quotas")."""


class EcsApi(JsonApi):
    """The parts of ECS that a refresh and a rehearsal need.

    Args:
        state: Its state.
    """

    def __init__(self, state: EcsState) -> None:
        self._state = state
        actions = {
            "CreateCluster": self._create_cluster,
            "CreateService": self._create_service,
            "RegisterTaskDefinition": self._register,
            "DeregisterTaskDefinition": self._deregister,
            "DescribeTaskDefinition": self._describe_definition,
            "DescribeServices": self._describe_services,
            "UpdateService": self._update_service,
            "ListTasks": self._list_tasks,
            "DescribeTasks": self._describe_tasks,
        }
        super().__init__("ecs", actions, self._arns, invalid="InvalidParameterException")

    def answer(self, action: str, arguments: Mapping[str, Any]) -> Answer:
        """Run an action; after the check against botocore's model, add what it does not know yet."""
        answer = super().answer(action, arguments)
        if action != "DescribeTaskDefinition" or not self._state.newer:
            return answer
        answer = copy.deepcopy(answer)
        for name, value in self._state.newer.items():
            place, _, field = name.rpartition(".")
            said = answer["taskDefinition"]
            for each in said["containerDefinitions"] if place else [said]:
                each[field] = value
        return answer

    def _arns(self, action: str, given: Mapping[str, Any]) -> Sequence[str]:
        """Return the resources of an action (Service Authorization Reference, "Amazon ECS")."""
        cluster = _name(given.get("cluster", "default"))
        if action in {"UpdateService", "DescribeServices"}:
            names = given.get("services") or [given["service"]]
            return [self._state.arn(f"service/{cluster}/{_name(each)}") for each in names]
        if action == "DescribeTasks":
            return [self._state.arn(f"task/{cluster}/{_name(each)}") for each in given["tasks"]]
        return ["*"]

    def _create_cluster(self, given: Mapping[str, Any]) -> Answer:
        name = given.get("clusterName", "default")
        with self._state.lock:
            self._state.clusters.add(name)
        return {
            "cluster": {
                "clusterArn": self._state.arn(f"cluster/{name}"),
                "clusterName": name,
                "status": "ACTIVE",
            }
        }

    def _create_service(self, given: Mapping[str, Any]) -> Answer:
        cluster = self._cluster(given)
        breaker = given.get("deploymentConfiguration", {}).get("deploymentCircuitBreaker", {})
        with self._state.lock:
            service = ServiceState(
                name=given["serviceName"],
                cluster=cluster,
                desired=given.get("desiredCount", 1),
                breaker=breaker.get("enable", False),
                rollback=breaker.get("rollback", False),
                controller=given.get("deploymentController", {}).get("type", "ECS"),
                strategy=given.get("deploymentConfiguration", {}).get("strategy", "ROLLING"),
            )
            if (cluster, service.name) in self._state.services:
                raise ApiFault("InvalidParameterException", "Creation of service was not idempotent.")
            self._state.deploy(service, self._definition(given["taskDefinition"])["taskDefinitionArn"])
            self._state.services[cluster, service.name] = service
        return {"service": self._service(service)}

    def _register(self, given: Mapping[str, Any]) -> Answer:
        size = len(json.dumps(given, separators=(",", ":")))
        if size > MAX_DEFINITION:
            raise ApiFault(
                "ClientException", f"Actual length: '{size}'. Max allowed length is '{MAX_DEFINITION}' bytes."
            )
        if not given["containerDefinitions"] or not all(
            c.get("image") for c in given["containerDefinitions"]
        ):
            raise ApiFault("ClientException", "Container.image should not be null or empty.")
        with self._state.lock:
            family = given["family"]
            revision = 1 + len(self._revisions(family))
            arn = self._state.arn(f"task-definition/{family}:{revision}")
            self._state.late[arn] = self._state.late_updates
            self._state.definitions[arn] = {
                **given,
                "taskDefinitionArn": arn,
                "revision": revision,
                "status": "ACTIVE",
                "compatibilities": ["EC2", "FARGATE"],
                "requiresAttributes": [{"name": "com.amazonaws.ecs.capability.ecr-auth"}],
                "registeredAt": self._state.clock(),
                "registeredBy": f"arn:aws:iam::{self._state.ecr.account}:user/somebody",
                "volumes": given.get("volumes", []),
                "placementConstraints": given.get("placementConstraints", []),
            }
            return self._shown(self._state.definitions[arn])

    def _deregister(self, given: Mapping[str, Any]) -> Answer:
        with self._state.lock:
            found = self._definition(given["taskDefinition"])
            found["status"] = "INACTIVE"
            return {"taskDefinition": self._shown(found)["taskDefinition"]}

    def _describe_definition(self, given: Mapping[str, Any]) -> Answer:
        shown = self._shown(self._definition(given["taskDefinition"], active=False))
        if "TAGS" not in given.get("include", []):
            shown.pop("tags", None)
        return shown

    def _shown(self, definition: Mapping[str, Any]) -> Answer:
        tags = {"tags": definition["tags"]} if "tags" in definition else {}
        return {"taskDefinition": {k: v for k, v in definition.items() if k != "tags"}, **tags}

    def _describe_services(self, given: Mapping[str, Any]) -> Answer:
        cluster = self._cluster(given)
        if len(given["services"]) > 10:
            raise ApiFault("InvalidParameterException", "services can have at most 10 items.")
        self._state.looked()
        found, missing = [], []
        with self._state.lock:
            for each in given["services"]:
                service = self._state.services.get((cluster, _name(each)))
                if service is None:
                    arn = self._state.arn(f"service/{cluster}/{_name(each)}")
                    missing.append({"arn": arn, "reason": "MISSING"})
                else:
                    found.append(service.stale.pop() if service.stale else self._service(service))
        return {"services": found, "failures": missing}

    def _update_service(self, given: Mapping[str, Any]) -> Answer:
        service = self._find(given, given["service"])
        if service.controller != "ECS":
            raise ApiFault(
                "InvalidParameterException",
                "Unable to update task definition on services with a "
                f"{service.controller} deployment controller.",
            )
        with self._state.lock:
            definition = self._definition(given.get("taskDefinition", service.deployments[0].definition))
            arn = definition["taskDefinitionArn"]
            if self._state.late.get(arn):
                self._state.late[arn] -= 1
                raise ApiFault("ClientException", "TaskDefinition not found.")
            if definition["status"] != "ACTIVE":
                raise ApiFault("ClientException", "TaskDefinition is inactive")
            service.desired = given.get("desiredCount", service.desired)
            if service.deployments[0].definition != arn or given.get("forceNewDeployment"):
                service.stale = [self._service(service)] * self._state.stale_looks
                self._state.deploy(service, arn)
            return {"service": self._service(service)}

    def _list_tasks(self, given: Mapping[str, Any]) -> Answer:
        service = self._find(given, given["serviceName"])
        stopped = given.get("desiredStatus", "RUNNING") == "STOPPED"
        with self._state.lock:
            found = [task for task in service.tasks if (task.status == "STOPPED") == stopped]
            return {"taskArns": [self._task_arn(service, task) for task in found]}

    def _describe_tasks(self, given: Mapping[str, Any]) -> Answer:
        cluster = self._cluster(given)
        wanted = {_name(each) for each in given["tasks"]}
        if len(wanted) > 100:
            raise ApiFault("InvalidParameterException", "tasks can have at most 100 items.")
        with self._state.lock:
            found = [
                self._task(service, task)
                for (own, _), service in self._state.services.items()
                if own == cluster
                for task in service.tasks
                if task.ident in wanted
            ]
        return {"tasks": found, "failures": []}

    def _cluster(self, given: Mapping[str, Any]) -> str:
        name = _name(given.get("cluster", "default"))
        if name not in self._state.clusters:
            raise ApiFault("ClusterNotFoundException", "Cluster not found.")
        return name

    def _find(self, given: Mapping[str, Any], name: str) -> ServiceState:
        service = self._state.services.get((self._cluster(given), _name(name)))
        if service is None:
            raise ApiFault("ServiceNotFoundException", "Service not found.")
        return service

    def _revisions(self, family: str) -> list[dict[str, Any]]:
        return [each for each in self._state.definitions.values() if each["family"] == family]

    def _definition(self, name: str, *, active: bool = True) -> dict[str, Any]:
        """Find a revision by ARN, by family and revision, or the newest active one of a family."""
        short = _name(name)
        family, _, revision = short.partition(":")
        revisions = self._revisions(family)
        if revision:
            found = [each for each in revisions if str(each["revision"]) == revision]
        else:
            found = [each for each in revisions if each["status"] == "ACTIVE"]
        if not found:
            what = "TaskDefinition not found." if active else "Unable to describe task definition."
            raise ApiFault("ClientException", what)
        return found[-1]

    def _service(self, service: ServiceState) -> Answer:
        primary = service.deployments[0]
        return {
            "serviceArn": self._state.arn(f"service/{service.cluster}/{service.name}"),
            "serviceName": service.name,
            "clusterArn": self._state.arn(f"cluster/{service.cluster}"),
            "status": "ACTIVE",
            "desiredCount": service.desired,
            "runningCount": sum(task.status == "RUNNING" for task in service.tasks),
            "pendingCount": sum(task.status == "PENDING" for task in service.tasks),
            "taskDefinition": primary.definition,
            "deploymentController": {"type": service.controller},
            "deploymentConfiguration": {"strategy": service.strategy},
            "deployments": [
                self._deployment(service, each, "PRIMARY" if each is primary else "ACTIVE")
                for each in service.deployments
            ],
            "events": [{"id": ident, "createdAt": at, "message": text} for ident, at, text in service.events],
        }

    def _deployment(self, service: ServiceState, deployment: DeploymentState, status: str) -> Answer:
        own = [task.status for task in service.tasks if task.deployment == deployment.ident]
        return {
            "id": deployment.ident,
            "status": status,
            "taskDefinition": deployment.definition,
            "desiredCount": service.desired if status == "PRIMARY" else 0,
            "pendingCount": own.count("PENDING"),
            "runningCount": own.count("RUNNING"),
            "failedTasks": deployment.failed,
            "createdAt": self._state.clock(),
            "rolloutState": deployment.rollout,
            "rolloutStateReason": deployment.reason,
        }

    def _task_arn(self, service: ServiceState, task: TaskState) -> str:
        return self._state.arn(f"task/{service.cluster}/{task.ident}")

    def _task(self, service: ServiceState, task: TaskState) -> Answer:
        containers = []
        for name, image in self._state.images(task.definition).items():
            container = {"name": name, "image": image, "lastStatus": task.status}
            digest = self._state.digest(service.name, image)
            if task.status == "RUNNING" and digest:
                container["imageDigest"] = digest
            if task.reason.startswith("CannotPull"):
                container["reason"] = task.reason
            containers.append(container)
        shown = {
            "taskArn": self._task_arn(service, task),
            "taskDefinitionArn": task.definition,
            "lastStatus": task.status,
            "desiredStatus": "STOPPED" if task.status == "STOPPED" else "RUNNING",
            "group": f"service:{service.name}",
            "startedBy": task.deployment,
            "containers": containers,
        }
        return shown | ({"stoppedReason": task.reason} if task.reason else {})


def _name(text: str) -> str:
    """Return the last name of an ARN, or the name itself."""
    return text.rpartition("/")[2]
