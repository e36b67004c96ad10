"""A webhook, against a real web server that refuses, delays, redirects and hangs up."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pydantic import SecretStr

from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.notify import Message
from jenkins_release.notify.webhook import WebhookNotifier
from tests.fixtures.listener import talking
from tests.fixtures.notify import (
    HOOK_PATH,
    Answer,
    Authority,
    Hook,
    closed_port,
    failed_delivery,
    hook_server,
)
from tests.fixtures.raw_server import RawServer, drip, flood, stall

TOKEN = HOOK_PATH.rpartition("/")[2]
MESSAGE = Message("0af7", datetime(2026, 11, 5, tzinfo=UTC), "title", "text", document='{"a": "ü"}'.encode())
VARIABLE = "SKYDRM_TEAMS_WEBHOOK"


def notifier(url: str, ca_file: str = "") -> WebhookNotifier:
    return WebhookNotifier(SecretStr(url), VARIABLE, ca_file=ca_file)


def failure(made: WebhookNotifier, within_s: float = 5) -> ReleaseError:
    """The error of a delivery that fails, without the secret."""
    return failed_delivery(made, MESSAGE, within_s, TOKEN)


def test_a_message_is_posted_as_json(hook: Hook):
    """Once, as UTF-8, with the type that receivers look at."""
    notifier(hook.url).deliver(MESSAGE, 5)
    (headers, body), *more = hook.requests
    assert more == []
    assert headers["path"] == HOOK_PATH
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert body == MESSAGE.document
    assert "Authorization" not in headers


@pytest.mark.parametrize("status", [200, 202, 204])
def test_every_2xx_is_a_success(hook: Hook, status: int):
    """Slack answers 200, a Teams workflow 202."""
    hook.answers = [Answer(status, body="")]
    notifier(hook.url).deliver(MESSAGE, 5)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_marked_for_another_attempt(hook: Hook, status: int):
    """Too many requests, and failures of the server."""
    hook.answers = [Answer(status, {"Retry-After": "2"}, "rate limited")]
    error = failure(notifier(hook.url))
    assert isinstance(error, RemoteError)
    assert (
        error.message == f"the webhook at {notifier(hook.url).shown} is not available: {status}: rate limited"
    )
    assert (error.retryable, error.retry_after) == (True, 2.0)


def test_retry_after_may_be_a_date(hook: Hook):
    """RFC 9110 section 10.2.3; nonsense is as if it were not there."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    hook.answers = [Answer(429, {"Retry-After": value}) for value in (later, "soon", "-1", "\u00b2")]
    assert failure(notifier(hook.url)).retry_after == pytest.approx(30, abs=5)
    for _ in range(3):
        assert failure(notifier(hook.url)).retry_after is None


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_refusal_is_final_and_quotes_the_answer(hook: Hook, status: int):
    """Slack says `no_service` or `invalid_payload`: that helps whoever reads it."""
    hook.answers = [Answer(status, body="no_service")]
    error = failure(notifier(hook.url))
    assert error.message.endswith(f"does not accept the message: {status}: no_service")
    assert not error.retryable


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(hook: Hook, status: int):
    """They would carry the message to somewhere that nobody chose."""
    hook.answers = [Answer(status, {"Location": hook.url})]
    error = failure(notifier(hook.url))
    assert f"answers {status}: redirects are not followed" in error.message
    assert not error.retryable
    assert len(hook.requests) == 1


def test_a_redirect_without_end():
    """None of it is read."""
    head = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"
    with RawServer(lambda _: flood(head)) as server:
        error = failure(notifier(f"{server.url}{HOOK_PATH}"))
        sent = server.sent
    assert "redirects are not followed" in error.message
    assert sent < 16 << 20


def test_an_answer_that_repeats_the_url_gives_nothing_away(hook: Hook):
    """As the error pages of many servers do."""
    hook.answers = [Answer(404, body=f"cannot POST {HOOK_PATH}")]
    assert failure(notifier(hook.url)).message.endswith("404: cannot POST [redacted]")


def test_an_answer_cannot_change_the_terminal(hook: Hook):
    """Its control characters are not printed, and it stays one short line."""
    hook.answers = [Answer(400, body="\x1b[2Jno\r\nchannel\u202e " + "x" * 5000)]
    message = failure(notifier(hook.url)).message
    assert "400: ?[2Jno channel? xxx" in message
    assert len(message) < 250


def test_a_page_is_not_quoted(hook: Hook):
    """A proxy's login page says nothing in its first line."""
    hook.answers = [Answer(403, body="<!DOCTYPE html><html>sign in</html>")]
    assert failure(notifier(hook.url)).message.endswith("does not accept the message: 403")


