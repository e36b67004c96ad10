"""Every exception of smtplib, and of what it lets through, becomes one of ours."""

from __future__ import annotations

import smtplib
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from jenkins_release.notify import Message
from jenkins_release.notify.mail import MailNotifier
from tests.fixtures.foreign import SYSTEM, Made, classes, ending, makers, raises
from tests.fixtures.notify import SMTP_LOGIN, Authority, Mailbox, mail_server

MESSAGE = Message("0af7", datetime(2026, 11, 5, tzinfo=UTC), "title", "text")
USER, PASSWORD = SMTP_LOGIN.values()
PLACES = ["connect", "ehlo", "starttls", "login", "sendmail", "getreply", "putcmd"]


def made(code: int) -> dict[str, Made]:
    """What makes each exception, with a server's reply of that code."""
    given: dict[type[Exception], tuple[Any, ...]] = {
        smtplib.SMTPResponseException: (code, b"no"),
        smtplib.SMTPSenderRefused: (code, b"no", "release@nextlabs.example"),
        smtplib.SMTPRecipientsRefused: ({"qa@nextlabs.example": (code, b"no")},),
    }
    return makers([*classes("smtplib"), *SYSTEM], given)


@pytest.mark.parametrize("code", [421, 535, 550])
@pytest.mark.parametrize("place", PLACES)
def test_a_mail_that_is_not_sent(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, place: str, code: int
):
    """Status 5, or 2 if only the caller can mend it, wherever it ends."""
    found = {}
    with mail_server("starttls", authority.server, login=True) as mailbox:
        notifier = _notifier(mailbox, authority)
        for name, make in made(code).items():
            monkeypatch.setattr(smtplib.SMTP, place, raises(make))
            found[name] = ending(lambda: notifier.deliver(MESSAGE, 5))
    assert {name: status for name, status in found.items() if status not in {2, 5}} == {}


def test_a_goodbye_that_fails(monkeypatch: pytest.MonkeyPatch, authority: Authority):
    """The mail is on its way."""
    with mail_server("starttls", authority.server, login=True) as mailbox:
        notifier = _notifier(mailbox, authority)
        for make in made(421).values():
            monkeypatch.setattr(smtplib.SMTP, "quit", raises(make))
            notifier.deliver(MESSAGE, 5)


def _notifier(mailbox: Mailbox, authority: Authority) -> MailNotifier:
    return MailNotifier(
        "127.0.0.1",
        mailbox.port,
        "starttls",
        sender="release@nextlabs.example",
        to=["qa@nextlabs.example"],
        login=(USER, SecretStr(PASSWORD)),
        ca_file=str(authority.file),
    )


def test_there_are_exceptions():
    """The list is made of the library's modules."""
    assert {"smtplib.SMTPDataError", "smtplib.SMTPHeloError", "ssl.SSLEOFError"} < set(made(421))
