"""Runs the health checks until each has passed or its time is up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from jenkins_release.base.errors import RemoteError
from jenkins_release.config.saas import HealthSection
from jenkins_release.records.refresh import HealthResult
from jenkins_release.rules.saas.health import Streak, expected_version, fault
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.watcher import StackWatcher
from jenkins_release.steps.saas.driver import RolloutFailed


@dataclass
class _Watch:
    section: HealthSection
    streak: Streak
    end: datetime
    due: datetime
    told: str = ""


def ask_health(
    release: str, services: Services, watcher: StackWatcher
) -> tuple[tuple[HealthResult, ...], list[str]]:
    """Run all checks side by side, each with its own interval and deadline.

    A check passes after ``successes`` good answers in a row, and is not repeated then.

    Args:
        release: ``version/build`` that should run; if empty, no version is compared.
        services: Clock, sleep and prober.
        watcher: Hears of each answer that differs from the one before.

    Returns:
        The results in the order of the configuration, and the problems of the checks that did not pass.
    """
    begin = services.now()
    checks = [
        _Watch(
            section,
            Streak(section.url, section.successes),
            begin + timedelta(seconds=section.deadline_s),
            begin,
        )
        for section in services.configuration.saas.health
    ]
    waiting = list(checks)
    while waiting:
        check = min(waiting, key=lambda each: each.due)
        pause = (check.due - services.now()).total_seconds()
        if pause > 0:
            services.wait(pause, f"{check.section.url} to be healthy")
        _ask(check, release, services, watcher)
        check.due = services.now() + timedelta(seconds=check.section.interval_s)
        # The last request was in time. The next one would not be.
        if check.streak.enough or check.due > check.end:
            waiting.remove(check)
            watcher.event(check.section.url, check.streak.told)
    unhealthy = [f"{each.section.url}: {each.streak.told}" for each in checks if not each.streak.enough]
    return tuple(each.streak.result() for each in checks), unhealthy


def _ask(check: _Watch, release: str, services: Services, watcher: StackWatcher) -> None:
    section = check.section
    answer = services.prober.ask(section.url, section.timeout_s)
    problem = fault(section, answer, expected_version(section, release))
    check.streak.count(problem)
    told = problem or "good"
    if told != check.told:
        check.told = told
        watcher.event(section.url, told)


def unhealthy_error(problems: Sequence[str]) -> RolloutFailed:
    """Return the failure of a stack that settled but is not healthy."""
    return RolloutFailed(
        f"the stack is not healthy: {problems[0]}",
        hint="each reason names its check; the stack's own log says why",
        reasons=problems,
    )


def require_healthy(
    release: str, told: str, services: Services, watcher: StackWatcher
) -> tuple[HealthResult, ...]:
    """Run the checks of a stack that a run left unchanged.

    Raises:
        RemoteError: It is not healthy; the message includes ``told``.
    """
    health, problems = ask_health(release, services, watcher)
    if problems:
        raise RemoteError(
            f"the stack is not healthy, {told}: {problems[0]}",
            hint="look at the stack's own log; 'saas rollback' returns to the state before",
            reasons=problems,
        )
    return health
