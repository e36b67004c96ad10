"""Requests to a registry over the distribution API: login, errors, one connection for each thread.

Errors: OCI Distribution Specification 1.1, "Error Codes". Amazon ECR takes its token as the password
of Basic authentication and answers an expired one with 403 and a sentence (ECR user guide, "Common
error codes for Amazon ECR").
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from jenkins_release.errors import ConfigurationError, IntegrityError, ReleaseError, RemoteError
from jenkins_release.numbers import whole_number
from jenkins_release.registry.protocol import (
    LayersNotFound,
    Part,
    RegistryLogin,
    RepositoryNotFound,
    TagConflict,
)

_EXPIRED = re.compile(r"token (?:has|is) expired|expired token|reauthenticate", re.IGNORECASE)
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|\[?::1\]?")
_MAX_TOLD = 300
_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_PIECE = 1 << 20


class _NoLogin(AuthBase):
    """Sends no credentials: without it requests would look for some in ``~/.netrc``."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class Transport:
    """Sends requests to one registry; safe to share between threads.

    The login is asked for when the first request needs it, and again when the registry did not
    accept it any more: the request that found out fails as retryable.

    Args:
        login: Mints a login, which names the registry.
        timeout_s: Longest silence of the registry, in seconds.
    """

    def __init__(self, login: Callable[[], RegistryLogin], *, timeout_s: float = 60.0) -> None:
        self._mint = login
        self._timeout_s = timeout_s
        self._local = threading.local()
        self._lock = threading.Lock()
        self._login: RegistryLogin | None = None
        self._sessions: list[requests.Session] = []

    @property
    def endpoint(self) -> str:
        """The registry's URL without a path: https, and http on loopback only."""
        return root_url(self._current().registry)

    @property
    def shown(self) -> str:
        """The registry for messages, as far as it is known without asking."""
        return self._login.registry if self._login else "not connected"

    def request(
        self,
        method: str,
        target: str,
        what: str,
        data: bytes | Part = b"",
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send one request and read its answer; redirects are not followed.

        Args:
            method: HTTP method.
            target: Path and query.
            what: What it is for, as an infinitive, for messages.
            data: Body; a part goes out buffer by buffer, without being joined.
            headers: Further headers.

        Returns:
            The answer, whatever its status, except one that refuses the login.

        Raises:
            ConfigurationError: The registry's certificate is not trusted.
            RemoteError: No answer, or the login was refused; ``retryable``.
        """
        login = self._current()
        url = root_url(login.registry) + target
        sent = dict(headers or {})
        if method in _METHODS_WITH_BODY:
            sent["Content-Length"] = str(len(data))
        body: Any = data or None  # requests sends anything that has a length and can be iterated
        try:
            answer = self._session().request(
                method,
                url,
                data=body,
                headers=sent,
                auth=HTTPBasicAuth(login.username, login.password),
                timeout=self._timeout_s,
                allow_redirects=False,
            )
        except requests.exceptions.SSLError as error:
            raise ConfigurationError(
                f"cannot {what}: the certificate of {login.registry} is not trusted: {error}",
                hint="REQUESTS_CA_BUNDLE names a file with further authorities",
            ) from error
        except (requests.RequestException, OSError) as error:
            raise RemoteError(
                f"cannot {what}: the connection to {login.registry} broke: {type(error).__name__}",
                hint="check the network and HTTPS_PROXY",
                retryable=True,
            ) from error
        if answer.status_code == requests.codes.unauthorized or _expired(answer):
            self._forget(login)
            raise RemoteError(
                f"cannot {what}: {login.registry} does not accept the login: {_told(answer)[1]}",
                hint="the login has expired or was revoked: the next attempt logs in again",
                retryable=True,
            )
        return answer

    def stream(self, target: str, what: str) -> Iterator[bytes]:
        """Read the body of a ``GET`` in pieces; a redirect to where it is stored is followed once.

        The login goes to the registry and nowhere else: what it redirects to is asked without one.

        Args:
            target: Path and query.
            what: What it is for, as an infinitive, for messages.

        Raises:
            RemoteError: No answer, or not the one expected; ``retryable`` if it may come later.
        """
        login = self._current()
        root = root_url(login.registry)
        try:
            with ExitStack() as stack:
                auth = HTTPBasicAuth(login.username, login.password)
                answer = stack.enter_context(self._get(root + target, auth))
                if answer.is_redirect:
                    place = urljoin(root, answer.headers["Location"])
                    leads = urlsplit(place)
                    if leads.scheme != "https" and not _LOOPBACK.fullmatch(leads.hostname or ""):
                        raise RemoteError(f"cannot {what}: the registry leads to a server without TLS")
                    answer = stack.enter_context(self._get(place, _NoLogin()))
                if answer.status_code != requests.codes.ok:
                    if answer.status_code == requests.codes.unauthorized or _expired(answer):
                        self._forget(login)
                    raise refusal(answer, what)
                yield from answer.iter_content(_PIECE)
        except (requests.RequestException, OSError) as error:
            raise RemoteError(
                f"cannot {what}: the connection broke: {type(error).__name__}",
                hint="check the network and HTTPS_PROXY",
                retryable=True,
            ) from error

    def _get(self, url: str, auth: AuthBase) -> requests.Response:
        return self._session().get(
            url, auth=auth, timeout=self._timeout_s, allow_redirects=False, stream=True
        )

    def close(self) -> None:
        """Close every connection; a later request opens new ones."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
            self._local = threading.local()
        for session in sessions:
            session.close()

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            with self._lock:
                self._sessions.append(session)
        return session

    def _current(self) -> RegistryLogin:
        with self._lock:
            if self._login is None:
                self._login = self._mint()
            return self._login

    def _forget(self, login: RegistryLogin) -> None:
        with self._lock:
            if self._login is login:
                self._login = None


def root_url(host: str) -> str:
    """Return the URL of a registry: ``http`` on loopback only.

    Args:
        host: Registry host, with port if any.
    """
    return f"{'http' if _LOOPBACK.fullmatch(re.sub(r':[0-9]+$', '', host)) else 'https'}://{host}"


def refusal(answer: requests.Response, what: str) -> ReleaseError:
    """Return the error for an answer that is not what a request was for.

    Args:
        answer: The answer.
        what: What the request was for, as an infinitive.
    """
    status = answer.status_code
    code, message = _told(answer)
    text = f"cannot {what}: the registry answers {status} {code}: {message}".rstrip(": ")
    if code == "NAME_UNKNOWN":
        return RepositoryNotFound(text, hint="create the repository in the registry first")
    if code == "TAG_INVALID" or re.search(r"tag .*\bimmutable\b|cannot be overwritten", message):
        return TagConflict(text, hint="a published tag is never moved: release under a new version")
    if code in {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"}:
        return LayersNotFound(text, hint="the layers are sent again")
    if code == "DIGEST_INVALID":
        return IntegrityError(text, hint="the bytes were changed on the way to the registry")
    if status in {401, 403}:
        return RemoteError(text, hint="the registry refuses this user: check its policy")
    return RemoteError(
        text,
        retryable=status in {408, 429} or status >= 500,
        retry_after=whole_number(answer.headers.get("Retry-After", "")),
    )


def _expired(answer: requests.Response) -> bool:
    return answer.status_code == requests.codes.forbidden and bool(
        _EXPIRED.search(answer.text[: _MAX_TOLD * 4])
    )


def _told(answer: requests.Response) -> tuple[str, str]:
    """Return code and message of the first error in an answer."""
    try:
        first = answer.json()["errors"][0]
        return str(first.get("code", "")), str(first.get("message", ""))[:_MAX_TOLD]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return "", re.sub(r"\s+", " ", answer.text)[:_MAX_TOLD]
