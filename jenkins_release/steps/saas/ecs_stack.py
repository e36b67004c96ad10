"""A stack of ECS services, updated one after the other to task definitions that pin the promoted digests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from jenkins_release.aws.ecs import RunningTask, TaskDefinition
from jenkins_release.base.errors import ConfigurationError, IntegrityError, ReleaseError, RemoteError
from jenkins_release.records.refresh import InstanceResult, RunningPart, StackState, Strategy
from jenkins_release.records.stack_service import EcsService
from jenkins_release.rules.saas.rollout import Rollout, rollout
from jenkins_release.rules.saas.stack import StackEntry
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.watcher import StackWatcher
from jenkins_release.steps.saas.driver import Interfered, RolloutFailed, StackBusy, StackWait
from jenkins_release.steps.saas.ecs_images import pinned_digests, pinned_settings, require_known, task_digests

if TYPE_CHECKING:
    from jenkins_release.steps.saas.target import Released

_NEW = "a new revision of "
_log = logging.getLogger(__name__)
_REASONS = 3
"""How many reasons of stopped tasks a failure quotes."""
_ROLLING = (
    "let ECS deploy it by rolling updates (deployment controller ECS, strategy ROLLING), or leave it out of "
    "saas.services"
)


class EcsStack:
    """The services of ``[[saas.services]]``.

    Args:
        services: The outside world.
        watcher: Hears of the services' events.
    """

    strategy: Strategy = "ecs"
    instances: tuple[InstanceResult, ...] = ()

    def __init__(self, services: Services, watcher: StackWatcher) -> None:
        self.touched = False
        self.guard: Callable[[], None] = lambda: None
        self.listed: Mapping[str, frozenset[str]] = {}
        self._services = services
        self._watcher = watcher
        self._section = services.configuration.saas
        self._seen: set[str] = set()

    def observe(self) -> StackState:
        """Read which task definitions the services are set to run."""
        parts = []
        for name, service in self._described().items():
            definition = self._definition(_current(service))
            parts.append(
                RunningPart(
                    name=name,
                    definition=definition.arn,
                    images=pinned_digests(self._containers(name), definition.images),
                )
            )
        return StackState(parts=tuple(parts))

    def require_alone(self, own: StackEntry | None) -> None:
        """Refuse while a deployment is under way that none of our runs started."""
        for name, service in self._described().items():
            primary = service.primary
            if primary is None or primary.rollout == "FAILED":
                continue
            if primary.rollout != "IN_PROGRESS" and len(service.deployments) == 1:
                continue
            known = (own.record.before, own.record.after) if own else ()
            if primary.task_definition in {state.definitions.get(name) for state in known}:
                continue
            raise StackBusy(
                f"the service {name} is being deployed by someone else: {primary.task_definition}, "
                f"{rollout(service, primary.task_definition).told}",
                hint="wait until that deployment has ended, or find out who began it",
            )

    def prepare(self, target: Released, *, dry_run: bool) -> StackState:
        """Register a revision for each service, or use one that exists already."""
        wanted = {}
        for name, service in self._described().items():
            if not service.desired:
                _log.warning("%s is to run no task: nothing is tried there", name)
            current = self._definition(_current(service))
            wanted[name] = current, pinned_settings(name, self._containers(name), current, target)
        require_known(
            current
            for current, settings in wanted.values()
            if current.settings != settings or not current.active
        )
        parts = []
        for name, (current, settings) in wanted.items():
            arn = self._revision(current, settings, dry_run=dry_run)
            images = {each["name"]: each.get("image", "") for each in settings["containerDefinitions"]}
            parts.append(
                RunningPart(name=name, definition=arn, images=pinned_digests(self._containers(name), images))
            )
        return StackState(release=target.release, parts=tuple(parts))

    def check(self, state: StackState) -> None:
        """Refuse a state with other services than the configured ones, or a deregistered task definition."""
        named = {service.name for service in self._section.services}
        gone = [
            f"the service {name} is {'not in' if name in named else 'only in'} that state"
            for name in sorted(named ^ set(state.definitions))
        ]
        for service, arn in state.definitions.items():
            if not arn.startswith(_NEW) and not self._definition(arn).active:
                gone.append(f"{arn} of {service} was deregistered")
        if gone:
            raise ConfigurationError(
                f"the stack cannot return to {state.shown}: {gone[0]}",
                hint="refresh it to a released version instead",
                reasons=gone,
            )

    def runs(self, state: StackState) -> bool:
        """Whether every service runs its task definition and is steady."""
        described = self._described()
        if set(described) != set(state.definitions):
            return False
        return all(
            rollout(described[name], definition).state == "steady"
            for name, definition in state.definitions.items()
        )

    def bring(self, state: StackState, origin: StackState, run: str, since: StackEntry | None) -> StackState:  # noqa: ARG002
        """Update the services in their configured order, each once the one before is steady."""
        wait = StackWait(self._services, self._section, self._watcher)
        for part in state.parts:
            self._note_events(self._one(part.name))
            deployment = self._deploy(part)
            self._until_steady(part, origin.definitions.get(part.name, ""), deployment, wait)
            self._prove(part)
        return state

    def _deploy(self, part: RunningPart) -> str:
        """Update a service if it needs it, and return the id of its deployment."""
        ecs, name = self._services.ecs, part.name
        service = self._one(name)
        primary = service.primary
        there = primary is not None and primary.task_definition == part.definition
        if there and primary is not None and primary.rollout != "FAILED":
            return primary.ident
        if service.not_rolling:
            raise ConfigurationError(
                service.not_rolling, hint=f"someone changed the service meanwhile: {_ROLLING}"
            )
        self.guard()
        before = primary.ident if primary else ""
        unsure = False

        def attempt() -> str:
            nonlocal unsure
            # An attempt whose answer was lost may have started a deployment, which another would replace.
            begun = self._one(name).primary if unsure else None
            if begun is not None and begun.ident != before and begun.task_definition == part.definition:
                return begun.ident
            try:
                return ecs.deploy(name, part.definition, again=there)
            except ReleaseError as error:
                unsure |= error.retryable
                raise

        try:
            deployment = self._services.retry(f"update the service {name}", attempt)
        except ReleaseError:
            self.touched |= unsure  # the request may have arrived
            raise
        self.touched = True
        self._watcher.event(name, f"updated to {part.definition}")
        return deployment

    def _until_steady(self, part: RunningPart, before: str, deployment: str, wait: StackWait) -> None:
        """Wait until a service is steady.

        Answers count only once they have shown its deployment: one from before the update looks as if ECS
        had rolled back by itself.
        """
        told, seen = "", False
        while True:
            service = wait.look(part.name, lambda: self._one(part.name))
            if service is not None and not seen:
                seen = any(each.ident == deployment for each in service.deployments)
            if service is not None and seen:
                self._tell_events(service)
                found = rollout(service, part.definition, before)
                if found.told != told:
                    told = found.told
                    self._watcher.event(part.name, told)
                if found.state == "steady":
                    if not service.desired:
                        _log.warning("%s is to run no task: nothing was tried there", part.name)
                    return
                if found.state != "moving":
                    raise self._failure(part, found)
            if wait.over():
                seconds = self._section.deadline_s
                raise self._failure(
                    part, Rollout("failed", f"it was not steady after {seconds:g} s: {told or 'not seen'}")
                )
            wait.pause()

    def _failure(self, part: RunningPart, found: Rollout) -> RolloutFailed:
        kind = Interfered if found.state == "replaced" else RolloutFailed
        reasons: list[str] = []
        try:
            reasons = self._services.ecs.stopped(part.name)[-_REASONS:]
        except ReleaseError as error:
            # Only the explanation is missing. The failure itself still has to be reported.
            self._watcher.event(part.name, f"why tasks stopped is not to be seen: {error.message}")
        return kind(
            f"the service {part.name} did not come to {part.definition}: {found.told}",
            hint="the events of the service and the reasons of its stopped tasks say more",
            reasons=[f"{part.name}: {reason}" for reason in reasons],
        )

    def _prove(self, part: RunningPart) -> None:
        """Compare what the tasks pulled with what was promoted; the service's desired number have to show."""
        ecs = self._services.ecs

        def attempt() -> list[RunningTask]:
            found, wanted = ecs.tasks(part.name), self._one(part.name).desired
            count = sum(task.definition == part.definition for task in found)
            if count < wanted:
                raise RemoteError(
                    f"ECS lists {count} of {wanted} tasks of {part.name} with {part.definition}: what the "
                    "others pulled is not proven",
                    hint="look at the service's events, then refresh again",
                    retryable=True,  # ECS lists a task some moments after it starts
                )
            return found

        tasks = self._services.retry(f"read the tasks of {part.name}", attempt)
        for task in tasks:
            for container, digest in part.images.items():
                found = task_digests(task.digests, task.images).get(container)
                if found != digest and found not in self.listed.get(digest, ()):
                    raise IntegrityError(
                        f"the container {container} of {part.name} runs {found or 'an unknown image'}, "
                        f"expected {digest}",
                        hint="find out who changes the task definition or the tasks of this service",
                    )

    def _described(self) -> dict[str, EcsService]:
        """Describe all services. Raises a ConfigurationError that names every unusable one."""
        names, ecs = [service.name for service in self._section.services], self._services.ecs
        found = self._services.retry("describe the services", ecs.services, names)
        wrong, hint = [], "check saas.cluster, saas.region, saas.services and the account"
        for name in names:
            service = found.get(name)
            if service is None:
                wrong.append(f"there is no service {name}")
            elif service.not_rolling:
                # The hint is about the first of several mistakes, which the message names.
                hint = hint if wrong else _ROLLING
                wrong.append(service.not_rolling)
            elif service.primary is None:
                wrong.append(f"{name} is {service.status} and has no deployment")
        if wrong:
            raise ConfigurationError(
                f"the cluster {self._section.cluster} in {self._services.saas_region} is not the configured "
                f"stack: {wrong[0]}",
                hint=hint,
                reasons=wrong,
            )
        return {name: found[name] for name in names}

    def _one(self, name: str) -> EcsService:
        found = self._services.ecs.services([name])
        if name not in found:
            raise RolloutFailed(f"the service {name} was deleted meanwhile")
        return found[name]

    def _definition(self, name: str) -> TaskDefinition:
        ecs = self._services.ecs
        return self._services.retry(f"read {name}", ecs.task_definition, name)

    def _containers(self, name: str) -> Mapping[str, str]:
        return next(each.containers for each in self._section.services if each.name == name)

    def _revision(self, current: TaskDefinition, settings: Mapping[str, Any], *, dry_run: bool) -> str:
        """Return a revision with these settings: the current one, the newest one, or a new one.

        Reusing the newest one means that a run that died leaves one revision behind, not two.
        """
        if current.settings == settings and current.active:
            return current.arn
        newest = self._definition(current.family)
        if newest.settings == settings and not newest.unknown:
            return newest.arn
        if dry_run:
            return f"{_NEW}{current.family}"
        ecs, unsure = self._services.ecs, False

        def attempt() -> str:
            nonlocal unsure
            # An attempt whose answer was lost may have registered it.
            if unsure and (found := ecs.task_definition(current.family)).settings == settings:
                return found.arn
            try:
                return ecs.register(settings)
            except ReleaseError as error:
                unsure |= error.retryable
                raise

        arn = self._services.retry(f"register {current.family}", attempt)
        self._watcher.event(current.family, f"registered {arn}")
        return arn

    def _note_events(self, service: EcsService) -> None:
        self._seen |= {event.ident for event in service.events}

    def _tell_events(self, service: EcsService) -> None:
        for event in reversed(service.events):
            if event.ident not in self._seen:
                self._seen.add(event.ident)
                self._watcher.event(service.name, event.message)


def _current(service: EcsService) -> str:
    """Return the task definition that a service runs, not that of a deployment that failed."""
    primary = service.primary
    assert primary is not None
    older = [each for each in service.deployments if each is not primary and each.running]
    if primary.rollout == "FAILED" and older:
        return max(older, key=lambda each: each.running).task_definition
    return primary.task_definition
