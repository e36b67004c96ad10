"""Reads manifests and blobs from any registry over the distribution API.

Sources: OCI Distribution Specification 1.1 ("Pulling manifests") and, for tokens, "Token
Authentication Specification" of the CNCF distribution project. Amazon ECR answers with a ``Basic``
challenge (ECR user guide, "Private registry authentication").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlencode

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.base.retry import asked_wait
from jenkins_release.base.strict_json import strict_json
from jenkins_release.base.waits import Limits
from jenkins_release.http.exchange import (
    Answer,
    Exchange,
    NoAnswer,
    Untrusted,
    exchange,
    location,
    open_session,
    shown,
)
from jenkins_release.oci.manifests import (
    ACCEPTED_TYPES,
    MAX_MANIFEST_BYTES,
    Content,
    RawManifest,
    is_digest,
    platform_digest,
    read_content,
    sha256_digest,
)
from jenkins_release.registry.protocol import RegistryLogin
from jenkins_release.registry.transport import is_protected, root_url

_MAX_ANSWER_BYTES = 1024 * 1024
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PARAMETER = re.compile(r'\b(\w+)="([^"]*)"')
_TOKEN = re.compile(r"[!-~]+")
"""What a header can contain; how a token is made is up to the registry (RFC 6750 section 2.1)."""
_REFERENCE = re.compile(
    r"(?P<host>localhost(?::\d+)?|\[::1\](?::\d+)?|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::\d+)?)"
    r"/(?P<repository>[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class ImageReference:
    """An image in a registry, named as for ``docker pull``.

    Attributes:
        host: Registry host, with port if any.
        repository: Repository.
        tag: Tag; empty if not given.
        digest: Manifest digest, which takes precedence over the tag; empty if not given.
    """

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Read ``REGISTRY/REPOSITORY``, with ``:TAG`` or ``@sha256:DIGEST``. Raises ConfigurationError."""
        found = _REFERENCE.fullmatch(text)
        if found is None or not re.search(r"[.:]|^localhost$", found["host"]):
            raise ConfigurationError(
                f"{text!r} does not name an image in a registry",
                hint="write REGISTRY/REPOSITORY, with :TAG or @sha256:DIGEST if needed",
            )
        return cls(found["host"], found["repository"], found["tag"] or "", found["digest"] or "")


