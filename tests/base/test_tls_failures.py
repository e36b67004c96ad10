"""TLS that does not come about: only a certificate that is not trusted is the caller's to mend."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime

import boto3
import pytest
from botocore.config import Config
from pydantic import SecretStr

from jenkins_release.aws import aws_errors
from jenkins_release.aws.exchange import AwsExchange
from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.base.waits import Limits
from jenkins_release.jenkins import Controller
from jenkins_release.notify import Message
from jenkins_release.notify.mail import MailNotifier
from jenkins_release.notify.webhook import WebhookNotifier
from tests.fixtures.listener import talking
from tests.fixtures.notify import Authority

MESSAGE = Message("0af7", datetime(2026, 11, 5, tzinfo=UTC), "title", "text", document=b"{}")


def ask_jenkins(port: int) -> None:
    Controller(f"https://127.0.0.1:{port}", "bob", SecretStr("x"), timeout_s=5).trigger("promote", {})


def call_webhook(port: int) -> None:
    WebhookNotifier(SecretStr(f"https://127.0.0.1:{port}/x"), "HOOK").deliver(MESSAGE, 5)


def send_mail(port: int) -> None:
    to = ["qa@nextlabs.example"]
    MailNotifier("127.0.0.1", port, "implicit", sender="a@nextlabs.example", to=to).deliver(MESSAGE, 5)


def ask_aws(port: int) -> None:
    client = boto3.client(
        "ecr",
        region_name="eu-central-1",
        endpoint_url=f"https://127.0.0.1:{port}",
        aws_access_key_id="AKIA",
        aws_secret_access_key="x",  # no secret
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
    )
    AwsExchange(client, 1, Limits(5.0))
    with aws_errors("ask"):
        client.describe_repositories()


CALLS: dict[str, Callable[[int], None]] = {
    "Jenkins": ask_jenkins,
    "webhook": call_webhook,
    "mail": send_mail,
    "AWS": ask_aws,
}


def failure(call: str, port: int) -> ReleaseError:
    with pytest.raises(ReleaseError) as caught:
        CALLS[call](port)
    return caught.value


def hang_up(connection: socket.socket) -> None:
    """Close after the client's first words."""
    connection.recv(4096)
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(5)
    while connection.recv(4096):
        pass


@pytest.mark.parametrize("call", CALLS)
def test_a_handshake_that_breaks_off_is_a_broken_connection(call: str):
    """A proxy or a server that restarts does that: it passes, and no certificate has to be mended."""
    with talking(hang_up) as port:
        found = failure(call, port)
    assert isinstance(found, RemoteError)
    assert "certificate" not in f"{found.message} {found.hint}"
    # Of a webhook it is not known whether the message was sent.
    assert found.retryable is (call != "webhook")


@pytest.mark.parametrize("call", CALLS)
def test_a_certificate_that_is_not_trusted_is_said_to_be(authority: Authority, call: str):
    """That does not pass by itself."""

    def serve(connection: socket.socket) -> None:
        with authority.server.wrap_socket(connection, server_side=True) as protected:
            protected.recv(4096)

    with talking(serve) as port:
        found = failure(call, port)
    assert isinstance(found, RemoteError if call == "AWS" else ConfigurationError)
    assert "certificate" in found.message
    assert not found.retryable


def test_an_answer_that_was_changed_on_its_way_is_a_broken_connection(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
):
    """A job may have been started: the answer to that is looked up, which a wrong certificate would end."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))

    def serve(connection: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = authority.server.wrap_bio(incoming, outgoing, server_side=True)

        def turn(step: Callable[[], bytes | None]) -> bytes | None:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    connection.sendall(outgoing.read())
                    incoming.write(connection.recv(65536))

        turn(tls.do_handshake)
        connection.sendall(outgoing.read())
        turn(lambda: tls.read(65536))
        tls.write(b"HTTP/1.1 201 Created\r\n\r\n")
        connection.sendall(outgoing.read()[:-1] + b"\0")

    with talking(serve) as port, pytest.raises(RemoteError, match="no complete answer"):
        ask_jenkins(port)
