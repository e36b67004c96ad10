"""Rollback: returns the SaaS stack to the state before the last refresh.

A second run changes nothing. To go further back, refresh the stack to an older release that is in force.
"""

from __future__ import annotations

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused, IntegrityError
from jenkins_release.records.refresh import StackState
from jenkins_release.rules.saas.stack import StackEntry
from jenkins_release.steps.candidate.opened import reopen
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.watcher import StackWatcher
from jenkins_release.steps.notices.announce import announced, by_stack
from jenkins_release.steps.saas.driver import Driver, saas_section
from jenkins_release.steps.saas.health import require_healthy
from jenkins_release.steps.saas.history import (
    Recorder,
    StackKnowledge,
    read_knowledge,
    stack_lease,
)
from jenkins_release.steps.saas.run import Move, RefreshReport, RefreshRun, refreshed, unchanged
from jenkins_release.steps.saas.strategy import open_driver


@dataclass(frozen=True)
class RollbackRequest:
    """How to roll back.

    Attributes:
        key: URI of the promotion key; ``signing.promotion_key`` by default; a dry run needs none.
        dry_run: Check everything and report what would be done, without changing anything.
    """

    key: str = ""
    dry_run: bool = False


@announced("saas rollback", by_stack, refreshed)
def rollback_stack(
    request: RollbackRequest, services: Services, watcher: StackWatcher | None = None
) -> RefreshReport:
    """Return to the state before the last refresh, or finish a rollback that died.

    It is recorded in the chain of the candidate that the stack leaves. A rollback that fails is not undone,
    since that would bring back the state that it was meant to leave.

    Raises:
        ConfigurationError: No stack, no key, nothing to return to, or a task definition that is gone.
        GateRefused: The release to return to was withdrawn.
        IntegrityError: The candidate was altered, or what runs is not what was recorded.
        RemoteError: The stack did not settle or is not healthy; or share or AWS failed.
        LeaseHeld: A refresh of the stack, or someone else's deployment, is running.
    """
    watcher = watcher or StackWatcher()
    saas_section(services)
    signer = services.promotion_signer(request.key, dry_run=request.dry_run)
    driver = open_driver(services, watcher)
    if request.dry_run:
        knowledge = read_knowledge(services)
        _, move = _move(knowledge, driver, services)
        return unchanged(move, services, changed=not _there(move, knowledge))
    assert signer is not None  # a dry run has ended
    with stack_lease(services) as lease:
        knowledge = read_knowledge(services)
        last, move = _move(knowledge, driver, services)
        opened = reopen(knowledge.opened[last.candidate])
        opened.require_unaltered()
        if _there(move, knowledge) and driver.runs(move.after):
            told = "it was returned already, and nothing was changed"
            health = require_healthy(move.after.release, told, services, watcher)
            return unchanged(move, services, health=health)
        run = RefreshRun(
            move, driver, Recorder(opened, signer, services, knowledge.history), services, watcher
        )
        run.begin()
        driver.guard = lease.confirm
        return run.forward(or_back=False)


def _move(knowledge: StackKnowledge, driver: Driver, services: Services) -> tuple[StackEntry, Move]:
    """Return the last statement, and the move that undoes it."""
    if knowledge.lost:
        raise IntegrityError(
            f"nobody can tell what {services.configuration.saas.stack} ran before: {knowledge.lost[0].why}",
            hint="restore the file from a backup of the share, or refresh the stack: "
            "saas refresh VERSION --accept-lost REASON",
            reasons=list(dict.fromkeys(each.why for each in knowledge.lost)),
        )
    history = knowledge.history
    last, after = history.last, history.undone
    if last is None or not after.known:
        raise ConfigurationError(
            f"no state of {services.configuration.saas.stack} is recorded to return to",
            hint="refresh it to an older release that is in force: saas refresh VERSION",
        )
    for each in knowledge.released:
        if each.release == after.release and each.withdrawn:
            raise GateRefused(
                f"{after.release}, which ran before, was withdrawn",
                hint="refresh the stack to a release that is in force: saas refresh VERSION",
            )
    _require_proven(after.release, knowledge)
    driver.listed = knowledge.listed
    driver.require_alone(history.unsettled)
    driver.check(after)
    return last, Move("rollback", last.record.release, _left(knowledge, driver, services), after)


def _require_proven(release: str, knowledge: StackKnowledge) -> None:
    """Refuse to return to a release that cannot be proven to be in force.

    A state without a release is what ran before the first refresh, and is accepted.
    """
    if not release:
        return
    why = knowledge.why_unproven(release)
    if why:
        raise IntegrityError(
            f"{release}, which ran before, cannot be proven to be in force: {why}",
            hint="refresh the stack to a release that is in force: saas refresh VERSION",
        )


def _left(knowledge: StackKnowledge, driver: Driver, services: Services) -> StackState:
    """Return the state to leave: the target of a run that died or failed, or else what runs now."""
    history = knowledge.history
    if history.unsettled is not None:
        said = history.unsettled.record
        return said.before if said.action == "rollback" else said.after
    observed = driver.observe()
    return knowledge.named(observed, services) if observed.parts else history.state


def _there(move: Move, knowledge: StackKnowledge) -> bool:
    """Whether the last statement says that the stack was returned, and it runs that state."""
    history = knowledge.history
    settled = history.unsettled is None and history.state == history.undone
    return settled and move.before.definitions == move.after.definitions
