"""Any registry over the distribution API: reading manifests, and nothing else.

Sources: OCI Distribution Specification 1.1 ("Pulling manifests") and, for tokens, "Token
Authentication Specification" of the CNCF distribution project. Amazon ECR answers with a ``Basic``
challenge (ECR user guide, "Private registry authentication").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from requests.structures import CaseInsensitiveDict

from jenkins_release.errors import ConfigurationError, IntegrityError, ReleaseError, RemoteError
from jenkins_release.numbers import whole_number
from jenkins_release.registry.manifests import (
    ACCEPTED_TYPES,
    Content,
    RawManifest,
    is_digest,
    platform_digest,
    read_content,
    sha256_digest,
)
from jenkins_release.registry.protocol import RegistryLogin
from jenkins_release.registry.transport import root_url
from jenkins_release.strict_json import strict_json

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
"""Largest manifest that registries have to take (OCI Distribution Specification, "Pushing Manifests")."""
_MAX_ANSWER_BYTES = 1024 * 1024
_CHUNK = 1024 * 1024
_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|\[?::1\]?")
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_REFERENCE = re.compile(
    r"(?P<host>localhost(?::\d+)?|\[::1\](?::\d+)?|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::\d+)?)"
    r"/(?P<repository>[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class ImageReference:
    """An image in a registry, as ``docker pull`` names it.

    Attributes:
        host: Registry host, with port if any.
        repository: Repository.
        tag: Tag; empty where none is given.
        digest: Manifest digest, which counts before the tag; empty where none is given.
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
                hint="write REGISTRY/REPOSITORY, with :TAG or @sha256:DIGEST if need be",
            )
        return cls(found["host"], found["repository"], found["tag"] or "", found["digest"] or "")


