"""Delivers an event to the notifiers: concurrently, in bounded time, and without raising."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from jenkins_release.base.errors import ConfigurationError, ReleaseError
from jenkins_release.base.retry import RetryPolicy
from jenkins_release.base.utf8 import NotUtf8, read_utf8
from jenkins_release.base.waits import Stopped
from jenkins_release.config.notify import NotifySection
from jenkins_release.notify import Message
from jenkins_release.notify.protocol import Delivery
from jenkins_release.records.event import ReleaseEvent
from jenkins_release.rules.notices.chat import webhook_message
from jenkins_release.rules.notices.mail import mail_message
from jenkins_release.steps.context.services import Services

_log = logging.getLogger(__name__)
_ATTEMPTS = 3
_SHORTEST_WAIT_S = 0.1
_MAX_TEMPLATE_BYTES = 256 * 1024


def deliver(
    event: ReleaseEvent, sections: Sequence[NotifySection], services: Services
) -> tuple[Delivery, ...]:
    """Send an event to notifiers, and report the results. Raises nothing but an interrupt.

    Each notifier has a thread of its own. One that has not finished within its ``timeout_s`` is left
    behind: the thread ends with the process, and what it may still do is no part of the answer.

    Args:
        event: The event.
        sections: The notifiers.
        services: Opens them.
    """
    started = time.monotonic()
    found: dict[str, Delivery] = {}
    threads = []
    for section in sections:
        thread = threading.Thread(
            target=_deliver, args=(event, section, services, started, found), daemon=True, name="notify"
        )
        thread.start()
        threads.append((section, thread))
    deliveries = []
    for section, thread in threads:
        thread.join(max(0.0, started + section.timeout_s - time.monotonic()))
        late = Delivery(
            section.name,
            event.event,
            False,
            f"no answer within {section.timeout_s:g} s",
            "the message may still arrive; notify.timeout_s limits the wait",
        )
        deliveries.append(_said(found.get(section.name) or late))
    return tuple(deliveries)


def render(event: ReleaseEvent, section: NotifySection) -> Message:
    """Return an event as a notifier shows it.

    Raises:
        ConfigurationError: The template file cannot be read or filled.
    """
    if section.kind == "mail":
        return mail_message(event)
    return webhook_message(event, section.template, _own_template(section.template_file))


def _deliver(
    event: ReleaseEvent,
    section: NotifySection,
    services: Services,
    started: float,
    found: dict[str, Delivery],
) -> None:
    """Deliver to one notifier and keep the outcome. Raises nothing."""
    told = Delivery(section.name, event.event, True)
    redact: Callable[[str], str] = str
    try:
        redact = services.redaction
        message = render(event, section)
        notifier = services.notifier(section)
        told = replace(told, shown=notifier.shown)

        def attempt() -> None:
            left = started + section.timeout_s - time.monotonic()
            notifier.deliver(message, max(_SHORTEST_WAIT_S, left))

        # No attempt begins after the time is up: nothing waits for the outcome then.
        rest = section.timeout_s - (time.monotonic() - started)
        policy = RetryPolicy(_ATTEMPTS, rest, 0.5, 5.0, 0.2, setting="timeout_s of [[notify]]")
        services.retry(f"tell {section.name}", attempt, policy=policy)
    except ReleaseError as error:
        told = replace(told, delivered=False, problem=redact(error.message), hint=redact(error.hint))
    except Stopped:
        told = replace(told, delivered=False, problem="the command was asked to stop")
    except Exception as error:  # noqa: BLE001 - a defect here must not fail a release
        told = replace(told, delivered=False, problem=defect(error), hint="please report it")
        # No traceback: what the error says is not known to be free of secrets.
        _log.error("the notifier %s broke: %s", section.name, told.problem)
    found[section.name] = told


def defect(error: Exception) -> str:
    """Say of a defect what it was and where, without its text: anything may stand in that."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" at {Path(last[0].filename).name}:{last[0].lineno}" if last else ""
    return f"unexpected {type(error).__name__}{where}: a bug in jenkins-release"


def _said(told: Delivery) -> Delivery:
    if not told.delivered:
        _log.warning("the notifier %s failed: %s", told.notifier, told.problem)
    return told


def _own_template(file: str) -> str:
    if not file:
        return ""
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(_MAX_TEMPLATE_BYTES + 1)
        text = read_utf8(data)
    except (OSError, NotUtf8) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(
            f"notify.template_file names {file}, which cannot be read: {reason}",
            hint="give a JSON file in UTF-8",
        ) from error
    if len(data) > _MAX_TEMPLATE_BYTES:
        raise ConfigurationError(f"notify.template_file names {file}, which has more than 256 KiB")
    return text
