"""Refresh: a released version onto the SaaS stack, healthy or back to what ran before.

A signed statement with the last good state stands before the first change, and one with the outcome
after the last. A refresh that died is finished by running it again: it finds that statement, and what
was begun in AWS.
"""

from __future__ import annotations

from dataclasses import dataclass

from jenkins_release.steps._announce import announced
from jenkins_release.steps._events import by_release, refreshed
from jenkins_release.steps._healthy import require_healthy
from jenkins_release.steps._refresh_run import Move, RefreshReport, Run, unchanged
from jenkins_release.steps._released import Released, find_released
from jenkins_release.steps._stack import Recorder, StackKnowledge, read_knowledge, stack_lease
from jenkins_release.steps._stack_driver import Driver, open_driver, saas_section
from jenkins_release.steps.services import Services
from jenkins_release.steps.watcher import StackWatcher


@dataclass(frozen=True)
class RefreshRequest:
    """What is to run on the stack.

    Attributes:
        release: ``version``, or ``version/build`` where several builds of it are released.
        key: URI of the promotion key; ``signing.promotion_key`` by default.
        dry_run: Check everything and tell what would be done, change nothing.
    """

    release: str
    key: str = ""
    dry_run: bool = False


@announced("saas refresh", by_release, refreshed)
def refresh_stack(
    request: RefreshRequest, services: Services, watcher: StackWatcher | None = None
) -> RefreshReport:
    """Bring a released version onto the stack, or finish a refresh that died.

    Raises:
        ConfigurationError: No stack, no such version or key, or the stack is not the configured one.
        GateRefused: The version is not released, or was withdrawn.
        IntegrityError: The candidate was altered; or what ran was not what was promoted, and the stack
            was returned.
        RemoteError: The stack did not settle or was not healthy, and was returned to what ran before, as
            far as the message says so; or share or AWS failed.
        LeaseHeld: Another refresh of the stack, or somebody else's deployment, is running.
    """
    watcher = watcher or StackWatcher()
    saas_section(services)
    signer = services.signer("promotion", request.key or services.configuration.signing.promotion_key)
    target = find_released(request.release, services)
    driver = open_driver(services, watcher)
    if request.dry_run:
        knowledge = read_knowledge(services)
        move = _move(target, driver, knowledge, services, dry_run=True)
        return unchanged(move, services, changed=not _there(move, knowledge))
    with stack_lease(services) as lease:
        target = find_released(request.release, services)
        knowledge = read_knowledge(services)
        move = _move(target, driver, knowledge, services, dry_run=False)
        if _there(move, knowledge) and driver.runs(move.after):
            told = "it runs the release already, and nothing was changed"
            return unchanged(move, services, health=require_healthy(target.release, told, services, watcher))
        recorder = Recorder(target.opened, signer, services, knowledge.history)
        run = Run(move, driver, recorder, services, watcher)
        run.begin()
        driver.guard = lease.confirm
        return run.forward(or_back=True)


def _move(
    target: Released, driver: Driver, knowledge: StackKnowledge, services: Services, *, dry_run: bool
) -> Move:
    driver.require_alone(knowledge.history.unsettled)
    observed = driver.observe()
    if observed.parts:
        observed = knowledge.named(observed, services)
    before = knowledge.history.good_state(observed)
    return Move("refresh", target.release, before, driver.prepare(target, dry_run=dry_run))


def _there(move: Move, knowledge: StackKnowledge) -> bool:
    """Whether the stack is where it is to go, and the last statement says so."""
    history = knowledge.history
    recorded = history.unsettled is None and history.state.release == move.after.release
    return recorded and move.before.definitions == move.after.definitions
