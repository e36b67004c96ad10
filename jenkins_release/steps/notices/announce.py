"""Announces what a step did, afterwards. Whatever fails here, the step is done.

A step is decorated with :func:`announced`, or calls :func:`announce` with what happened. Nothing is
announced of a dry run, nor by a step that found nothing to do.
"""

from __future__ import annotations

import functools
import logging
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from jenkins_release.base.dataclass import dataclass
from jenkins_release.config.notify import EventKind
from jenkins_release.notify.protocol import Delivery
from jenkins_release.records.event import EventFailure, ReleaseEvent
from jenkins_release.rules.gate.decision import Decision
from jenkins_release.rules.notices.events import failure_of, is_told, make_event
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.notices.delivery import defect, deliver

_log = logging.getLogger(__name__)


class _Request(Protocol):
    @property
    def dry_run(self) -> bool: ...


Q = TypeVar("Q", bound=_Request)
R = TypeVar("R")
P = ParamSpec("P")


class _Decorator(Protocol):
    def __call__(
        self, verb: Callable[Concatenate[Q, Services, P], R], /
    ) -> Callable[Concatenate[Q, Services, P], R]: ...


@dataclass(frozen=True)
class Happened:
    """What happened, before it becomes an event. See :class:`jenkins_release.records.event.ReleaseEvent`.

    Attributes:
        kind: What happened.
        version: Version, as it was asked for.
        build: Build; empty if it is about no single one.
        by: Who did it; empty for who runs the step.
        location: Where to look.
        verdict: QA's, with ``signed-off``.
        facts: Name and value of each.
        next_step: What comes next, and who does it.
        command: The command for that.
        failure: Why a step failed.
        test: Whether it never happened.
    """

    kind: EventKind
    version: str
    build: str = ""
    by: str = ""
    location: str = ""
    verdict: str = ""
    facts: Sequence[tuple[str, str]] = ()
    next_step: str = ""
    command: str = ""
    failure: EventFailure | None = None
    test: bool = False


def announce(what: Callable[[], Happened | None], services: Services) -> tuple[Delivery, ...]:
    """Notify every notifier that wants the event. Raises nothing but an interrupt.

    Args:
        what: Returns what happened, or None if there is nothing to tell. Only called where somebody
            is to be told; what it raises is logged.
        services: Notifiers, time, and who runs this; ``notified`` has the outcome as well.

    Returns:
        The result of each notification.
    """
    if not services.configuration.notify:
        return ()
    try:
        happened = what()
        if happened is None:
            return ()
        sections = [each for each in services.configuration.notify if each.wants(happened.kind)]
        told = deliver(event_of(happened, services), sections, services)
    except Exception as error:  # noqa: BLE001 - a defect here must not fail a release
        _log.error("no notification was sent: %s", defect(error))
        return ()
    services.notified.extend(told)
    return told


def event_of(happened: Happened, services: Services) -> ReleaseEvent:
    """Return the event: what happened, when, by whom and in which build."""
    return make_event(
        happened.kind,
        event_id=uuid.uuid4().hex,
        product=services.configuration.product.name,
        version=happened.version,
        build=happened.build,
        at=services.now(),
        by=happened.by or services.user(),
        build_url=services.build_url,
        location=happened.location,
        verdict=happened.verdict,
        facts=happened.facts,
        next_step=happened.next_step,
        command=happened.command,
        failure=happened.failure,
        test=happened.test,
        redact=services.redaction,
    )


def announced(
    step: str,
    about: Callable[[Any], tuple[str, str]],
    happened: Callable[[Any, Any, Services], Happened | None] | None = None,
) -> _Decorator:
    """Make a step announce what it did, or why it failed.

    Args:
        step: Group and verb of its command, for the message about a failure.
        about: Returns version and build of a request; an empty string for what it does not say.
        happened: Returns from request and report what the step did, or None if it found nothing to
            do. Without it only a failure is told.
    """

    def decorate(verb: Callable[Concatenate[Q, Services, P], R]) -> Callable[Concatenate[Q, Services, P], R]:
        @functools.wraps(verb)
        def run(request: Q, services: Services, *more: P.args, **named: P.kwargs) -> R:
            try:
                report = verb(request, services, *more, **named)
            except Exception as error:
                if not request.dry_run:
                    failure = failure_of(error, step)
                    announce(lambda: _failed(failure, *about(request), services), services)
                raise
            if happened is not None and not request.dry_run:
                announce(lambda: happened(request, report, services), services)
            return report

        return run  # type: ignore[return-value]  # names of the first two may be given too

    return decorate


def by_candidate(request: Any) -> tuple[str, str]:
    """Return version and build of a request that names a candidate."""
    return request.candidate.version, request.candidate.build


def by_version(request: Any) -> tuple[str, str]:
    """Return version and build of a request that names them apart; the build may be empty."""
    return request.version, request.build


def by_version_alone(request: Any) -> tuple[str, str]:
    """Return the version of a request that leaves the build to what was published."""
    return request.version, ""


def by_release(request: Any) -> tuple[str, str]:
    """Return version and build of a refresh; the build may be empty."""
    version, _, build = request.release.partition("/")
    return version, build


def by_stack(_: Any) -> tuple[str, str]:
    """A rollback does not say what it leaves."""
    return "", ""


def overridden_facts(decision: Decision) -> list[tuple[str, str]]:
    """Return what an override let pass, to stand before everything else."""
    return [
        ("OVERRIDDEN", f"{each.reason.message}, by {each.override.by}: {each.override.reason}")
        for each in decision.waived
    ]


def _failed(failure: EventFailure, version: str, build: str, services: Services) -> Happened | None:
    if not is_told(failure, services.build_url):
        return None
    return Happened("failed", version, build, failure=failure, next_step=failure.hint)
