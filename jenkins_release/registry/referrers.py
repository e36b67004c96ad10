"""Lists, reads and stores artifacts that refer to an image, over the distribution API.

Follows the OCI Distribution Specification 1.1: "Listing Referrers", "Pushing Manifests with Subject" and,
for a registry without the API, "Referrers Tag Schema". Nothing that a registry answers is believed: digests
and sizes are computed again, and what an artifact refers to is read from its manifest.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlencode, urlsplit

import requests

from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.http.exchange import Answer, NoAnswer, location, shown
from jenkins_release.oci.manifests import (
    ACCEPTED_TYPES,
    MAX_MANIFEST_BYTES,
    RawManifest,
    is_digest,
    sha256_digest,
)
from jenkins_release.oci.referrers import MOST_REFERRERS, Referrer, Subject, read_referrers
from jenkins_release.registry.protocol import Listing, RepositoryNotFound
from jenkins_release.registry.transport import Transport, refusal

_NO_API = frozenset({requests.codes.not_found, requests.codes.method_not_allowed})
_ALTERED = "something between here and the registry changes what it sends"


class RegistryReferrers:
    """Reads artifacts from one registry; safe to share between threads.

    Args:
        transport: Sends the requests.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def listing(self, repository: str, subject: Subject, artifact_type: str = "") -> Listing | None:
        """List the artifacts that refer to a manifest by the referrers API, page by page.

        Args:
            repository: Repository of both.
            subject: The manifest.
            artifact_type: Only artifacts of this type; empty for all.

        Returns:
            The artifacts, up to the page on which there are more than :data:`MOST_REFERRERS`; None if the
            registry does not have the API.

        Raises:
            RepositoryNotFound: There is no such repository.
            IntegrityError: The registry's answer is no list, or far too long.
            RemoteError: The registry refused or failed.
        """
        what = f"list what refers to {repository}@{subject.digest}"
        query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
        target = f"/v2/{repository}/referrers/{subject.digest}{query}"
        found: dict[str, Referrer] = {}
        seen: set[str] = set()
        while target:
            seen.add(target)
            answer = self._transport.get(target, what, limit=MAX_MANIFEST_BYTES)
            if answer.status in _NO_API and not found:
                error = refusal(answer, what)
                if isinstance(error, RepositoryNotFound):
                    raise error
                return None
            if answer.status != requests.codes.ok:
                raise refusal(answer, what)
            page = read_referrers(answer.body, f"the list of what refers to {repository}@{subject.digest}")
            found |= {each.digest: each for each in page}
            target = self._next(answer, what)
            if len(found) > MOST_REFERRERS:
                return Listing(_of_type(found.values(), artifact_type), more=True)
            if target in seen or len(seen) > MOST_REFERRERS:
                raise RemoteError(f"cannot {what}: the registry's list does not end")
        return Listing(_of_type(found.values(), artifact_type))

    def client_list(
        self, repository: str, subject: Subject, artifact_type: str = ""
    ) -> tuple[Referrer, ...] | None:
        """Read the list that clients keep under the subject's tag; None if there is none.

        Args:
            repository: Repository of both.
            subject: The manifest.
            artifact_type: Only artifacts of this type, or of none that the list tells; empty for all.

        Raises:
            RepositoryNotFound: There is no such repository.
            IntegrityError: The tag names something else, or a list that is far too long.
            RemoteError: The registry refused or failed.
        """
        index = self.manifest(repository, subject.tag)
        if index is None:
            return None
        if not index.is_index:
            raise IntegrityError(
                f"{repository}:{subject.tag} is {index.media_type!r}, expected an index of referrers",
                hint="remove the tag, if nothing else needs it",
            )
        found = read_referrers(index.data, f"the index {repository}:{subject.tag}")
        return _of_type({each.digest: each for each in found}.values(), artifact_type)

    def manifest(self, repository: str, reference: str) -> RawManifest | None:
        """Read a manifest by tag or digest; None if there is none. Its digest is computed from its bytes.

        Raises:
            RepositoryNotFound: There is no such repository.
            IntegrityError: The bytes do not have the digest that was requested.
            RemoteError: The registry refused or failed.
        """
        what = f"read {repository}{'@' if is_digest(reference) else ':'}{reference}"
        headers = {"Accept": ", ".join(ACCEPTED_TYPES)}
        target = f"/v2/{repository}/manifests/{reference}"
        answer = self._transport.get(target, what, headers, limit=MAX_MANIFEST_BYTES)
        if answer.status == requests.codes.not_found:
            error = refusal(answer, what)
            if isinstance(error, RepositoryNotFound):
                raise error
            return None
        if answer.status != requests.codes.ok:
            raise refusal(answer, what)
        digest = sha256_digest(answer.body)
        if is_digest(reference) and digest != reference:
            raise IntegrityError(
                f"{repository}: the manifest's bytes have the digest {digest}, expected {reference}",
                hint=_ALTERED,
            )
        kind = shown(answer.headers.get("Content-Type", "").split(";")[0].strip())
        return RawManifest(digest, kind, answer.body)

    def blob(self, repository: str, digest: str, size: int) -> bytes:
        """Read a small blob, and check its size and digest.

        Raises:
            IntegrityError: It has other bytes.
            RemoteError: The registry refused or failed.
        """
        data = bytearray()
        what = f"read {digest} of {repository}"
        for piece in self._transport.stream(f"/v2/{repository}/blobs/{digest}", what):
            data += piece
            if len(data) > size:
                break
        if len(data) != size or sha256_digest(bytes(data)) != digest:
            raise IntegrityError(
                f"{repository}: what the registry sends as {digest} has other bytes", hint=_ALTERED
            )
        return bytes(data)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._transport.close()

    def _next(self, answer: Answer, what: str) -> str:
        """Return path and query of the next page, which must be on the same registry; empty for none."""
        links = requests.utils.parse_header_links(answer.headers.get("Link", ""))
        following = next((each["url"] for each in links if each.get("rel") == "next"), "")
        if not following:
            return ""
        root = urlsplit(self._transport.endpoint)
        try:
            url = location(following, self._transport.endpoint, root.netloc)
        except NoAnswer as error:
            raise RemoteError(f"cannot {what}: {error}") from error
        if (url.scheme, url.netloc) != (root.scheme, root.netloc):
            raise RemoteError(f"cannot {what}: the next page is at {url.scheme}://{url.netloc}")
        return f"{url.path}?{url.query}" if url.query else url.path


def _of_type(found: Iterable[Referrer], artifact_type: str) -> tuple[Referrer, ...]:
    """Return those of a type, and those that do not tell theirs: a registry may ignore the filter."""
    return tuple(each for each in found if not artifact_type or each.artifact_type in {"", artifact_type})
