"""Mail, against a real SMTP server that refuses, delays and hangs up like others."""

from __future__ import annotations

import logging
import socket
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.notify import Message
from jenkins_release.notify.mail import MailNotifier
from tests.fixtures.listener import talking
from tests.fixtures.notify import (
    SMTP_LOGIN,
    Authority,
    Mailbox,
    closed_port,
    failed_delivery,
    mail_server,
)

USER, PASSWORD = SMTP_LOGIN.values()
MESSAGE = Message(
    "0af7651916cd43dd8448eb211c80319c",
    datetime(2026, 11, 5, 14, 30, tzinfo=UTC),
    "SkyDRM 8.1.0/42 is ready to be tested",
    "Größe: 58.0 MB\n",
    html="<p>Gr&ouml;&szlig;e: 58.0 MB</p>\n",
)


def notifier(port: int, tls: str = "none", **more: Any) -> MailNotifier:
    """A notifier that leads to loopback."""
    to = more.pop("to", ["QA <qa@nextlabs.example>", "lead@nextlabs.example"])
    return MailNotifier("127.0.0.1", port, tls, sender="SkyDRM <release@nextlabs.example>", to=to, **more)


def login(password: str = PASSWORD) -> tuple[str, SecretStr]:
    return USER, SecretStr(password)


def failure(made: MailNotifier, within_s: float = 5) -> ReleaseError:
    """The error of a delivery that fails, without the secret."""
    return failed_delivery(made, MESSAGE, within_s, PASSWORD)


def test_a_mail_has_the_headers_of_an_automatic_one(mailbox: Mailbox):
    """RFC 5322 and RFC 3834: who, when, a message id of its own, and no answers from holiday notices."""
    notifier(mailbox.port).deliver(MESSAGE, 5)
    (mail, recipients), *more = mailbox.mails
    assert more == []
    assert recipients == ["qa@nextlabs.example", "lead@nextlabs.example"]
    assert mail["Subject"] == MESSAGE.subject
    assert mail["From"] == "SkyDRM <release@nextlabs.example>"
    assert mail["To"] == "QA <qa@nextlabs.example>, lead@nextlabs.example"
    assert mail["Date"].datetime == MESSAGE.at
    assert mail["Message-ID"] == f"<{MESSAGE.id}@nextlabs.example>"
    assert mail["Auto-Submitted"] == "auto-generated"


def test_a_mail_is_plain_text_with_the_same_as_html(mailbox: Mailbox):
    """Every mail program shows one of the two; umlauts arrive."""
    notifier(mailbox.port).deliver(MESSAGE, 5)
    mail = mailbox.mails[0][0]
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert mail.get_body(("plain",)).get_content().replace("\r\n", "\n") == MESSAGE.text
    assert mail.get_body(("html",)).get_content().replace("\r\n", "\n") == MESSAGE.html


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_login_crosses_the_network_encrypted(authority: Authority, tls: str):
    """STARTTLS and TLS from the first byte, each with a verified certificate and a login."""
    with mail_server(tls, authority.server, login=True) as mailbox:
        made = notifier(mailbox.port, tls, login=login(), ca_file=str(authority.file))
        made.deliver(MESSAGE, 5)
        assert len(mailbox.mails) == 1
        assert mailbox.logins == 1


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_certificate_that_nobody_vouches_for_is_refused(authority: Authority, tls: str):
    """Neither an unknown authority nor another name; the login is not sent."""
    with mail_server(tls, authority.server, login=True) as mailbox:
        error = failure(notifier(mailbox.port, tls, login=login()))
        assert isinstance(error, ConfigurationError)
        assert "certificate" in error.message
        assert (mailbox.mails, mailbox.logins) == ([], 0)
    with mail_server(tls, authority.stranger, login=True) as mailbox:
        made = notifier(mailbox.port, tls, login=login(), ca_file=str(authority.file))
        assert "certificate" in failure(made).message
        assert (mailbox.mails, mailbox.logins) == ([], 0)


