"""What every notifier promises, whatever carries the message."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from jenkins_release.base.errors import RemoteError
from jenkins_release.notify import Message, Notifier
from jenkins_release.notify.mail import MailNotifier
from jenkins_release.notify.webhook import WebhookNotifier
from tests.fixtures.listener import talking
from tests.fixtures.notify import (
    HOOK_PATH,
    SMTP_LOGIN,
    Answer,
    closed_port,
    failed_delivery,
    hook_server,
    mail_server,
)

MESSAGE = Message("0af7", datetime(2026, 11, 5, tzinfo=UTC), "subject", "text", "<p>html</p>", b'{"a": 1}')


@dataclass
class Receiver:
    """A server of some kind, and what leads to it."""

    port: int
    open: Callable[[int], Notifier]
    received: Callable[[], int]
    refuse: Callable[[], None]
    secret: str = field(repr=False)


def _mail(stack: ExitStack) -> Receiver:
    box = stack.enter_context(mail_server(login=True))
    user, password = SMTP_LOGIN.values()

    def notifier(port: int) -> Notifier:
        addresses = {"sender": "a@x.example", "to": ["b@x.example"]}
        return MailNotifier("127.0.0.1", port, "none", **addresses, login=(user, SecretStr(password)))

    return Receiver(
        box.port, notifier, lambda: len(box.mails), lambda: box.replies.append("554 no"), password
    )


def _webhook(stack: ExitStack) -> Receiver:
    hook = stack.enter_context(hook_server())

    def notifier(port: int) -> Notifier:
        return WebhookNotifier(SecretStr(f"http://127.0.0.1:{port}{HOOK_PATH}"), "HOOK")

    port = int(hook.url.split(":")[2].partition("/")[0])
    return Receiver(
        port, notifier, lambda: len(hook.requests), lambda: hook.answers.append(Answer(400)), HOOK_PATH
    )


@pytest.fixture(params=[_mail, _webhook], ids=["mail", "webhook"])
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    """A server of each kind in turn."""
    with ExitStack() as stack:
        yield request.param(stack)


class TestEveryNotifier:
    """Mail and webhook alike."""

    def test_a_message_arrives_once_in_one_attempt(self, receiver: Receiver):
        """And the notifier can carry another one."""
        made = receiver.open(receiver.port)
        for number in (1, 2):
            made.deliver(MESSAGE, 5)
            assert receiver.received() == number
        assert made.shown == f"127.0.0.1:{receiver.port}"

    def test_a_refusal_is_final(self, receiver: Receiver):
        """The same message would be refused again."""
        receiver.refuse()
        error = failed_delivery(receiver.open(receiver.port), MESSAGE, 5, receiver.secret)
        assert isinstance(error, RemoteError)
        assert not error.retryable

    def test_a_server_that_is_not_there_may_be_tried_again(self, receiver: Receiver):
        """Nothing was sent."""
        error = failed_delivery(receiver.open(closed_port()), MESSAGE, 5, receiver.secret)
        assert isinstance(error, RemoteError)
        assert error.retryable

    def test_silence_is_given_up_in_time(self, receiver: Receiver):
        """A port that takes the connection and says nothing."""
        done = threading.Event()
        with talking(lambda _: done.wait(5)) as port:
            begin = time.monotonic()
            assert isinstance(
                failed_delivery(receiver.open(port), MESSAGE, 0.3, receiver.secret), RemoteError
            )
            assert time.monotonic() - begin < 3
            done.set()
