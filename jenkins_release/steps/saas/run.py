"""One run that changes the SaaS stack: recorded before its first change, and again with its outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError, ReleaseError, RemoteError
from jenkins_release.records.refresh import (
    Action,
    HealthResult,
    InstanceResult,
    Outcome,
    StackState,
    Strategy,
)
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.watcher import StackWatcher
from jenkins_release.steps.notices.announce import Happened
from jenkins_release.steps.saas.driver import Driver, Interfered, saas_section
from jenkins_release.steps.saas.health import ask_health, unhealthy_error
from jenkins_release.steps.saas.history import Recorder, new_record


@dataclass(frozen=True)
class RefreshReport:
    """What a refresh or a rollback did, or would do.

    Attributes:
        stack: Name of the stack.
        strategy: How it is refreshed.
        action: ``refresh`` or ``rollback``.
        release: The release that the stack went to; for a rollback, the one that it left.
        before: The state before.
        after: The state that runs now, or would.
        changed: Whether anything had to be done.
        health: What the checks found; empty after a dry run.
        instances: How Run Command ended on each instance.
        attestation: File name of the attestation; empty if nothing had to be recorded.
        head: SHA-256 in hex of its file, to be kept elsewhere.
    """

    stack: str
    strategy: Strategy
    action: Action
    release: str
    before: StackState
    after: StackState
    changed: bool
    health: tuple[HealthResult, ...] = ()
    instances: tuple[InstanceResult, ...] = ()
    attestation: str = ""
    head: str = ""


@dataclass(frozen=True)
class Move:
    """From which state to which a run takes the stack.

    Attributes:
        action: ``refresh`` or ``rollback``.
        release: The release that the stack goes to; for a rollback, the one that it leaves.
        before: The last good state; for a rollback, the state that the stack leaves.
        after: The state that the stack goes to.
    """

    action: Action
    release: str
    before: StackState
    after: StackState


def unchanged(
    move: Move, services: Services, *, health: tuple[HealthResult, ...] = (), changed: bool = False
) -> RefreshReport:
    """Report that nothing was done, or with ``changed`` what a real run would do."""
    section = saas_section(services)
    strategy: Strategy = "ecs" if section.strategy == "ecs" else "ssm"
    return RefreshReport(
        section.stack, strategy, move.action, move.release, move.before, move.after, changed, health
    )


class RefreshRun:
    """A run, under the stack's lease.

    Args:
        move: From which state to which it goes.
        driver: The stack.
        recorder: Records what happens.
        services: Clock and prober.
        watcher: Hears what happens.
    """

    def __init__(
        self, move: Move, driver: Driver, recorder: Recorder, services: Services, watcher: StackWatcher
    ) -> None:
        self._move = move
        self._after = move.after
        self._driver = driver
        self._recorder = recorder
        self._services = services
        self._watcher = watcher
        self._started_on = services.now()
        # What a run that died or failed has changed is unknown, so the stack never counts as unchanged.
        self._open_end = recorder.history.unsettled is not None
        self._since = recorder.history.resumes(move.action, move.release, move.before, move.after)
        self._health: tuple[HealthResult, ...] = ()

    def begin(self) -> None:
        """Record what is about to happen, unless a run that died recorded exactly that."""
        if self._since is None:
            self._record("started")
            return
        self._recorder.resume(self._since)
        self._started_on = self._since.record.started_on
        self._watcher.event(self._since.name, "goes on with the run that began there")

    def forward(self, *, or_back: bool) -> RefreshReport:
        """Bring the stack to the state, run the checks, and record the outcome.

        Args:
            or_back: Whether to return to the state before if that fails.

        Raises:
            RemoteError: It failed; the message says in which state the stack is.
            ConfigurationError: It failed because of the configuration; the stack is in the state before.
            IntegrityError: It failed because the stack ran something other than what was promoted.
        """
        try:
            self._after = self._bring(self._after, self._move.before, str(self._recorder.run))
        except ReleaseError as error:
            raise (self._back(error) if or_back else self._failed(error)) from error
        instances = self._driver.instances
        attestation = self._record("done", health=self._health, instances=instances)
        return RefreshReport(
            saas_section(self._services).stack,
            self._driver.strategy,
            self._move.action,
            self._move.release,
            self._move.before,
            self._after,
            self._driver.touched,
            self._health,
            instances,
            attestation,
            self._recorder.opened.head,
        )

    def _bring(self, state: StackState, origin: StackState, run: str) -> StackState:
        brought = self._driver.bring(state, origin, run, self._since)
        self._health, problems = ask_health(state.release, self._services, self._watcher)
        if problems:
            raise unhealthy_error(problems)
        return brought

    def _back(self, problem: ReleaseError) -> ReleaseError:
        if isinstance(problem, Interfered):
            return self._failed(problem, "it is left as it is, somebody else changed it")
        if not self._driver.touched and not self._open_end:
            return self._ended("returned", problem, "nothing was changed")
        if not self._move.before.known:
            return self._failed(problem, "no state is recorded to return to")
        shown, found, instances = self._move.before.shown, self._health, self._driver.instances
        self._watcher.event(self._move.release, f"failed: {problem.message}")
        self._watcher.event(self._move.release, f"the stack is returned to {shown}")
        try:
            self._driver.check(self._move.before)
            self._bring(self._move.before, self._after, f"{self._recorder.run} back")
        except ReleaseError as again:
            told = f"and it could not be returned to {shown}: {again.message}"
            return self._failed(problem, told, again.reasons)
        # The record says why it failed. The outcome "returned" says already that the state before is healthy.
        self._health = found
        return self._ended("returned", problem, f"the stack was returned to {shown}", (), instances)

    def _failed(
        self, problem: ReleaseError, told: str = "the stack is in no known state", further: Sequence[str] = ()
    ) -> ReleaseError:
        return self._ended("failed", problem, told, further)

    def _ended(
        self,
        outcome: Outcome,
        problem: ReleaseError,
        told: str,
        further: Sequence[str] = (),
        instances: Sequence[InstanceResult] | None = None,
    ) -> ReleaseError:
        file = self._record(
            outcome,
            problem=f"{problem.message}; {told}",
            health=self._health,
            instances=self._driver.instances if instances is None else tuple(instances),
        )
        kind: type[ReleaseError] = RemoteError
        if isinstance(problem, IntegrityError):
            kind = IntegrityError
        elif isinstance(problem, ConfigurationError) and outcome == "returned":
            kind = ConfigurationError
        hints = {
            "returned": f"recorded in {file}; mend the cause, then refresh again",
            "failed": f"recorded in {file}; 'saas status' shows what runs, 'saas rollback' returns",
        }
        hint = "; ".join(filter(None, [problem.hint, hints[outcome]]))
        stack = saas_section(self._services).stack
        return kind(
            f"the {self._move.action} of {stack} failed, {told}: {problem.message}",
            hint=hint,
            reasons=[*problem.reasons, *further],
        )

    def _record(self, outcome: Outcome, **values: Any) -> str:
        record = new_record(
            self._services,
            self._started_on,
            action=self._move.action,
            outcome=outcome,
            release=self._move.release,
            before=self._move.before,
            after=self._after,
            **values,
        )
        return self._recorder.add(record)


def refreshed(_: Any, report: RefreshReport, __: Services) -> Happened | None:
    """The stack runs something else; nothing to report if nothing was recorded."""
    if not report.attestation:
        return None
    version, _slash, build = report.after.release.partition("/")
    return Happened(
        "refreshed",
        version,
        build,
        location=report.stack,
        facts=[
            ("stack", f"{report.stack}, by {report.action}"),
            ("runs", report.after.shown),
            ("before", report.before.shown),
            *((part.name, part.definition) for part in report.after.parts if part.definition),
            *((each.instance, each.status) for each in report.instances),
            *((each.url, f"{each.good} of {each.answers} answers good") for each in report.health),
            ("recorded in", report.attestation),
        ],
        next_step="Clients use it. What runs where:",
        command="jenkins-release saas status",
    )
