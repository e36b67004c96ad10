"""Who was told what a command did, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jenkins_release.notify.protocol import Delivery


def notified_json(deliveries: Sequence[Delivery]) -> list[dict[str, Any]]:
    """Return what became of each notification, for programs."""
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
    """Return a line about who was told, with a line feed before it; empty if nobody was.

    What failed is in the log already.
    """
    told = [each.notifier for each in deliveries if each.delivered]
    return f"\nnotified {', '.join(told)}" if told else ""
