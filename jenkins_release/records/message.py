"""A message to people, formatted for the medium that carries it."""

from __future__ import annotations

from datetime import datetime

from jenkins_release.base.dataclass import dataclass


@dataclass(frozen=True)
class Message:
    """A message, formatted for the medium that carries it.

    Attributes:
        id: Unique id of the event; letters and digits.
        at: When it happened, UTC.
        subject: The event in one line.
        text: The message as plain text.
        html: The message as HTML, for mail.
        document: The body for a webhook: JSON in UTF-8.
    """

    id: str
    at: datetime
    subject: str
    text: str
    html: str = ""
    document: bytes = b""
