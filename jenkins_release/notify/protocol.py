"""What a notifier does, whatever carries the message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from jenkins_release.records.message import Message


class Notifier(Protocol):
    """Carries messages to people."""

    @property
    def shown(self) -> str:
        """Where messages go, without any secret."""

    def deliver(self, message: Message, within_s: float) -> None:
        """Hand a message in, in one attempt.

        Args:
            message: The message.
            within_s: How long all of it may take, in seconds.

        Raises:
            ConfigurationError: It cannot work as configured: certificate, login, an address.
            RemoteError: The server failed or refused; ``retryable`` only if it certainly did not
                take the message. No text of an error and no cause of it holds a secret.
        """


@dataclass(frozen=True)
class Delivery:
    """What became of one notification.

    Attributes:
        notifier: Name of the notifier.
        event: What happened, such as ``promoted``.
        delivered: Whether a server took the message for everybody.
        problem: Why not, in one line; empty if it was delivered.
        hint: What to do about it.
        shown: Where the message went, without any secret; empty if that is not known.
    """

    notifier: str
    event: str
    delivered: bool
    problem: str = ""
    hint: str = ""
    shown: str = ""
