"""The interface of notifiers."""

from __future__ import annotations

from typing import Protocol

from jenkins_release.base.dataclass import dataclass
from jenkins_release.records.message import Message


class Notifier(Protocol):
    """Delivers messages to people."""

    @property
    def shown(self) -> str:
        """Where messages go, without any secret."""

    def deliver(self, message: Message, within_s: float) -> None:
        """Deliver a message, in one attempt.

        Args:
            message: The message.
            within_s: How long the whole delivery may take, in seconds.

        Raises:
            ConfigurationError: The configuration is wrong: certificate, login, or an address.
            RemoteError: The server failed or refused; ``retryable`` only if it certainly did not accept the
                message. Neither the text nor the cause of an error contains a secret.
        """


@dataclass(frozen=True)
class Delivery:
    """The result of one notification.

    Attributes:
        notifier: Name of the notifier.
        event: What happened, such as ``promoted``.
        delivered: Whether a server accepted the message for all recipients.
        problem: Why not, in one line; empty if it was delivered.
        hint: What to do about it.
        shown: Where the message went, without secrets; empty if unknown.
    """

    notifier: str
    event: str
    delivered: bool
    problem: str = ""
    hint: str = ""
    shown: str = ""