def test_a_server_without_starttls_gets_nothing(mailbox: Mailbox):
    """Who strips STARTTLS from the connection does not get a mail in the clear instead."""
    error = failure(notifier(mailbox.port, "starttls"))
    assert isinstance(error, ConfigurationError)
    assert error.message == f"the mail server 127.0.0.1:{mailbox.port} does not support STARTTLS"
    assert mailbox.mails == []


def test_plain_smtp_where_tls_was_expected_is_named(mailbox: Mailbox):
    """The commonest mistake: the ports of the two kinds of TLS are mixed up."""
    error = failure(notifier(mailbox.port, "implicit"))
    assert isinstance(error, ConfigurationError)
    assert "no TLS with the mail server" in error.message


def test_a_wrong_password_is_told_once_and_not_repeated(authority: Authority):
    """Attempts may lock the account."""
    with mail_server("starttls", authority.server, login=True) as mailbox:
        made = notifier(
            mailbox.port, "starttls", login=login("wrong" + PASSWORD), ca_file=str(authority.file)
        )
        error = failure(made)
        assert isinstance(error, ConfigurationError)
        assert "does not accept the login (535)" in error.message
        assert not error.retryable
        assert mailbox.mails == []


def test_a_login_is_never_sent_in_the_clear():
    """Without TLS a login is for loopback only."""
    with pytest.raises(ConfigurationError, match="unencrypted"):
        MailNotifier(
            "mail.nextlabs.example",
            0,
            "none",
            sender="a@nextlabs.example",
            to=["b@nextlabs.example"],
            login=login(),
        )


def test_a_password_beyond_ascii_is_a_mistake_and_no_defect():
    """The library cannot send one; the message does not quote it."""
    with pytest.raises(ConfigurationError, match="beyond ASCII") as caught:
        notifier(25, login=login("geheim-ü"))
    assert "geheim" not in str(caught.value.diagnostics())


def test_one_refused_recipient_is_named_and_the_others_get_the_mail(mailbox: Mailbox):
    """Nobody gets it twice: it is not sent again."""
    mailbox.refused["lead@nextlabs.example"] = "550 no such user"
    error = failure(notifier(mailbox.port))
    assert isinstance(error, RemoteError)
    assert "refuses 1 of 2 recipients: lead@nextlabs.example: 550 no such user" in error.message
    assert not error.retryable
    assert [recipients for _, recipients in mailbox.mails] == [["qa@nextlabs.example"]]


@pytest.mark.parametrize(("reply", "retryable"), [("550 relaying denied", False), ("451 greylisted", True)])
def test_refused_recipients_are_tried_again_only_where_the_server_says_later(
    mailbox: Mailbox, reply: str, retryable: bool
):
    """The mail went to nobody, so trying again sends it to nobody twice."""
    mailbox.refused = dict.fromkeys(["qa@nextlabs.example", "lead@nextlabs.example"], reply)
    error = failure(notifier(mailbox.port))
    assert "refuses every recipient" in error.message
    assert error.retryable is retryable
    assert mailbox.mails == []


@pytest.mark.parametrize(("reply", "retryable"), [("554 looks like spam", False), ("452 disk full", True)])
def test_a_refused_mail_is_told_with_the_servers_words(mailbox: Mailbox, reply: str, retryable: bool):
    """4xx passes, 5xx does not (RFC 5321 section 4.2.1)."""
    mailbox.replies = [reply]
    error = failure(notifier(mailbox.port))
    assert error.message.endswith(reply)
    assert error.retryable is retryable


def test_a_reply_cannot_change_the_terminal(mailbox: Mailbox):
    """Its control characters are not printed."""
    mailbox.replies = ["554 \x1b[2Jspam"]
    assert failure(notifier(mailbox.port)).message.endswith("554 ?[2Jspam")


def test_a_server_that_hangs_up_in_the_middle_is_not_sent_the_mail_again(mailbox: Mailbox):
    """It may have taken the mail before it went."""
    mailbox.drop = True
    error = failure(notifier(mailbox.port))
    assert "broke while the mail was sent: it closed the connection" in error.message
    assert not error.retryable


