"""Notify: a message that says it is a test, to each notifier, to see whether the set-up works."""

from __future__ import annotations

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.text import did_you_mean
from jenkins_release.config.notify import EventKind, NotifySection
from jenkins_release.notify import Message
from jenkins_release.notify.protocol import Delivery
from jenkins_release.records.event import EventFailure
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.notices.announce import Happened, event_of
from jenkins_release.steps.notices.delivery import deliver, render

_VERSION, _BUILD = "8.1.0", "42"
_FAILURE = EventFailure(
    step="promote run",
    category="remote",
    message="this is how a failed step is reported",
    hint="What to do about it is here.",
    reasons=("every single reason", "one in each line"),
)


@dataclass(frozen=True)
class NotifyTestRequest:
    """What to try.

    Attributes:
        event: What the message pretends.
        only: Names of the notifiers to try; all of them where empty.
        dry_run: Make the messages, send nothing.
    """

    event: EventKind = "candidate"
    only: tuple[str, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True)
class NotifyTestReport:
    """What became of it.

    Attributes:
        messages: Name of each notifier to the message that it would carry.
        deliveries: What became of each; none after a dry run.
    """

    messages: dict[str, Message]
    deliveries: tuple[Delivery, ...]


def try_notifiers(request: NotifyTestRequest, services: Services) -> NotifyTestReport:
    """Send a message that says it is a test to each notifier, whatever events it takes otherwise.

    Raises:
        ConfigurationError: No notifier is configured, one is not known, or a template cannot be filled.
    """
    sections = _chosen(request, services)
    failed = request.event == "failed"
    event = event_of(
        Happened(
            request.event,
            _VERSION,
            _BUILD,
            location=services.configuration.share.release_candidate,
            verdict="pass" if request.event == "signed-off" else "",
            facts=[("note", "nothing happened: this is a test of the notifications")],
            next_step=_FAILURE.hint if failed else "What comes next, and the command for it, are here.",
            command="jenkins-release candidate list",
            failure=_FAILURE if failed else None,
            test=True,
        ),
        services,
    )
    messages = {section.name: render(event, section) for section in sections}
    deliveries = () if request.dry_run else deliver(event, sections, services)
    return NotifyTestReport(messages, deliveries)


def _chosen(request: NotifyTestRequest, services: Services) -> list[NotifySection]:
    configured = {section.name: section for section in services.configuration.notify}
    if not configured:
        raise ConfigurationError(
            "no notifier is configured", hint="add a section [[notify]]: docs/notifications.md has examples"
        )
    unknown = sorted({*request.only} - {*configured})
    if unknown:
        raise ConfigurationError(
            f"there is no notifier {unknown[0]!r}",
            hint=f"{did_you_mean(unknown[0], configured)} release.toml has {', '.join(configured)}".lstrip(),
        )
    return [configured[name] for name in configured if not request.only or name in request.only]