class _Anonymous(AuthBase):
    """Sends no credentials: without it requests would look for some in ``~/.netrc``."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class DistributionRegistry:
    """A registry at a host, reached over https; over http on loopback only.

    Proxies and private certificate authorities are those of the process's environment
    (``HTTPS_PROXY``, ``NO_PROXY``, ``REQUESTS_CA_BUNDLE``).

    Args:
        host: Registry host, with port if any, as it stands before the first ``/`` of a reference.
        login: Credentials; None to read as anybody.
        timeout_s: Longest silence of the registry, in seconds.
    """

    def __init__(self, host: str, login: RegistryLogin | None = None, *, timeout_s: float = 30.0) -> None:
        self.host = host
        self._login = login
        self._timeout_s = timeout_s
        self._root = root_url(host)
        self._session = requests.Session()
        self._auth: AuthBase = _Anonymous()

    def manifest(self, repository: str, reference: str) -> RawManifest:
        """Read a manifest by tag or digest; its digest is computed from its bytes.

        Raises:
            IntegrityError: The bytes do not have the digest that was asked for or that the registry
                names, or they are too many.
            ConfigurationError: The registry asks for a login, or has no such image.
            RemoteError: The registry does not answer, or refuses.
        """
        what = f"{self.host}/{repository}{'@' if is_digest(reference) else ':'}{reference}"
        url = f"{self._root}/v2/{repository}/manifests/{reference}"
        with self._translated(what):
            answer = self._get(url)
            if answer.status_code == 401:
                self._auth = self._answer_challenge(answer, repository, what)
                answer = self._get(url)
            _check_status(answer, what, logged_in=self._login is not None)
            data = _body(answer, MAX_MANIFEST_BYTES, what)
        digest = sha256_digest(data)
        named = answer.headers.get("Docker-Content-Digest", digest)
        for expected in (reference if is_digest(reference) else digest, named):
            if expected != digest:
                raise IntegrityError(
                    f"{what}: the manifest's bytes have the digest {digest}, expected {expected}",
                    hint="something between here and the registry changes what it sends",
                )
        kind = answer.headers.get("Content-Type", "").split(";")[0].strip()
        return RawManifest(digest, kind, data)

    def content(self, repository: str, manifest: RawManifest, platform: str) -> Content:
        """Return what a manifest names; an index is followed to its only platform.

        Args:
            repository: Repository that it was read from.
            manifest: The manifest.
            platform: Platform that an index has to be for.

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
        """Yield a blob's bytes as they come; whoever takes them hashes and measures them.

        Raises:
            ConfigurationError: The registry asks for a login, or has no such blob.
            RemoteError: The registry does not answer, refuses, or breaks off.
        """
        what = f"{self.host}/{repository}@{digest}"
        url = f"{self._root}/v2/{repository}/blobs/{digest}"
        with self._translated(what):
            answer = self._get(url)
            if answer.status_code == 401:
                self._auth = self._answer_challenge(answer, repository, what)
                answer = self._get(url)
            _check_status(answer, what, logged_in=self._login is not None)
            with answer:
                yield from answer.iter_content(_CHUNK)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _get(self, url: str, auth: AuthBase | None = None, **named: Any) -> requests.Response:
        headers = {"Accept": ", ".join(ACCEPTED_TYPES)} if "/manifests/" in url else {}
        if "/blobs/" in url:
            headers["Accept-Encoding"] = "identity"
        return self._session.get(
            url, headers=headers, auth=auth or self._auth, timeout=self._timeout_s, stream=True, **named
        )

    def _answer_challenge(self, answer: requests.Response, repository: str, what: str) -> AuthBase:
        challenge = answer.headers.get("WWW-Authenticate", "")
        answer.close()
        scheme, _, rest = challenge.partition(" ")
        basic = HTTPBasicAuth(self._login.username, self._login.password) if self._login else None
        if scheme.lower() == "basic" and basic is not None:
            return basic
        if scheme.lower() == "bearer":
            return _Bearer(self._token(dict(_PARAMETER.findall(rest)), repository, basic, what))
        raise _login_needed(what, logged_in=basic is not None)

    def _token(self, given: dict[str, str], repository: str, basic: HTTPBasicAuth | None, what: str) -> str:
        realm = urlsplit(given.get("realm", ""))
        if realm.scheme != "https" and not _LOOPBACK.fullmatch(realm.hostname or ""):
            raise RemoteError(
                f"{what}: the registry sends the login to {given.get('realm')!r}, which is not https",
                hint="a password is only sent over https, or on loopback",
            )
        query = {"service": given.get("service", ""), "scope": f"repository:{repository}:pull"}
        answer = self._get(realm.geturl(), auth=basic or _Anonymous(), params=query)
        if answer.status_code in {401, 403}:
            raise _login_needed(what, logged_in=basic is not None)
        _check_status(answer, what, logged_in=basic is not None)
        try:
            document = strict_json(_body(answer, _MAX_ANSWER_BYTES, what), "the answer")
        except IntegrityError as error:
            raise RemoteError(
                f"{what}: {realm.hostname} answered without a token: {error.message}"
            ) from error
        token = document.get("token") or document.get("access_token") if isinstance(document, dict) else None
        if not isinstance(token, str):
            raise RemoteError(f"{what}: {realm.hostname} answered without a token")
        return token

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except ReleaseError:
            raise
        except requests.exceptions.SSLError as error:
            raise RemoteError(
                f"{what}: the certificate of {self.host} is not trusted: {error}",
                hint="REQUESTS_CA_BUNDLE names a file with further authorities",
            ) from error
        except (requests.exceptions.InvalidURL, UnicodeError) as error:
            raise ConfigurationError(f"{what} does not name an image: {error}") from error
        except (requests.RequestException, OSError, ValueError) as error:
            raise RemoteError(
                f"{what}: the registry {self.host} does not answer as one: {error}",
                hint="check the name, the network, and HTTPS_PROXY",
                retryable=True,
            ) from error


def _body(answer: requests.Response, limit: int, what: str) -> bytes:
    data = b""
    for chunk in answer.iter_content(64 * 1024):
        data += chunk
        if len(data) > limit:
            answer.close()
            raise IntegrityError(f"{what}: the registry's answer has more than {limit} bytes")
    return data


def _check_status(answer: requests.Response, what: str, *, logged_in: bool) -> None:
    status = answer.status_code
    if status == 200:
        return
    answer.close()
    if status in {401, 403}:
        raise _login_needed(what, logged_in=logged_in)
    if status == 404:
        raise ConfigurationError(
            f"{what}: the registry has no such image",
            hint="check repository and tag; some registries answer so without a login too",
        )
    headers: CaseInsensitiveDict[str] = answer.headers
    raise RemoteError(
        f"{what}: the registry answers with status {status}",
        retryable=status == 429 or status >= 500,
        retry_after=whole_number(headers.get("Retry-After", "")),
    )


def _login_needed(what: str, *, logged_in: bool) -> ConfigurationError:
    return ConfigurationError(
        f"{what}: the registry {'refuses the login' if logged_in else 'asks for a login'}",
        hint="set JENKINS_RELEASE_REGISTRY_USER and JENKINS_RELEASE_REGISTRY_PASSWORD or ..._PASSWORD_FILE",
    )
