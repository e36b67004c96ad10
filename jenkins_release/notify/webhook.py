"""Posts a JSON document to a URL. The URL is a secret: anyone who knows it can post there."""

from __future__ import annotations

import contextlib
import logging
import re
import ssl
import threading
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

import requests
import urllib3
from pydantic import SecretStr

from jenkins_release.base.causes import caused_by
from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.base.retry import asked_wait
from jenkins_release.base.version import PROGRAM
from jenkins_release.base.waits import Call
from jenkins_release.config.redaction import Redaction
from jenkins_release.http.exchange import FOREIGN, SessionWithoutRedirects
from jenkins_release.http.late import is_late
from jenkins_release.notify.answers import quoted
from jenkins_release.notify.tls import verifying_context
from jenkins_release.records.message import Message

_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1")
_LONGEST_ANSWER = 1024
_QUOTED = 120
_LATER = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)


class WebhookNotifier:
    """Posts messages to a webhook.

    Args:
        url: Its URL: https, or http on loopback.
        variable: Name of the variable with the URL, for messages.
        ca_file: PEM file of the authorities; if empty, those of ``REQUESTS_CA_BUNDLE`` or certifi.

    Raises:
        ConfigurationError: The URL or the file cannot be used; the URL is not quoted.
    """

    def __init__(self, url: SecretStr, variable: str, *, ca_file: str = "") -> None:
        self._url = url
        self._variable = variable
        self._ca_file = ca_file
        self._redact = Redaction([url.get_secret_value()])
        self._host = _host(url.get_secret_value(), variable)
        if ca_file:
            verifying_context(ca_file)  # requests would report a wrong file as a broken connection

    @property
    def shown(self) -> str:
        """The host; path and query are the secret."""
        return self._host

    def deliver(self, message: Message, within_s: float) -> None:
        """Post a message's document; see :class:`jenkins_release.notify.protocol.Notifier`."""
        failure: ReleaseError | None = None
        call = Call(f"the webhook at {self._host} to answer", within_s)
        try:
            # All within the call: the notifier's time limit also covers all of it.
            with (
                call,
                _unlogged(),
                SessionWithoutRedirects() as session,
                session.post(
                    self._url.get_secret_value(),
                    data=message.document,
                    headers={"Content-Type": "application/json; charset=utf-8", "User-Agent": PROGRAM},
                    auth=_no_login,
                    timeout=within_s,
                    verify=self._ca_file or True,
                    allow_redirects=False,
                    stream=True,
                ) as answer,
            ):
                failure = self._refusal(answer)
        except FOREIGN as error:
            failure = self._broken(error)
        # Raised outside the handler: requests' errors contain the URL, and so would a cause.
        if failure is not None:
            raise failure

    def _refusal(self, answer: requests.Response) -> ReleaseError | None:
        status = answer.status_code
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return None
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            return RemoteError(
                f"the webhook at {self._host} answers {status}: redirects are not followed",
                hint=f"{self._variable} must contain the webhook's own URL",
            )
        said = self._said(answer)
        if status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return RemoteError(
                f"the webhook at {self._host} is not available: {status}{said}",
                retryable=True,
                retry_after=asked_wait(answer.headers.get("Retry-After", "")),
            )
        return RemoteError(
            f"the webhook at {self._host} does not accept the message: {status}{said}",
            hint=f"check {self._variable}, and whether notify.template matches the webhook",
        )

    def _said(self, answer: requests.Response) -> str:
        body = answer.raw.read(_LONGEST_ANSWER, decode_content=True)
        # Redact before shortening: half a secret would not be found.
        text = quoted(self._redact(body.decode("utf-8", "replace")), _QUOTED)
        return f": {text}" if text and "<" not in text else ""

    def _broken(self, error: Exception) -> ReleaseError:
        if caused_by(error, ssl.SSLCertVerificationError):
            return ConfigurationError(
                f"the certificate of the webhook at {self._host} is not trusted",
                hint="set notify.ca_file to the certificates of your authorities",
            )
        # The cause of a late call is the error of its sockets.
        for each in (error, error.__cause__):
            if isinstance(each, requests.ConnectionError) and _never_connected(each):
                return RemoteError(
                    f"the webhook at {self._host} cannot be reached",
                    hint="check the network, the firewall and HTTPS_PROXY",
                    retryable=True,
                )
        if is_late(error):
            return RemoteError(
                f"the webhook at {self._host} did not answer in time",
                hint="the message may still have arrived, so it is not sent again",
            )
        if not isinstance(error, ValueError):
            return RemoteError(
                f"the connection to the webhook at {self._host} broke: {type(error).__name__}",
                hint="the message may still have arrived, so it is not sent again",
            )
        # InvalidURL and similar errors are ValueErrors, and quote the URL.
        return ConfigurationError(
            f"the webhook at {self._host} cannot be called: {type(error).__name__}",
            hint=f"{self._variable} must contain the URL of a webhook",
        )


def _host(url: str, variable: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    usable = parts.scheme == "https" or (parts.scheme == "http" and _LOOPBACK.fullmatch(host))
    if not host or not usable or not url.isprintable() or " " in url:
        raise ConfigurationError(
            f"{variable} does not contain a webhook URL that begins with https://",
            hint="copy it from Teams, Slack or whichever service receives the messages",
        )
    return f"{host}:{port}" if port else host


def _never_connected(error: requests.ConnectionError) -> bool:
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", None)
    connecting = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, connecting)


def _no_login(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from adding a login from ~/.netrc."""
    return request


class _Silence(logging.Filter):
    """Drops what one thread logs."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self._thread


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Keep urllib3 from logging this thread's requests.

    At the level DEBUG it logs their paths, and its warnings about malformed headers contain the URL.
    """
    logs = [logging.getLogger(f"urllib3.{name}") for name in ("connectionpool", "connection")]
    silence = _Silence()
    for log in logs:
        log.addFilter(silence)
    try:
        yield
    finally:
        for log in logs:
            log.removeFilter(silence)
