"""A service of the SaaS stack, as ECS describes it."""

from __future__ import annotations

from datetime import datetime

from jenkins_release.base.dataclass import dataclass


@dataclass(frozen=True)
class Deployment:
    """A deployment of a service.

    Attributes:
        ident: Id, such as ``ecs-svc/0123456789``.
        status: ``PRIMARY`` for the newest one, ``ACTIVE`` while an older one still has tasks.
        task_definition: ARN of its task definition.
        desired: Tasks that it should have.
        pending: Tasks that are starting.
        running: Running tasks.
        failed: Tasks that failed to start, one after the other.
        rollout: ``IN_PROGRESS``, ``COMPLETED`` or ``FAILED``; empty if ECS does not say.
        reason: ECS's reason for it.
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
        controller: ``ECS``, ``CODE_DEPLOY`` or ``EXTERNAL``.
        desired: Tasks that it should have.
        deployments: The newest one first.
        events: The newest one first.
        strategy: How ECS itself deploys: ``ROLLING``, ``BLUE_GREEN``, ``LINEAR`` or ``CANARY``.
    """

    name: str
    status: str
    controller: str
    desired: int
    deployments: tuple[Deployment, ...]
    events: tuple[ServiceEvent, ...]
    strategy: str = "ROLLING"

    @property
    def not_rolling(self) -> str:
        """Why ECS does not deploy it with rolling updates; empty if it does."""
        if self.controller != "ECS":
            return f"{self.name} is deployed by {self.controller}, expected rolling updates by ECS"
        if self.strategy != "ROLLING":
            return f"{self.name} is deployed by the strategy {self.strategy}, expected ROLLING"
        return ""

    @property
    def primary(self) -> Deployment | None:
        """The newest deployment."""
        return next((each for each in self.deployments if each.status == "PRIMARY"), None)
