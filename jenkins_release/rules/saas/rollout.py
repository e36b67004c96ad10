"""The state of an ECS service's deployment, from one description of the service.

Sources: "Deployment" in the ECS API reference, and "How the Amazon ECS deployment circuit breaker
detects failures" in its developer guide. A service is steady if one deployment is left and all its tasks run,
as for botocore's waiter ``services_stable``.
"""

from __future__ import annotations

from typing import Literal

from jenkins_release.base.dataclass import dataclass
from jenkins_release.records.stack_service import EcsService

State = Literal["steady", "moving", "failed", "returned", "replaced"]


@dataclass(frozen=True)
class Rollout:
    """The state of a deployment.

    Attributes:
        state: ``steady``: it runs, and nothing else. ``moving``: not yet. ``failed``: ECS gave it up.
            ``returned``: ECS gave it up and rolled back by itself. ``replaced``: someone else deployed
            something else.
        told: The same in words.
    """

    state: State
    told: str


def rollout(service: EcsService, target: str, before: str = "") -> Rollout:
    """Return the state of a task definition's deployment.

    Args:
        service: The service.
        target: ARN of the task definition that it was updated to.
        before: ARN of the one that ran before; if the service has it again, ECS rolled back.
    """
    primary = service.primary
    if service.status != "ACTIVE" or primary is None:
        return Rollout("failed", f"the service is {service.status or 'without a deployment'}")
    if primary.task_definition != target:
        return _lost(service, target, before)
    count = f"{primary.running} of {primary.desired} tasks run"
    if primary.rollout == "FAILED":
        return Rollout("failed", f"ECS gave it up: {primary.reason or count}")
    if len(service.deployments) > 1:
        old = sum(each.running for each in service.deployments if each is not primary)
        return Rollout("moving", f"{count}, {old} old ones are left{_failures(service)}")
    done = primary.running == service.desired == primary.desired and not primary.pending
    if done and primary.rollout in {"COMPLETED", ""}:
        return Rollout("steady", count)
    return Rollout("moving", f"{count}, {primary.pending} are starting{_failures(service)}")


def _lost(service: EcsService, target: str, before: str) -> Rollout:
    primary = service.primary
    assert primary is not None
    ours = [each for each in service.deployments if each.task_definition == target]
    if primary.task_definition == before or any(each.rollout == "FAILED" for each in ours):
        reason = next((each.reason for each in ours if each.reason), primary.reason)
        why = f": {reason}" if reason else ""
        return Rollout("returned", f"ECS gave it up and returned to {primary.task_definition}{why}")
    return Rollout("replaced", f"someone else has deployed {primary.task_definition}")


def _failures(service: EcsService) -> str:
    primary = service.primary
    return f", {primary.failed} failed to start" if primary and primary.failed else ""
