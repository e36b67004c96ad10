"""Who was notified of what a command did, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jenkins_release.notify.protocol import Delivery


def notified_json(deliveries: Sequence[Delivery]) -> list[dict[str, Any]]:
    """Return the result of each notification, for programs."""
    return [
        {
            "notifier": each.notifier,
            "event": each.event,
            "delivered": each.delivered,
            "problem": each.problem,
            "hint": each.hint,
        }
        for each in deliveries
    ]


def notified_text(deliveries: Sequence[Delivery]) -> str:
    """Return a line about who was notified, after a line feed; empty if no one was.

    Failures are already in the log.
    """
    told = [each.notifier for each in deliveries if each.delivered]
    return f"\nnotified {', '.join(told)}" if told else ""
