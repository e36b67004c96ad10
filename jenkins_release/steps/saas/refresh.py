"""Refresh: a released version onto the SaaS stack, healthy or back to what ran before.

A signed statement with the last good state stands before the first change, and one with the outcome
after the last. A refresh that died is finished by running it again: it finds that statement, and what
was begun in AWS.
"""

from __future__ import annotations

from dataclasses import dataclass

from jenkins_release.base.errors import IntegrityError
from jenkins_release.steps.candidate.attest import named
from jenkins_release.steps.candidate.opened import require_continued
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.watcher import StackWatcher
from jenkins_release.steps.notices.announce import announced, by_release
from jenkins_release.steps.saas.driver import Driver, saas_section
from jenkins_release.steps.saas.health import require_healthy
from jenkins_release.steps.saas.history import Recorder, StackKnowledge, read_knowledge, stack_lease
from jenkins_release.steps.saas.run import Move, RefreshReport, RefreshRun, refreshed, unchanged
from jenkins_release.steps.saas.strategy import open_driver
from jenkins_release.steps.saas.target import Released, find_released


@dataclass(frozen=True)
class RefreshRequest:
    """What is to run on the stack.

    Attributes:
        release: ``version``, or ``version/build`` where several builds of it are released.
        key: URI of the promotion key; ``signing.promotion_key`` by default; a dry run needs none.
        dry_run: Check everything and tell what would be done, change nothing.
        accept_lost: Why to go on although records of earlier refreshes are lost; empty: not to.
    """

    release: str
    key: str = ""
    dry_run: bool = False
    accept_lost: str = ""


@announced("saas refresh", by_release, refreshed)
def refresh_stack(
    request: RefreshRequest, services: Services, watcher: StackWatcher | None = None
) -> RefreshReport:
    """Bring a released version onto the stack, or finish a refresh that died.

    Raises:
        ConfigurationError: No stack, no such version or key, or the stack is not the configured one.
        GateRefused: The version is not released, or was withdrawn.
        IntegrityError: The candidate was altered; records of earlier refreshes are lost, and no reason is
            given; or what ran was not what was promoted, and the stack was returned.
        RemoteError: The stack did not settle or was not healthy, and was returned to what ran before, as
            far as the message says so; or share or AWS failed.
        LeaseHeld: Another refresh of the stack, or somebody else's deployment, is running.
    """
    watcher = watcher or StackWatcher()
    saas_section(services)
    because = named("accept-lost", request.accept_lost) if request.accept_lost else ""
    signer = services.promotion_signer(request.key, dry_run=request.dry_run)
    target = find_released(request.release, services)
    driver = open_driver(services, watcher)
    if request.dry_run:
        knowledge = _knowledge(target, because, services)
        move = _move(target, driver, knowledge, services, dry_run=True)
        return unchanged(move, services, changed=not _there(move, knowledge))
    assert signer is not None  # a dry run has ended
    with stack_lease(services) as lease:
        before, target = target, find_released(request.release, services)
        require_continued(before.opened, target.opened)
        knowledge = _knowledge(target, because, services)
        move = _move(target, driver, knowledge, services, dry_run=False)
        if not knowledge.lost and _there(move, knowledge) and driver.runs(move.after):
            told = "it runs the release already, and nothing was changed"
            return unchanged(move, services, health=require_healthy(target.release, told, services, watcher))
        recorder = Recorder(
            target.opened, signer, services, knowledge.history, accepted=knowledge.lost, because=because
        )
        run = RefreshRun(move, driver, recorder, services, watcher)
        run.begin()
        driver.guard = lease.confirm
        return run.forward(or_back=True)


def _knowledge(target: Released, because: str, services: Services) -> StackKnowledge:
    """Read what is known about the stack; without a reason, refuse to go on where something is lost.

    What the newest record says decides what a refresh that fails returns to, and what it may not disturb.
    """
    knowledge = read_knowledge(services)
    # What was seen of the target before must be part of the history, too.
    require_continued(target.opened, knowledge.opened.get(target.release))
    if knowledge.lost and not because:
        reasons = list(dict.fromkeys(each.why for each in knowledge.lost))
        raise IntegrityError(
            f"records of earlier refreshes of {services.configuration.saas.stack} are lost: {reasons[0]}",
            hint="restore the files from a backup of the share; or see that the stack runs what it should, "
            "and go on without them: --accept-lost REASON",
            reasons=reasons,
        )
    return knowledge


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
