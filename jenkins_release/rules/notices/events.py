"""Events of a release: their titles and limits, the next step, and which failures are reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from jenkins_release.base.errors import Category, ReleaseError
from jenkins_release.base.text import plain, shortened
from jenkins_release.config.notify import EventKind
from jenkins_release.records.event import EventFact, EventFailure, ReleaseEvent, subject
from jenkins_release.records.plan import Plan
from jenkins_release.rules.gate.decision import Decision
from jenkins_release.rules.gate.policy import Policy

MAX_TITLE = 200
MAX_TEXT = 1000
"""Maximum characters of a value, message or reason: an error may quote a page of another program's output."""
MAX_FACTS = 40
MAX_REASONS = 20
_TITLES: dict[EventKind, str] = {
    "candidate": "{} is ready to be tested",
    "signed-off": "{}: QA says {}",
    "revoked": "{}: QA takes its sign-off back",
    "waiting": "{} waits for approval",
    "promoted": "{} is promoted",
    "published": "{} is published",
    "refreshed": "{} runs in the SaaS stack",
    "withdrawn": "{} is withdrawn",
    "failed": "{}: {} failed",
}
_ANSWERS = frozenset({Category.CONFIGURATION, Category.REFUSED, Category.LEASE})
"""Failures that answer the person who asked: a wrong request, a shut gate, a held lease."""


def make_event(
    kind: EventKind,
    *,
    event_id: str,
    product: str,
    version: str,
    build: str = "",
    at: datetime,
    by: str,
    build_url: str = "",
    location: str = "",
    verdict: str = "",
    facts: Sequence[tuple[str, str]] = (),
    next_step: str = "",
    command: str = "",
    failure: EventFailure | None = None,
    test: bool = False,
    redact: Callable[[str], str] = lambda text: text,
) -> ReleaseEvent:
    """Make an event. Every text in it is one line, bounded, and without secrets.

    Args:
        kind: What happened.
        event_id: Unique id.
        product: Product name.
        version: Version, as it was asked for.
        build: Build; empty if it is not about a single one.
        at: When, UTC.
        by: Who did it.
        build_url: URL of the Jenkins build.
        location: Where to look.
        verdict: ``pass`` or ``fail``, with ``signed-off``.
        facts: Name and value of each; empty values are left out.
        next_step: What comes next, and who does it.
        command: The command for that.
        failure: Why a step failed.
        test: Whether it never happened.
        redact: Removes secrets from a text.
    """
    about = subject(product, version, build)
    title = _TITLES[kind].format(about, failure.step if failure else verdict)
    told = [(name, value) for name, value in facts if value]
    if len(told) > MAX_FACTS:
        told = [*told[: MAX_FACTS - 1], ("more", f"{len(told) - MAX_FACTS + 1} facts are left out")]

    def clean(text: str, limit: int = MAX_TEXT) -> str:
        # Redact before cutting: half a secret would not be found.
        return shortened(plain(redact(text)), limit)

    values: dict[str, Any] = {
        "id": event_id,
        "event": kind,
        "title": clean(f"[Test] {title}" if test else title, MAX_TITLE),
        "product": clean(product, MAX_TITLE),
        "version": clean(version, MAX_TITLE),
        "build": clean(build, MAX_TITLE),
        "at": at,
        "by": clean(by, MAX_TITLE),
        "build_url": clean(build_url),
        "location": clean(location),
        "verdict": verdict,
        "facts": tuple(EventFact(name=clean(name, MAX_TITLE), value=clean(value)) for name, value in told),
        "next_step": clean(next_step),
        "command": clean(command),
        "failure": _bounded(failure, clean) if failure else None,
        "test": test,
    }
    return ReleaseEvent(**values)


def _bounded(failure: EventFailure, clean: Callable[..., str]) -> EventFailure:
    reasons = [clean(reason) for reason in failure.reasons[:MAX_REASONS]]
    if len(failure.reasons) > MAX_REASONS:
        reasons[-1] = f"... and {len(failure.reasons) - MAX_REASONS + 1} more"
    return EventFailure(
        step=failure.step,
        category=failure.category,
        message=clean(failure.message),
        hint=clean(failure.hint),
        reasons=tuple(reasons),
    )


def failure_of(error: Exception, step: str) -> EventFailure:
    """Return how a failed step is reported. Of a bug, only the type: its text may contain anything."""
    if isinstance(error, ReleaseError):
        return EventFailure(step=step, **error.diagnostics())
    return EventFailure(
        step=step,
        category=str(Category.BUG),
        message=f"unexpected {type(error).__name__}: a bug in jenkins-release",
        hint="the log of the run has the rest",
    )


def is_told(failure: EventFailure, build_url: str) -> bool:
    """Whether a failure is reported to anyone besides the user who ran the step.

    In a Jenkins build, every failure is reported. Outside, a person reads the answer on the terminal, and no
    one else needs to hear of a wrong request, a shut gate or a held lease.

    Args:
        failure: The failure.
        build_url: URL of the Jenkins build; empty outside Jenkins.
    """
    return bool(build_url) or failure.category not in _ANSWERS


def only_approval_is_missing(plan: Plan, decision: Decision) -> bool:
    """Whether a plan waits only for approval."""
    missing = {reason.condition for reason in decision.unmet}
    in_the_way = decision.altered or plan.occupied or plan.obstacles
    # Installers are released by a publication, which the registry does not know.
    left = not plan.done or bool(plan.installers)
    return left and bool(missing) and missing <= {"approvals", "separation"} and not in_the_way


def who_may_approve(plan: Plan, decision: Decision, policy: Policy) -> str:
    """Say who may approve a plan, if the policy names people.

    Args:
        plan: The plan, whose requester may be excluded.
        decision: The gate's decision about it; the testers may be excluded.
        policy: The policy.
    """
    excluded = {
        "requester": (f"who asked for it ({plan.requester})", [plan.requester]),
        "builder": ("who built it", []),
        "tester": ("who tested it", [verdict.tester for verdict in decision.verdicts]),
    }
    others = [excluded[role] for role in policy.separate]
    out = [person for _, people in others for person in people]
    named = [
        name for name in policy.named_approvers if not any(policy.directory.same(name, each) for each in out)
    ]
    if policy.approvers:
        who = ", ".join(named) or "no one in policy.approvers"
    else:
        who = "everyone with an approval key"
    return f"{who}; never {', '.join(text for text, _ in others)}" if others else who
