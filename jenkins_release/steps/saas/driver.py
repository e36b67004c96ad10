"""The interface of the refresh strategies: how the steps drive a stack, and how that can fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

from jenkins_release.base.errors import ConfigurationError, LeaseHeld, ReleaseError, RemoteError
from jenkins_release.config.saas import SaasSection
from jenkins_release.records.refresh import InstanceResult, StackState, Strategy
from jenkins_release.rules.saas.stack import StackEntry
from jenkins_release.steps.context.watcher import StackWatcher

if TYPE_CHECKING:
    from jenkins_release.steps.context.services import Services
    from jenkins_release.steps.saas.target import Released

T = TypeVar("T")


class RolloutFailed(RemoteError):
    """The stack did not reach the wanted state."""


class Interfered(RolloutFailed):
    """Someone else changed the stack during the run. Changing it back would undo their work."""


class StackBusy(LeaseHeld):
    """Someone else is changing the stack."""


class Driver(Protocol):
    """A stack, as one strategy changes it."""

    strategy: Strategy
    touched: bool
    """Whether anything was changed through this driver."""
    guard: Callable[[], None]
    """Called before each change; raises if the stack's lease was lost."""
    listed: Mapping[str, frozenset[str]]
    """Digest of each released index to the manifests that it lists: a task may name the one that it runs."""
    instances: tuple[InstanceResult, ...]
    """How the last command ended, instance by instance; none for ECS."""

    def observe(self) -> StackState:
        """Return what the stack runs; without parts if the stack itself cannot say.

        Raises:
            ConfigurationError: It is not the stack that the configuration describes.
        """
        ...

    def require_alone(self, own: StackEntry | None) -> None:
        """Raise StackBusy if someone else is changing the stack.

        Args:
            own: The statement of a run of ours that died, whose changes do not count as someone else's.
        """
        ...

    def prepare(self, target: Released, *, dry_run: bool) -> StackState:
        """Create what the release needs to run, and return its state. Changes nothing that runs."""
        ...

    def check(self, state: StackState) -> None:
        """Raise ConfigurationError if the stack can no longer be brought to a state."""
        ...

    def runs(self, state: StackState) -> bool:
        """Whether the stack runs this state, and no deployment is under way."""
        ...

    def bring(self, state: StackState, origin: StackState, run: str, since: StackEntry | None) -> StackState:
        """Bring the stack to a state and wait until it is there.

        Args:
            state: The state.
            origin: The state before, to tell a rollback by ECS itself from a change by someone else.
            run: Identifies this run, even after it died.
            since: The first statement of a run that died, if this one continues it.

        Returns:
            The state, with what was learnt on the way.

        Raises:
            RolloutFailed: The stack did not reach it.
            IntegrityError: The stack runs something other than what was promoted.
        """
        ...


@dataclass
class StackWait:
    """A wait for the stack, limited by our own clock.

    Attributes:
        services: Clock and sleep.
        section: The deadline and the interval between looks, in seconds.
        watcher: Hears of each look that failed.
    """

    services: Services
    section: SaasSection
    watcher: StackWatcher

    def __post_init__(self) -> None:
        self.end = self.services.now() + timedelta(seconds=self.section.deadline_s)

    def over(self) -> bool:
        """Whether the time is up."""
        return self.services.now() >= self.end

    def pause(self) -> None:
        """Wait until the next look."""
        self.services.wait(self.section.poll_s, "the stack to be refreshed")

    def look(self, what: str, question: Callable[[], T]) -> T | None:
        """Ask a question; return None if no answer came but the next look may get one.

        A lost connection says nothing about the stack, so it does not fail the refresh.
        """
        try:
            return question()
        except ReleaseError as error:
            if not error.retryable:
                raise
            self.watcher.event(what, f"not to be seen at the moment: {error.message}")
            return None


def saas_section(services: Services) -> SaasSection:
    """Return ``[saas]``. Raises ConfigurationError if no stack is configured."""
    section = services.configuration.saas
    if section.strategy == "none":
        raise ConfigurationError(
            "no SaaS stack is configured", hint="set saas.strategy to 'ecs' or 'ssm' in release.toml"
        )
    return section