def test_a_slow_server_is_given_up_and_not_asked_again(hook: Hook):
    """It may have taken the message."""
    release = threading.Event()
    hook.answers = [Answer(delay=release)]
    begin = time.monotonic()
    error = failure(notifier(hook.url), within_s=0.3)
    assert time.monotonic() - begin < 2
    release.set()
    assert "did not answer in time" in error.message
    assert not error.retryable


def test_a_server_that_hangs_up_is_not_asked_again(hook: Hook):
    """It may have taken the message before it went."""
    hook.answers = [Answer(drop=True)]
    error = failure(notifier(hook.url))
    assert "broke" in error.message
    assert not error.retryable


def test_an_answer_that_is_no_http_is_a_failure():
    """Another service on that port."""

    def talk(connection) -> None:
        connection.recv(65536)
        connection.sendall(b"220 mail.nextlabs.example ESMTP\r\n")

    with talking(talk) as port:
        assert "broke" in failure(notifier(f"http://127.0.0.1:{port}{HOOK_PATH}")).message


def test_a_closed_port_may_be_tried_again():
    """Nothing was sent."""
    error = failure(notifier(f"http://127.0.0.1:{closed_port()}{HOOK_PATH}"))
    assert "cannot be reached" in error.message
    assert error.retryable


def test_certificates_are_verified(authority: Authority):
    """By the system's authorities, or those of the file; the name has to be right."""
    with hook_server(authority.server) as hook:
        error = failure(notifier(hook.url))
        assert isinstance(error, ConfigurationError)
        assert "certificate" in error.message
        assert hook.requests == []
        notifier(hook.url, str(authority.file)).deliver(MESSAGE, 5)
        assert len(hook.requests) == 1
    with hook_server(authority.stranger) as hook:
        assert "certificate" in failure(notifier(hook.url, str(authority.file))).message
        assert hook.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/services/secret-path",
        "hooks.example/services/secret-path",
        "ftp://hooks.example/secret-path",
        "https:///secret-path",
        "https://[::1/secret-path",
        "https://hooks.example/secret path",
        "https://hooks.example:port/secret-path",
    ],
)
def test_a_url_that_cannot_be_used_is_not_quoted(url: str):
    """The message names the variable that holds it. Without TLS anybody on the way would learn it."""
    with pytest.raises(ConfigurationError) as caught:
        notifier(url)
    assert caught.value.message.startswith(VARIABLE)
    assert "secret" not in str(caught.value.diagnostics())


def test_a_file_of_authorities_that_cannot_be_read_is_named(tmp_path):
    """Before anything is sent."""
    with pytest.raises(ConfigurationError, match=r"none\.pem"):
        notifier("https://hooks.example/x", str(tmp_path / "none.pem"))


def test_neither_logs_nor_reprs_have_the_url(hook: Hook, caplog):
    """urllib3 logs paths at the level DEBUG; others' requests are logged as before."""
    import requests

    made = notifier(hook.url)
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger="urllib3"):
        hook.answers = [Answer(), Answer(500)]
        made.deliver(MESSAGE, 5)
        failure(made)
        assert TOKEN not in caplog.text
        requests.post(hook.url.replace(HOOK_PATH, "/other"), data=b"{}", timeout=5)
    assert "/other" in caplog.text
    assert TOKEN not in repr(made) + repr(vars(made)) + made.shown


def test_no_login_of_the_machine_is_sent(hook: Hook, tmp_path, monkeypatch):
    """The library requests would add what ~/.netrc has for the host."""
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login somebody password hunter2\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    notifier(hook.url).deliver(MESSAGE, 5)
    assert "Authorization" not in hook.requests[0][0]


def test_headers_that_cannot_be_parsed_give_nothing_away(caplog: pytest.LogCaptureFixture):
    """urllib3 warns of them with the whole URL."""
    with RawServer(lambda _: b"HTTP/1.1 404 No\r\nX\r\nY: 1\r\n\r\n") as server:
        made = notifier(f"{server.url}{HOOK_PATH}")
        assert "404" in failure(made).message
    assert TOKEN not in caplog.text


def test_an_answer_of_which_no_more_comes():
    """The limit of requests for a read ends it: the webhook may have taken the message all the same."""
    with RawServer(lambda _: stall(b"HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\nhalf")) as server:
        error = failure(notifier(f"{server.url}{HOOK_PATH}"), within_s=0.3)
    assert "did not answer in time" in error.message
    assert not error.retryable


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 500 No\r\n\r\n"])
def test_an_answer_that_comes_byte_by_byte(begun: bytes):
    """The time that the notifier has is for all of it."""
    with RawServer(lambda _: drip(begun)) as server:
        start = time.monotonic()
        with pytest.raises(RemoteError, match="did not answer in time") as caught:
            notifier(f"{server.url}/hook").deliver(MESSAGE, 0.5)
        assert time.monotonic() - start < 10.0
    assert not caught.value.retryable