def test_a_slow_server_is_given_up(mailbox: Mailbox):
    """The longest silence is what was asked for."""
    mailbox.delay_s = 3
    begin = time.monotonic()
    error = failure(notifier(mailbox.port), within_s=0.3)
    assert time.monotonic() - begin < 2
    assert "no answer in time" in error.message


def test_a_server_that_never_greets_is_given_up():
    """A port that takes connections and says nothing; nothing was sent, so it may be tried again."""
    done = threading.Event()
    with talking(lambda connection: done.wait(5)) as port:
        error = failure(notifier(port), within_s=0.2)
        done.set()
    assert "no answer in time" in error.message or "hung up" in error.message
    assert error.retryable


def test_a_port_where_nobody_listens_may_be_tried_again():
    """A mail server that restarts."""
    error = failure(notifier(closed_port()))
    assert "cannot be reached" in error.message
    assert error.retryable


def test_a_server_that_repeats_the_password_gives_nothing_away():
    """Some servers quote the command that they refuse."""

    def talk(connection: socket.socket) -> None:
        file = connection.makefile("rwb", buffering=0)
        file.write(b"220 here\r\n")
        for line in file:
            word = line[:4].upper()
            if word == b"EHLO":
                file.write(b"250-here\r\n250 AUTH PLAIN LOGIN\r\n")
            else:
                file.write(b"535 you said " + line.strip() + f" that is {PASSWORD}\r\n".encode())

    with talking(talk) as port:
        assert "535" in failure(notifier(port, login=login())).message


def test_nothing_of_the_conversation_is_logged(authority: Authority, caplog, capfd):
    """Neither by logging nor by smtplib's own debugging to stderr."""
    with caplog.at_level(logging.DEBUG), mail_server("starttls", authority.server, login=True) as mailbox:
        notifier(mailbox.port, "starttls", login=login(), ca_file=str(authority.file)).deliver(MESSAGE, 5)
    printed = capfd.readouterr()
    mine = "".join(r.getMessage() for r in caplog.records if not r.name.startswith(("mail.", "asyncio")))
    assert PASSWORD not in mine + printed.out + printed.err


def test_the_name_of_the_machine_is_asked_from_nobody(mailbox: Mailbox, monkeypatch):
    """By default smtplib asks DNS for it, which takes its time in a broken network."""
    asked = []
    monkeypatch.setattr(socket, "getfqdn", lambda *_: asked.append(threading.get_ident()) or "here")
    notifier(mailbox.port).deliver(MESSAGE, 5)
    assert len(mailbox.mails) == 1
    assert threading.get_ident() not in asked


@pytest.mark.parametrize("line", [b"220-more\r\n", b"220 " + b"x" * 500])
def test_a_greeting_without_end(line: bytes):
    """Its lines were kept until the memory was full."""
    sent = 0

    def talk(connection: socket.socket) -> None:
        nonlocal sent
        while True:
            connection.sendall(line * 1000)
            sent += len(line) * 1000

    with talking(talk) as port:
        assert isinstance(failure(notifier(port)), RemoteError)
    assert sent < 32 << 20


def test_a_reply_that_comes_byte_by_byte():
    """No single read is late; the time that the notifier has is for all of it."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"220 ")
        while True:
            time.sleep(0.1)
            connection.sendall(b"x")

    begun = time.monotonic()
    with talking(talk) as port:
        with pytest.raises(RemoteError, match="no answer in time") as caught:
            notifier(port).deliver(MESSAGE, 0.5)
        assert time.monotonic() - begun < 10.0
    assert caught.value.retryable


def test_a_challenge_that_is_no_base64():
    """Smtplib lets the error of its decoder through."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"220 me\r\n")
        while data := connection.recv(4096):
            hello = b"250-me\r\n250 AUTH CRAM-MD5 LOGIN\r\n"
            connection.sendall(hello if data.upper().startswith(b"EHLO") else b"334 \xff===x\r\n")

    with talking(talk) as port:
        assert failure(notifier(port, login=login())).exit_status != 70
