"""The state of the sandbox's ECS, and how its services progress in steps.

A step starts tasks, brings them up or lets them fail, stops old ones, and settles a deployment, in the same
order as ECS. Steps are taken on each look at the services, by the clock, or only on request. Nothing survives
a restart.
"""

from __future__ import annotations

import hashlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.ecr.state import EcrState

Pace = Literal["look", "clock", "hand"]
Kind = Literal["pull", "crash", "hang", "wrong", "platform", "sick", "flap"]
MAX_EVENTS = 100
"""Events that a service keeps (ECS API reference, Service)."""
_MOST_STEPS = 50
"""Maximum steps to catch up after a long time without a look: by then, everything has settled."""
_OLD_ENOUGH = 2
"""Steps that a task must run before its deployment counts as settled."""


class Misbehaviour(BaseModel):
    """What goes wrong with tasks whose image name contains a text.

    Attributes:
        kind: ``pull``: the image cannot be pulled. ``crash``: its process ends. ``hang``: it never comes
            up. ``wrong``: the agent pulls another digest. ``platform``: of an index, it reports the manifest
            that it chose. ``sick``: it answers 500. ``flap``: it answers 200 and 500 in turn.
        image: The text; any image if empty.
        service: Only in this service; in any if empty.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    image: str = ""
    service: str = ""


@dataclass
class TaskState:
    """A task."""

    ident: str
    deployment: str
    definition: str
    status: Literal["PENDING", "RUNNING", "STOPPED"] = "PENDING"
    age: int = 0
    reason: str = ""


@dataclass
class DeploymentState:
    """A deployment; the first one of a service is its PRIMARY."""

    ident: str
    definition: str
    rollout: str = "IN_PROGRESS"
    reason: str = ""
    failed: int = 0


@dataclass
class ServiceState:
    """A service; ``settled`` is the task definition that was steady last."""

    name: str
    cluster: str
    desired: int
    breaker: bool
    rollback: bool
    controller: str
    strategy: str = "ROLLING"
    deployments: list[DeploymentState] = field(default_factory=list)
    tasks: list[TaskState] = field(default_factory=list)
    events: list[tuple[str, float, str]] = field(default_factory=list)
    settled: str = ""
    steady: bool = False
    asked: int = 0
    stale: list[dict[str, Any]] = field(default_factory=list)


class Paced(ABC):
    """What progresses in steps.

    Args:
        pace: When a step is taken: on each look, by the clock, or only on request.
        step_s: Seconds of a step by the clock.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, *, pace: Pace = "clock", step_s: float = 0.2, clock: Callable[[], float] = time.time
    ) -> None:
        self.pace = pace
        self.step_s = step_s
        self.clock = clock
        self.lock = threading.RLock()
        self._last_step = clock()

    @abstractmethod
    def step(self) -> None:
        """Take a step."""

    def looked(self) -> None:
        """Take the steps that are due on a look."""
        with self.lock:
            if self.pace == "look":
                self.step()
            elif self.pace == "clock":
                due = int((self.clock() - self._last_step) / self.step_s)
                self._last_step += due * self.step_s
                for _ in range(min(due, _MOST_STEPS)):
                    self.step()


