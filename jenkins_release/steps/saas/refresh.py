"""Refresh: brings a released version onto the SaaS stack, or returns the stack to what ran before.

A signed statement with the last good state precedes the first change, and one with the outcome follows the
last. To finish a refresh that died, run it again: it finds that statement, and what was started in AWS.
"""

from __future__ import annotations

from jenkins_release.base.dataclass import dataclass
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
    """What to run on the stack.

    Attributes:
        release: ``version``, or ``version/build`` if several builds of it are released.
        key: URI of the promotion key; ``signing.promotion_key`` by default; a dry run needs none.
        dry_run: Check everything and report what would be done, without changing anything.
        accept_lost: Reason to continue although records of earlier refreshes are lost; empty to refuse.
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
        IntegrityError: The candidate was altered; records of earlier refreshes are lost and ``accept_lost``
            is empty; or the stack ran something other than what was promoted, and was returned.
        RemoteError: The stack did not settle or was not healthy, and was returned if the message says so;
            or share or AWS failed.
        LeaseHeld: Another refresh of the stack, or someone else's deployment, is running.
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
    """Read what is known about the stack; refuse if records are lost and no reason accepts that.

    The newest record decides what a failed refresh returns to, and which deployments it may not disturb.
    """
    knowledge = read_knowledge(services)
    # The history was read from the same share: it must include all that was seen of the target before.
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
    driver.listed = knowledge.listed
    driver.require_alone(knowledge.history.unsettled)
    observed = driver.observe()
    if observed.parts:
        observed = knowledge.named(observed, services)
    before = knowledge.history.good_state(observed)
    return Move("refresh", target.release, before, driver.prepare(target, dry_run=dry_run))


def _there(move: Move, knowledge: StackKnowledge) -> bool:
    """Whether the stack runs the wanted state already, and the last statement says so."""
    history = knowledge.history
    recorded = history.unsettled is None and history.state.release == move.after.release
    return recorded and move.before.definitions == move.after.definitions
