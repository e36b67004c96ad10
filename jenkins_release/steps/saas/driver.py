"""What the strategies of a refresh have in common: how the steps drive a stack, and how that may end."""

from __future__ import annotations

from collections.abc import Callable
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
    """The stack did not come to the state that it was brought to."""


class Interfered(RolloutFailed):
    """Somebody else changed the stack meanwhile: to change it back would undo what they did."""


class StackBusy(LeaseHeld):
    """Somebody else is changing the stack."""


class Driver(Protocol):
    """A stack of one strategy."""

    strategy: Strategy
    touched: bool
    """Whether anything was changed through this driver."""
    guard: Callable[[], None]
    """Called before each change: raises where the stack's lease was lost."""
    instances: tuple[InstanceResult, ...]
    """How the last command ended, instance by instance; none for ECS."""

    def observe(self) -> StackState:
        """Return what the stack runs; without parts where it cannot tell by itself.

        Raises:
            ConfigurationError: It is not the stack that the configuration describes.
        """
        ...

    def require_alone(self, own: StackEntry | None) -> None:
        """Raise StackBusy where somebody else changes the stack; ``own`` is a run of ours that died."""
        ...

    def prepare(self, target: Released, *, dry_run: bool) -> StackState:
        """Return the state in which the release runs, and make what it needs. Changes nothing that runs."""
        ...

    def check(self, state: StackState) -> None:
        """Raise ConfigurationError if the stack cannot be brought to a state any more."""
        ...

    def runs(self, state: StackState) -> bool:
        """Whether that is what the stack runs, settled."""
        ...

    def bring(self, state: StackState, origin: StackState, run: str, since: StackEntry | None) -> StackState:
        """Bring the stack to a state and wait until it is there.

        Args:
            state: The state.
            origin: The state before, to tell a return of ECS from somebody else's doing.
            run: By which this run is recognised, after it died too.
            since: The statement with which a run that died began, where this one goes on with it.

        Returns:
            The state, with what was learnt on the way.

        Raises:
            RolloutFailed: It did not come to it.
            IntegrityError: What runs then is not what was promoted.
        """
        ...


@dataclass
class StackWait:
    """A wait for the stack, bounded by our own clock.

    Attributes:
        services: Clock and sleep.
        section: How long, and how often to look.
        watcher: Told of questions that found no answer.
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
        """Ask; None if the answer did not come, and may come later.

        A lost connection says nothing about the stack: it is no reason to give the refresh up.
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