class EcsState(Paced):
    """Clusters, task definitions and services; safe to share between threads.

    Args:
        ecr: Knows which images can be pulled.
        pacing: See :class:`Paced`.

    Attributes:
        stale_looks: How many looks at a service after an update still show the old state: ECS is eventually
            consistent.
        late_updates: How many updates do not find a revision that is registered from now on.
        newer: Additional fields of DescribeTaskDefinition that botocore's model does not have, in the
            definition, or in each container if the name begins with ``container.``.
    """

    def __init__(self, ecr: EcrState, **pacing: Any) -> None:
        super().__init__(**pacing)
        self.ecr = ecr
        self.clusters: set[str] = set()
        self.definitions: dict[str, dict[str, Any]] = {}
        self.services: dict[tuple[str, str], ServiceState] = {}
        self.misbehaviours: list[Misbehaviour] = []
        self.stale_looks = 0
        self.late_updates = 0
        self.late: dict[str, int] = {}
        self.newer: dict[str, Any] = {}
        self._numbers = 0

    def number(self) -> str:
        """Return a new id, as ECS writes them."""
        with self.lock:
            self._numbers += 1
            return f"{self._numbers:032x}"

    def arn(self, rest: str) -> str:
        """Return the ARN of something in ECS."""
        return f"arn:aws:ecs:{self.ecr.region}:{self.ecr.account}:{rest}"

    def step(self) -> None:
        """Let every service take a step."""
        with self.lock:
            for service in self.services.values():
                self._step(service)

    def deploy(self, service: ServiceState, definition: str, reason: str = "") -> None:
        """Begin a deployment."""
        service.deployments.insert(0, DeploymentState(f"ecs-svc/{int(self.number(), 16):019d}", definition))
        service.deployments[0].reason = (
            reason or f"ECS deployment {service.deployments[0].ident} in progress."
        )
        service.steady = False

    def images(self, definition: str) -> dict[str, str]:
        """Return container to image of a task definition."""
        return {each["name"]: each["image"] for each in self.definitions[definition]["containerDefinitions"]}

    def digest(self, service: str, image: str) -> str | None:
        """Return the digest that an agent pulls for an image; None if ECR does not have it."""
        if self._is("wrong", service, {"": image}):
            return "sha256:" + "0" * 64
        host, _, path = image.partition("/")
        if "." not in host and ":" not in host:  # a public image, which does not have to be pushed first
            return f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"
        name, at, digest = path.partition("@")
        if not at:
            name, _, digest = path.partition(":")
        try:
            found = self.ecr.repository(name).find(digest or "latest")
        except ApiFault:
            return None
        if found is None:
            return None
        if found.children and self._is("platform", service, {"": image}):
            return next(each for each in found.children if each not in found.attesting)
        return found.digest

    def application(self, cluster: str, name: str) -> tuple[int, Mapping[str, Any]]:
        """Answer like the service itself: with its version, from the tag of its image in ECR."""
        with self.lock:
            self.looked()
            service = self.services.get((cluster, name))
            running = [t for t in service.tasks if t.status == "RUNNING"] if service else []
            if service is None or not running:
                return 503, {"error": "no task runs"}
            service.asked += 1
            images = self.images(running[-1].definition)
            if self._is("sick", name, images) or (self._is("flap", name, images) and service.asked % 2 == 0):
                return 500, {"error": "the service is not well"}
            return 200, {"service": name, "build": {"version": self._version(next(iter(images.values())))}}

    def _version(self, image: str) -> str:
        name, _, digest = image.partition("/")[2].partition("@")
        try:
            tags = self.ecr.repository(name).tags_of(digest)
        except ApiFault:
            tags = []
        return next((tag for tag in tags if not tag.startswith(("candidate-", "withdrawn-"))), "unknown")

    def _is(self, kind: Kind, service: str, images: Mapping[str, str]) -> bool:
        return any(
            each.kind == kind
            and each.service in ("", service)
            and any(each.image in image for image in images.values())
            for each in self.misbehaviours
        )

    def _step(self, service: ServiceState) -> None:
        primary = service.deployments[0]
        for task in [each for each in service.tasks if each.deployment == primary.ident]:
            self._advance(service, primary, task)
        if self._give_up(service, primary):
            return
        own = [t for t in service.tasks if t.deployment == primary.ident and t.status != "STOPPED"]
        missing = service.desired - len(own)
        for _ in range(missing):
            service.tasks.append(TaskState(self.number(), primary.ident, primary.definition))
        if missing > 0:
            self._event(service, f"has started {missing} tasks: (deployment {primary.ident}).")
        if missing == 0 and all(t.status == "RUNNING" and t.age >= _OLD_ENOUGH for t in own):
            self._settle(service, primary)

    def _advance(self, service: ServiceState, primary: DeploymentState, task: TaskState) -> None:
        images = self.images(task.definition)
        if task.status == "PENDING" and not self._is("hang", service.name, images):
            unknown = [image for image in images.values() if self.digest(service.name, image) is None]
            if unknown or self._is("pull", service.name, images):
                image = (unknown or list(images.values()))[0]
                self._stop(
                    task, f"CannotPullContainerError: failed to resolve reference {image!r}: not found"
                )
                primary.failed += 1
                return
            task.status = "RUNNING"
        elif task.status == "RUNNING":
            task.age += 1
            if self._is("crash", service.name, images):
                self._stop(task, "Essential container in task exited")
                primary.failed += 1

    def _give_up(self, service: ServiceState, primary: DeploymentState) -> bool:
        """Let the circuit breaker act: its threshold is half of the desired tasks, at least 3."""
        if primary.rollout == "FAILED":
            return True
        if not service.breaker or primary.failed < min(200, max(3, -(-service.desired // 2))):
            return False
        primary.rollout, primary.reason = "FAILED", "ECS deployment circuit breaker: tasks failed to start."
        self._event(service, f"(deployment {primary.ident}) deployment failed: tasks failed to start.")
        for task in service.tasks:
            if task.deployment == primary.ident and task.status != "STOPPED":
                self._stop(task, "Scaling activity initiated by a failed deployment")
        if service.rollback and service.settled and service.settled != primary.definition:
            back = f"ECS deployment circuit breaker: rolling back to {service.settled}."
            self._event(service, f"rolling back to deployment of {service.settled}.")
            self.deploy(service, service.settled, back)
        return True

    def _settle(self, service: ServiceState, primary: DeploymentState) -> None:
        old = [t for t in service.tasks if t.deployment != primary.ident and t.status != "STOPPED"]
        for task in old:
            self._stop(task, f"Scaling activity initiated by (deployment {primary.ident})")
        if old:
            self._event(service, f"has stopped {len(old)} running tasks.")
        elif len(service.deployments) > 1:
            del service.deployments[1:]
        elif not service.steady:
            service.steady, service.settled = True, primary.definition
            primary.rollout = "COMPLETED"
            primary.reason = f"ECS deployment {primary.ident} completed."
            self._event(service, f"(deployment {primary.ident}) deployment completed.")
            self._event(service, "has reached a steady state.")

    def _stop(self, task: TaskState, reason: str) -> None:
        task.status, task.reason = "STOPPED", reason

    def _event(self, service: ServiceState, text: str) -> None:
        service.events.insert(0, (self.number(), self.clock(), f"(service {service.name}) {text}"))
        del service.events[MAX_EVENTS:]
