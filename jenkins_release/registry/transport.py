"""Requests to a registry over the distribution API: login, errors, one connection per concurrent call.

Errors: OCI Distribution Specification 1.1, "Error Codes". Amazon ECR uses its token as the password of Basic
authentication, and answers an expired one with 403 and a sentence (ECR user guide, "Common error codes for
Amazon ECR").
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from urllib.parse import SplitResult

import requests
from requests.auth import HTTPBasicAuth

from jenkins_release.base.errors import ConfigurationError, IntegrityError, ReleaseError, RemoteError
from jenkins_release.base.retry import asked_wait
from jenkins_release.base.strict_json import strict_json
from jenkins_release.base.waits import Limits
from jenkins_release.http.exchange import (
    Answer,
    NoAnswer,
    StreamedBody,
    Untrusted,
    exchange,
    location,
    open_session,
    shown,
)
from jenkins_release.registry.protocol import (
    BlobPart,
    LayersNotFound,
    NotSupported,
    RegistryLogin,
    RepositoryNotFound,
    TagConflict,
)

_EXPIRED = re.compile(r"token (?:has|is) expired|expired token|reauthenticate", re.IGNORECASE)
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|\[?::1\]?")
_MAX_TOLD = 300
_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Transport:
    """Sends requests to one registry; safe to share between threads.

    A login is minted for the first request, and again after the registry has refused it: the refused request
    fails as retryable.

    Args:
        login: Mints a login, which names the registry.
        limits: How long a request may take.
    """

    def __init__(self, login: Callable[[], RegistryLogin], *, limits: Limits | None = None) -> None:
        self._mint = login
        self.limits = limits or Limits()
        self._lock = threading.Lock()
        self._login: RegistryLogin | None = None
        # No lock: the garbage collector may return the session of an abandoned blob.
        self._idle: deque[requests.Session] = deque()

    @property
    def endpoint(self) -> str:
        """The registry's URL without a path: https, or http on loopback only."""
        return root_url(self._current().registry)

    @property
    def shown(self) -> str:
        """The registry for messages, if it is known without asking."""
        return self._login.registry if self._login else "not connected"

    def request(
        self,
        method: str,
        target: str,
        what: str,
        data: bytes | BlobPart | StreamedBody = b"",
        headers: Mapping[str, str] | None = None,
        limits: Limits | None = None,
    ) -> Answer:
        """Send one request and read its answer; redirects are not followed.

        Args:
            method: HTTP method.
            target: Path and query.
            what: The purpose, as an infinitive, for messages.
            data: Body; a part is sent buffer by buffer, without joining them, a streamed one as it is made.
            headers: Further headers.
            limits: How long it may take, if it differs from other requests.

        Returns:
            The answer, whatever its status, except one that refuses the login.

        Raises:
            ConfigurationError: The registry's certificate is not trusted.
            RemoteError: There is no answer, or the login was refused; ``retryable``.
            Stopped: The process was asked to stop.
        """
        login = self._current()
        url = root_url(login.registry) + target
        sent = dict(headers or {})
        body: dict[str, Any]
        if isinstance(data, StreamedBody):
            body = {"streamed": data}
        else:
            # requests sends anything that has a length and can be iterated
            body = {"size": len(data), "data": data or None}
            if method in _METHODS_WITH_BODY:
                sent["Content-Length"] = str(len(data))
        auth = HTTPBasicAuth(login.username, login.password)
        with (
            _translated(what),
            self._session() as session,
            exchange(
                session,
                method,
                url,
                what,
                limits or self.limits,
                headers=sent,
                auth=auth,
                **body,
            ) as found,
        ):
            answer = found.told()
        self._check_login(answer, login, what)
        return answer

    def get(self, target: str, what: str, headers: Mapping[str, str] | None = None, *, limit: int) -> Answer:
        """Send a ``GET`` and read its answer; of a success, the whole body. Redirects are not followed.

        Args:
            target: Path and query.
            what: The purpose, as an infinitive, for messages.
            headers: Further headers.
            limit: Most bytes of the body.

        Raises:
            ConfigurationError: The registry's certificate is not trusted.
            RemoteError: There is no answer, a longer one, or the login was refused; ``retryable``.
            Stopped: The process was asked to stop.
        """
        login = self._current()
        auth = HTTPBasicAuth(login.username, login.password)
        url, sent = root_url(login.registry) + target, dict(headers or {})
        with (
            _translated(what),
            self._session() as session,
            exchange(session, "GET", url, what, self.limits, headers=sent, auth=auth) as found,
        ):
            if found.status == requests.codes.ok:
                return Answer(found.status, found.headers, found.body(limit))
            answer = found.told()
        self._check_login(answer, login, what)
        return answer

    def stream(self, target: str, what: str) -> Iterator[bytes]:
        """Read the body of a ``GET`` in pieces; one redirect to its storage is followed.

        The login is sent only to the registry: the target of a redirect gets none.

        Args:
            target: Path and query.
            what: The purpose, as an infinitive, for messages.

        Raises:
            RemoteError: There is no answer, or an unexpected one; ``retryable`` if it may come later.
        """
        login = self._current()
        root = root_url(login.registry)
        auth = HTTPBasicAuth(login.username, login.password)
        with _translated(what), self._session() as session, ExitStack() as stack:
            enter, limits = stack.enter_context, self.limits
            found = enter(exchange(session, "GET", root + target, what, limits, auth=auth))
            if found.status in _REDIRECTS:
                place = location(found.headers.get("Location", ""), root, found.host)
                if not is_protected(place):
                    raise RemoteError(f"cannot {what}: the registry redirects to a server without TLS")
                found = enter(exchange(session, "GET", place.geturl(), what, limits))
            if found.status != requests.codes.ok:
                answer = found.told()
                self._check_login(answer, login, what)
                raise refusal(answer, what)
            yield from found.pieces()

    def _check_login(self, answer: Answer, login: RegistryLogin, what: str) -> None:
        if answer.status != requests.codes.unauthorized and not _expired(answer):
            return
        self._forget(login)
        raise RemoteError(
            f"cannot {what}: {login.registry} does not accept the login: {_told(answer)[1]}",
            hint="the login has expired or was revoked; the next attempt logs in again",
            retryable=True,
        )

    def close(self) -> None:
        """Close every idle connection; a later request opens new ones."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        """Lend a session: threads come and go, so there are as many sessions as concurrent requests."""
        try:
            session = self._idle.pop()
        except IndexError:
            session = open_session()
        try:
            yield session
        finally:
            self._idle.append(session)

    def _current(self) -> RegistryLogin:
        with self._lock:
            if self._login is None:
                self._login = self._mint()
            return self._login

    def _forget(self, login: RegistryLogin) -> None:
        with self._lock:
            if self._login is login:
                self._login = None


def is_protected(url: SplitResult) -> bool:
    """Whether data sent to a URL is safe from others on the way: https, or loopback."""
    return url.scheme == "https" or _LOOPBACK.fullmatch(url.hostname or "") is not None


def root_url(host: str) -> str:
    """Return the URL of a registry: ``http`` on loopback only.

    Args:
        host: Registry host, with port if any.
    """
    return f"{'http' if _LOOPBACK.fullmatch(re.sub(r':[0-9]+$', '', host)) else 'https'}://{host}"


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except Untrusted as error:
        raise ConfigurationError(
            f"cannot {what}: {error}", hint="set REQUESTS_CA_BUNDLE to a file with the certificate authority"
        ) from error
    except NoAnswer as error:
        raise RemoteError(
            f"cannot {what}: {error}", hint="check the network and HTTPS_PROXY", retryable=True
        ) from error


def refusal(answer: Answer, what: str) -> ReleaseError:
    """Return the error for an answer that is not the wanted one.

    Args:
        answer: The answer.
        what: The purpose of the request, as an infinitive.
    """
    status = answer.status
    code, message = _told(answer)
    text = f"cannot {what}: the registry answers {status} {code}: {message}".rstrip(": ")
    if code == "NAME_UNKNOWN":
        return RepositoryNotFound(text, hint="create the repository in the registry first")
    if code == "TAG_INVALID" or re.search(r"tag .*\bimmutable\b|cannot be overwritten", message):
        return TagConflict(text, hint="release under a new version: published tags are never moved")
    if code in {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"}:
        return LayersNotFound(
            text, hint="run the command again: a promotion sends the layers that are missing"
        )
    if code == "DIGEST_INVALID":
        return IntegrityError(text, hint="the bytes were changed on the way to the registry")
    if status == requests.codes.method_not_allowed:
        return NotSupported(text, hint="the registry, or a proxy before it, does not support this")
    if status in {401, 403}:
        return RemoteError(text, hint="the registry refuses this user: check its policy")
    return RemoteError(
        text,
        retryable=status in {408, 429} or status >= 500,
        retry_after=asked_wait(answer.headers.get("Retry-After", "")),
    )


def check_digest(answer: Answer, digest: str, what: str) -> None:
    """Check the digest that a registry names, if any, for what it stored or holds.

    Args:
        answer: Its answer.
        digest: The digest.
        what: What the digest is of.

    Raises:
        IntegrityError: It names a different one.
    """
    named = answer.headers.get("Docker-Content-Digest", digest)
    if named != digest:
        raise IntegrityError(
            f"{what} has the digest {digest}, but the registry names {shown(named)}",
            hint="something between here and the registry changes what is sent",
        )


def _expired(answer: Answer) -> bool:
    return answer.status == requests.codes.forbidden and bool(_EXPIRED.search(_text(answer)))


def _told(answer: Answer) -> tuple[str, str]:
    """Return code and message of the first error in an answer."""
    try:
        first = strict_json(answer.body, "the answer", maps=True)["errors"][0]
        code, message = first.get("code", ""), first.get("message", "")
        return shown(str(code)), shown(str(message), _MAX_TOLD)
    except (IntegrityError, KeyError, IndexError, TypeError, AttributeError):
        return "", shown(_text(answer), _MAX_TOLD)


def _text(answer: Answer) -> str:
    return answer.body[: _MAX_TOLD * 4].decode(errors="replace")
