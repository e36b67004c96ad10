"""Writes to a registry over the distribution API: blobs in one request or in parts, mounts, manifests.

Follows the OCI Distribution Specification 1.1 ("Pushing blobs in chunks", "Mounting a blob from
another repository", "Pushing Manifests"). A whole blob goes as Docker and Podman send it, in one ``PATCH``
without ``Content-Range``: with its length if that is known, otherwise in chunks. Some proxies refuse that as
too large (413) or without a length (411); there, and after a break, blobs go in parts.

Amazon ECR accepts parts of 5 to 10 MiB; the last one may be smaller (ECR API reference, UploadLayerPart and
CompleteLayerUpload; "Amazon ECR service quotas"). It answers a ``PATCH`` with 201, where the specification
has 202 (dotnet/sdk-container-builds #279), and its ``Range`` stays at the end of the first part while later
ones arrive (aws/containers-roadmap #2831). A ``Range`` that stays is no proof of a loss: the digest decides.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import requests

from jenkins_release.base.errors import IntegrityError, ReleaseError, RemoteError
from jenkins_release.base.numbers import whole_number
from jenkins_release.base.waits import Stopped, apart, stopping
from jenkins_release.http.exchange import Answer, NoAnswer, StreamedBody, location, shown
from jenkins_release.oci.manifests import is_digest, sha256_digest
from jenkins_release.registry.protocol import BlobPart, BlobUpload, UploadLost
from jenkins_release.registry.transport import Transport, check_digest, refusal

_RANGE = re.compile(r"(?:bytes=)?0-([0-9]+)")
_TAKEN = frozenset({201, 202})
"""Answers to bytes that arrived."""
_REFUSES_STREAM = frozenset({400, 411, 413, 501})
"""Answers of registries and proxies that take no request of this length, or none without a length."""
_GONE = frozenset({404, 410})
_ELSEWHERE = frozenset({301, 302, 303, 307, 308})
_CANCEL_S = 5.0
"""Longest wait for an upload to be cancelled, in seconds: otherwise the registry forgets it by itself."""
_NOT_LENT = frozenset({403, 404})
"""Answers if the caller may not read the other repository (ECR user guide, "Blob mounting")."""
_log = logging.getLogger(__name__)


class RegistryUploads:
    """Blobs and manifests of one registry; safe to share between threads.

    Args:
        transport: Sends the requests.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.streams = True
        """Whether the registry takes a whole blob in one request, as far as is known."""

    def __repr__(self) -> str:
        return f"RegistryUploads({self._transport.shown})"

    def holds(self, repository: str, digest: str, size: int | None = None) -> bool:
        """Whether the repository has a blob (``HEAD``); a redirect to its storage means yes.

        Args:
            repository: Repository.
            digest: The blob's digest.
            size: Its size, if known.

        Raises:
            IntegrityError: The registry names another digest, or another size.
            RemoteError: The registry refused or failed.
        """
        what = f"ask whether {repository} holds {digest}"
        answer = self._transport.request("HEAD", f"/v2/{repository}/blobs/{digest}", what)
        if answer.status == requests.codes.not_found:
            return False
        if answer.status in _ELSEWHERE:
            return True
        if answer.status != requests.codes.ok:
            raise refusal(answer, what)
        check_digest(answer, digest, f"the blob in {repository}")
        stated = answer.headers.get("Content-Length")
        if size is not None and stated is not None and whole_number(stated) != size:
            raise IntegrityError(
                f"{repository}: {digest} has {size} bytes, but the registry names {shown(stated)}",
                hint="find out who changes the registry's answers or what it stores",
            )
        return True

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Mount a blob of another repository.

        Returns:
            False if the registry began an upload instead, which is then cancelled.

        Raises:
            RepositoryNotFound: There is no such repository.
            IntegrityError: The registry names another digest.
            RemoteError: The registry refused or failed.
        """
        what = f"mount {digest} from {source} into {repository}"
        query = urlencode({"mount": digest, "from": source})
        answer = self._transport.request("POST", f"/v2/{repository}/blobs/uploads/?{query}", what)
        if answer.status == requests.codes.created:
            check_digest(answer, digest, f"the blob that {repository} is lent")
            return True
        if answer.status == requests.codes.accepted:
            self._begun(repository, answer, what).cancel()
            return False
        if answer.status in _NOT_LENT:
            _log.info("cannot %s: the registry answers %d; sending it instead", what, answer.status)
            return False
        raise refusal(answer, what)

    def upload(self, repository: str) -> BlobUpload:
        """Begin to upload a blob.

        Raises:
            RepositoryNotFound: There is no such repository.
            RemoteError: The registry refused or failed.
        """
        what = f"begin an upload to {repository}"
        answer = self._transport.request("POST", f"/v2/{repository}/blobs/uploads/", what)
        if answer.status != requests.codes.accepted:
            raise refusal(answer, what)
        return self._begun(repository, answer, what)

    def put_manifest(self, repository: str, tag: str, media_type: str, data: bytes) -> str:
        """Store a manifest under a tag or its digest; return the digest, which the registry must confirm.

        Raises:
            LayersNotFound: A blob that it names is missing.
            TagConflict: The tag is immutable and taken.
            IntegrityError: The registry names another digest.
            RemoteError: The registry refused or failed.
        """
        name = f"{repository}{'@' if is_digest(tag) else ':'}{tag}"
        what = f"put the manifest of {name}"
        headers = {"Content-Type": media_type}
        answer = self._transport.request("PUT", f"/v2/{repository}/manifests/{tag}", what, data, headers)
        if answer.status != requests.codes.created:
            raise refusal(answer, what)
        digest = sha256_digest(data)
        check_digest(answer, digest, f"{name}: the manifest")
        return digest

    def read(self, repository: str, digest: str) -> Iterator[bytes]:
        """Yield a blob in pieces, from the registry's storage. The caller checks the digest.

        Raises:
            RemoteError: The registry refused or failed; ``retryable`` if it may answer later.
        """
        return self._transport.stream(f"/v2/{repository}/blobs/{digest}", f"read {digest} of {repository}")

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._transport.close()

    def _begun(self, repository: str, answer: Answer, what: str) -> _UploadSession:
        return _UploadSession(self, self._transport, repository, _location(answer, self._transport, what))


class _UploadSession:
    """An upload under way; see :class:`~jenkins_release.registry.protocol.BlobUpload`."""

    def __init__(self, store: RegistryUploads, transport: Transport, repository: str, location: str) -> None:
        self._store = store
        self._transport = transport
        self._repository = repository
        self._location = location
        self._begin = 0
        """Offset of the part that is being sent."""
        self._arrived = 0
        self._sent = 0
        """Bytes that were sent at least once."""
        self._stated = 0
        """Bytes that the registry named last."""
        self._uncertain = False
        self._doubtful = False
        """Whether only the digest can say that the registry has the right bytes."""
        self._asked_to_keep = False
        self._finished = False

    def stream(self, pieces: Iterable[bytes], size: int | None = None) -> None:
        """Send the whole blob in one request; after a failure, :meth:`resume` and :meth:`send` the rest."""
        what = f"send a layer to {self._repository}"
        body = StreamedBody(pieces, size)
        headers = {"Content-Type": "application/octet-stream"}
        self._uncertain = True
        try:
            answer = self._transport.request("PATCH", self._location, what, body, headers)
        finally:
            self._sent = body.sent
        if answer.status in _REFUSES_STREAM:
            self._store.streams = False
            error = refusal(answer, what)
            raise RemoteError(
                error.message, hint="the registry gets layers in parts from now on", retryable=True
            )
        stated = self._taken(answer, what)
        if not body.complete:
            raise RemoteError(f"cannot {what}: the registry answered before it had all of it", retryable=True)
        if stated is not None and stated > self._sent:
            raise self._lost(f"it has {stated} bytes, but {self._sent} were sent")
        self._doubtful = stated is not None and stated < self._sent
        self._begin = self._arrived = self._sent
        self._uncertain = False

    def resume(self) -> int:
        """Return how many bytes the registry has: the next part begins there."""
        if self._uncertain:
            self._ask()
        if self._arrived > self._sent:
            raise self._lost(f"it has {self._arrived} bytes, but {self._sent} were sent")
        self._doubtful = self._doubtful or self._arrived > 0
        self._begin = self._arrived
        return self._begin

    def send(self, part: BlobPart) -> None:
        """Append a part; called again with the same part, it sends what did not arrive."""
        if self._uncertain:
            self._ask()
        done = self._arrived - self._begin
        if not 0 <= done <= len(part):
            raise self._lost(
                f"it has {self._arrived} bytes, expected {self._begin} to {self._begin + len(part)}"
            )
        if done < len(part):
            self._uncertain = True
            self._sent = max(self._sent, self._begin + len(part))
            self._patch(part.after(done))
            self._uncertain = False
        self._begin = self._arrived = self._begin + len(part)

    def finish(self, digest: str) -> None:
        """Let the registry check and keep the blob; called again, it first asks whether that is done."""
        if not (self._asked_to_keep and self._kept(digest)):
            self._asked_to_keep = True
            self._put(digest)
        self._finished = True

    def _put(self, digest: str) -> None:
        what = f"finish the upload of {digest} to {self._repository}"
        answer = self._transport.request("PUT", _with_query(self._location, digest=digest), what)
        if answer.status in _GONE:
            # A proxy may have sent it twice and lost the first answer.
            if self._kept(digest):
                return
            raise self._lost("it is unknown")
        if answer.status != requests.codes.created:
            if self._doubtful and answer.status == requests.codes.bad_request:
                raise self._lost(f"it does not have the digest {digest}")
            raise refusal(answer, what)
        check_digest(answer, digest, f"the blob that was sent to {self._repository}")

    def _kept(self, digest: str) -> bool:
        return self._store.holds(self._repository, digest, self._arrived)

    def cancel(self) -> None:
        """Cancel the upload; the registry forgets it by itself if that fails."""
        self._finished = True
        limits = self._transport.limits
        limits = replace(limits, answer_s=min(limits.answer_s, _CANCEL_S))
        what = f"cancel an upload to {self._repository}"
        try:
            with apart():
                self._transport.request("DELETE", self._location, what, limits=limits)
        except ReleaseError as error:
            _log.debug("%s", error)

    def _patch(self, data: BlobPart) -> None:
        first, last = self._arrived, self._arrived + len(data) - 1
        what = f"send bytes {first} to {last} of a layer to {self._repository}"
        headers = {"Content-Type": "application/octet-stream", "Content-Range": f"{first}-{last}"}
        answer = self._transport.request("PATCH", self._location, what, data, headers)
        before = self._stated
        stated = self._taken(answer, what)
        if stated is None or stated == last + 1:
            return
        if not 0 < stated == before:
            raise self._lost(f"it has {stated} bytes, but {last + 1} were sent")
        self._doubtful = True

    def _taken(self, answer: Answer, what: str) -> int | None:
        """Check the answer to a ``PATCH``, and return how many bytes it names, if any."""
        if answer.status in {*_GONE, requests.codes.requested_range_not_satisfiable}:
            raise self._lost("it is unknown, or has another location")
        if answer.status not in _TAKEN:
            raise refusal(answer, what)
        self._location = _location(answer, self._transport, what)
        stated = _arrived(answer, what)
        self._stated = stated or 0
        return stated

    def _ask(self) -> None:
        """Ask the registry how far the upload has got (``GET`` on its location)."""
        what = f"ask for the state of an upload to {self._repository}"
        answer = self._transport.request("GET", self._location, what)
        if answer.status == requests.codes.no_content:
            arrived = _arrived(answer, what)
            self._location = _location(answer, self._transport, what, default=self._location)
            # An empty upload is "0-0" too: a single byte is sent again.
            self._arrived = self._stated = 0 if arrived is None or arrived <= 1 else arrived
            self._uncertain = False
            return
        error = refusal(answer, what)
        if error.retryable:
            raise error
        raise self._lost(f"its state is unknown: {error.message}")

    def _lost(self, why: str) -> UploadLost:
        self._finished = True
        return UploadLost(
            f"the upload to {self._repository} cannot continue: {why}",
            hint="the layer is sent again from its beginning",
        )

    def __enter__(self) -> BlobUpload:
        return self

    def __exit__(self, *exc: object) -> None:
        error = exc[1]
        # If another layer failed, there is time to cancel this one; after Ctrl-C there is not.
        left = isinstance(error, Stopped) and not stopping()
        failed = isinstance(error, ReleaseError | None)
        if not self._finished and (left or failed):
            self.cancel()


def _arrived(answer: Answer, what: str) -> int | None:
    """Return the bytes that an upload has, from its ``Range`` header; None if there is none."""
    stated = answer.headers.get("Range")
    if stated is None:
        return None
    found = _RANGE.fullmatch(stated)
    last = whole_number(found[1]) if found else None
    if last is None:
        raise RemoteError(f"cannot {what}: the registry names the range {shown(stated)!r}, expected 0-NUMBER")
    return last + 1


def _location(answer: Answer, transport: Transport, what: str, default: str = "") -> str:
    """Return path and query of the ``Location``, which must be on the same registry."""
    stated = answer.headers.get("Location", default)
    if not stated:
        raise RemoteError(f"cannot {what}: the registry gives no location for the upload")
    root = urlsplit(transport.endpoint)
    try:
        url = location(stated, transport.endpoint, root.netloc)
    except NoAnswer as error:
        raise RemoteError(f"cannot {what}: {error}") from error
    if (url.scheme, url.netloc) != (root.scheme, root.netloc):
        raise RemoteError(
            f"cannot {what}: the registry sends the upload to {url.scheme}://{url.netloc}",
            hint="the login is sent only to the registry itself; check the proxies on the way",
        )
    return urlunsplit(("", "", url.path, url.query, ""))


def _with_query(location: str, **added: str) -> str:
    url = urlsplit(location)
    query = [*parse_qsl(url.query, keep_blank_values=True), *added.items()]
    return urlunsplit(("", "", url.path, urlencode(query), ""))