class _Anonymous(AuthBase):
    """Sends no credentials: without it, requests would look for some in ``~/.netrc``."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class DistributionRegistry:
    """A registry at a host, over https; over http only on loopback.

    Proxies and private certificate authorities come from the process' environment
    (``HTTPS_PROXY``, ``NO_PROXY``, ``REQUESTS_CA_BUNDLE``).

    Args:
        host: Registry host, with port if any: what precedes the first ``/`` of a reference.
        login: Credentials; None to read anonymously.
        limits: How long a request may take.
    """

    def __init__(
        self, host: str, login: RegistryLogin | None = None, *, limits: Limits | None = None
    ) -> None:
        self.host = host
        self._login = login
        self._limits = limits or Limits()
        self._root = root_url(host)
        self._session = open_session()
        self._auth: AuthBase = _Anonymous()

    def manifest(self, repository: str, reference: str) -> RawManifest:
        """Read a manifest by tag or digest; its digest is computed from its bytes.

        Raises:
            IntegrityError: The bytes do not match the digest that was requested or that the registry names,
                or there are too many.
            ConfigurationError: The registry requires a login, or does not have the image.
            RemoteError: The registry does not answer, or refuses.
        """
        what = f"{self.host}/{repository}{'@' if is_digest(reference) else ':'}{reference}"
        url = f"{self._root}/v2/{repository}/manifests/{reference}"
        with self._translated(what), self._answered(url, repository, what) as answer:
            data = _body(answer, MAX_MANIFEST_BYTES, what)
        digest = sha256_digest(data)
        named = answer.headers.get("Docker-Content-Digest", digest)
        for expected in (reference if is_digest(reference) else digest, named):
            if expected != digest:
                raise IntegrityError(
                    f"{what}: the manifest's bytes have the digest {digest}, expected {shown(expected)}",
                    hint="something between here and the registry changes what it sends",
                )
        kind = shown(answer.headers.get("Content-Type", "").split(";")[0])
        return RawManifest(digest, kind, data)

    def content(self, repository: str, manifest: RawManifest, platform: str) -> Content:
        """Return the content of a manifest, following an index to its only platform.

        Args:
            repository: Repository that it was read from.
            manifest: The manifest.
            platform: The expected platform of an index.

        Raises:
            IntegrityError: It is malformed, or not for exactly that platform.
            RemoteError: As :meth:`manifest`.
        """
        what = f"{self.host}/{repository}"
        if manifest.is_index:
            digest, _ = platform_digest(manifest, platform, what)
            manifest = self.manifest(repository, digest)
        return read_content(manifest, what)

    def blob(self, repository: str, digest: str) -> Iterator[bytes]:
        """Yield a blob's bytes as they come; the caller checks digest and size.

        Raises:
            ConfigurationError: The registry requires a login, or does not have the blob.
            RemoteError: The registry does not answer, refuses, or breaks off.
        """
        what = f"{self.host}/{repository}@{digest}"
        url = f"{self._root}/v2/{repository}/blobs/{digest}"
        with self._translated(what), self._answered(url, repository, what) as answer:
            yield from answer.pieces()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    @contextmanager
    def _answered(self, url: str, repository: str, what: str) -> Iterator[Exchange]:
        with ExitStack() as stack:
            answer = self._get(url, what, self._auth, stack)
            if answer.status == 401:
                self._auth = self._answer_challenge(answer.told(), repository, what)
                answer = self._get(url, what, self._auth, stack)
            _check_status(answer, what, logged_in=self._login is not None)
            yield answer

    def _get(self, url: str, what: str, auth: AuthBase, stack: ExitStack) -> Exchange:
        """Request a URL; redirects are followed without the login, and only over https or on loopback."""
        headers = {"Accept": ", ".join(ACCEPTED_TYPES)} if "/manifests/" in url else {}
        for _ in range(_MOST_REDIRECTS):
            request = exchange(
                self._session, "GET", url, f"read {what}", self._limits, headers=headers, auth=auth
            )
            answer = stack.enter_context(request)
            if answer.status not in _REDIRECTS:
                return answer
            answer.told()
            place = location(answer.headers.get("Location", ""), url, answer.host)
            if not is_protected(place):
                raise RemoteError(f"{what}: {answer.host} redirects to a server without TLS")
            url, auth = place.geturl(), _Anonymous()
        raise NoAnswer(f"{self.host} redirects too often")

    def _answer_challenge(self, answer: Answer, repository: str, what: str) -> AuthBase:
        challenge = answer.headers.get("WWW-Authenticate", "")
        scheme, _, rest = challenge.partition(" ")
        basic = HTTPBasicAuth(self._login.username, self._login.password) if self._login else None
        if scheme.lower() == "basic" and basic is not None:
            return basic
        if scheme.lower() == "bearer":
            return _Bearer(self._token(dict(_PARAMETER.findall(rest)), repository, basic, what))
        raise _login_needed(what, logged_in=basic is not None)

    def _token(self, given: dict[str, str], repository: str, basic: HTTPBasicAuth | None, what: str) -> str:
        stated = given.get("realm", "")
        realm = location(stated, self._root, self.host)
        if not is_protected(realm):
            raise RemoteError(
                f"{what}: the registry asks to send the login to {shown(stated)!r}, which is not https",
                hint="passwords are sent only over https or on loopback",
            )
        query = {"service": given.get("service", ""), "scope": f"repository:{repository}:pull"}
        url = realm._replace(query="&".join(filter(None, (realm.query, urlencode(query))))).geturl()
        with ExitStack() as stack:
            answer = self._get(url, what, basic or _Anonymous(), stack)
            if answer.status in {401, 403}:
                raise _login_needed(what, logged_in=basic is not None)
            _check_status(answer, what, logged_in=basic is not None)
            try:
                document = strict_json(_body(answer, _MAX_ANSWER_BYTES, what), "the answer")
            except IntegrityError as error:
                raise RemoteError(
                    f"{what}: {realm.hostname} answered without a token: {error.message}"
                ) from error
        token = document.get("token") or document.get("access_token") if isinstance(document, dict) else None
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise RemoteError(f"{what}: {realm.hostname} answered without a token")
        return token

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except Untrusted as error:
            raise RemoteError(
                f"{what}: {error}", hint="set REQUESTS_CA_BUNDLE to a file with the certificate authority"
            ) from error
        except NoAnswer as error:
            raise RemoteError(
                f"{what}: the registry {self.host} does not answer like one: {error}",
                hint="check the name, the network, and HTTPS_PROXY",
                retryable=True,
            ) from error


def _body(answer: Exchange, limit: int, what: str) -> bytes:
    data = bytearray()
    for piece in answer.pieces(64 * 1024):
        data += piece
        if len(data) > limit:
            raise IntegrityError(f"{what}: the registry's answer has more than {limit} bytes")
    return bytes(data)


def _check_status(answer: Exchange, what: str, *, logged_in: bool) -> None:
    status = answer.status
    if status == 200:
        return
    if status in {401, 403}:
        raise _login_needed(what, logged_in=logged_in)
    if status == 404:
        raise ConfigurationError(
            f"{what}: the registry has no such image",
            hint="check repository and tag; without a login, some registries answer like this",
        )
    raise RemoteError(
        f"{what}: the registry answers with status {status}",
        retryable=status == 429 or status >= 500,
        retry_after=asked_wait(answer.headers.get("Retry-After", "")),
    )


def _login_needed(what: str, *, logged_in: bool) -> ConfigurationError:
    return ConfigurationError(
        f"{what}: the registry {'refuses the login' if logged_in else 'requires a login'}",
        hint="set JENKINS_RELEASE_REGISTRY_USER and JENKINS_RELEASE_REGISTRY_PASSWORD or ..._PASSWORD_FILE",
    )
