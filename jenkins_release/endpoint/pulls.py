"""The reading half of the registry API (OCI Distribution Specification 1.1, "Pull", "Content Discovery")."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from jenkins_release.base.errors import ReleaseError, without_secrets
from jenkins_release.base.waits import check
from jenkins_release.endpoint.answers import begin, refuse, send, send_json
from jenkins_release.endpoint.protocol import Contents
from jenkins_release.endpoint.server import Handler, Login

_log = logging.getLogger(__name__)
NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
DIGEST = r"sha256:[0-9a-f]{64}"
_MANIFEST = re.compile(rf"/v2/({NAME})/manifests/([A-Za-z0-9_][A-Za-z0-9._-]{{0,127}}|{DIGEST})")
_BLOB = re.compile(rf"/v2/({NAME})/blobs/({DIGEST})")
_TAGS = re.compile(rf"/v2/({NAME})/tags/list")
_REFERRERS = re.compile(rf"/v2/({NAME})/referrers/({DIGEST})")
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})?")
MAX_BLOBS = 12
"""Blobs that are sent at a time, each of which takes a few MiB; further requests wait."""
_TURN_S = 0.1
_INDEX = "application/vnd.oci.image.index.v1+json"


class Pulls:
    """Answers whoever reads; nothing can be written.

    Args:
        contents: What is served.
        login: What clients must send; None lets everybody on this machine read.
        advance: Called with the bytes of each piece of a blob that is sent.

    Attributes:
        failures: Why blobs or manifests were not served to their end, oldest first.
        sent: Bytes of blobs that were sent.
    """

    def __init__(
        self,
        contents: Contents,
        login: Login | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._contents = contents
        self._login = login
        self._advance = advance
        self._turns = threading.BoundedSemaphore(MAX_BLOBS)
        self.failures: list[ReleaseError] = []
        self.sent = 0

    def check(self) -> None:
        """Raise the first failure."""
        if self.failures:
            raise self.failures[0]

    def serve(self, handler: Handler) -> None:
        """Answer one request."""
        path = unquote(urlsplit(handler.path).path)
        if self._login is not None and not self._login.opens(handler.headers.get("Authorization", "")):
            refuse(handler, 401, "UNAUTHORIZED", "this registry requires a login")
            return
        handler.admit()
        if handler.command not in {"GET", "HEAD"}:
            refuse(handler, 405, "UNSUPPORTED", "this registry can only be read")
        elif path in {"/v2", "/v2/"}:
            send(handler, b"{}")
        elif path == "/v2/_catalog":
            send_json(handler, {"repositories": sorted(self._contents.repositories())})
        elif found := _MANIFEST.fullmatch(path):
            self._manifest(handler, *found.groups())
        elif found := _BLOB.fullmatch(path):
            self._blob(handler, *found.groups())
        elif found := _TAGS.fullmatch(path):
            self._tags(handler, found[1])
        elif found := _REFERRERS.fullmatch(path):
            none = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": []}
            send(handler, json.dumps(none).encode(), _INDEX)
        else:
            refuse(handler, 404, "NAME_INVALID", "there is nothing at this path")

    def _manifest(self, handler: Handler, repository: str, reference: str) -> None:
        try:
            found = self._contents.manifest(repository, reference)
        except ReleaseError as error:
            self._failed(f"{repository}:{reference}", error)
            refuse(handler, 500, "UNKNOWN", "the manifest cannot be read")
            return
        if found is None:
            refuse(handler, 404, "MANIFEST_UNKNOWN", f"{repository} has no manifest {reference}")
            return
        send(handler, found.data, found.media_type, {"Docker-Content-Digest": found.digest})

    def _tags(self, handler: Handler, repository: str) -> None:
        tags = self._contents.tags(repository)
        if tags:
            send_json(handler, {"name": repository, "tags": sorted(tags)})
        else:
            refuse(handler, 404, "NAME_UNKNOWN", f"there is no repository {repository}")

    def _blob(self, handler: Handler, repository: str, digest: str) -> None:
        blob = self._contents.blob(repository, digest)
        if blob is None:
            refuse(handler, 404, "BLOB_UNKNOWN", f"{repository} has no blob {digest}")
            return
        first, last = 0, blob.size - 1
        headers = {"Docker-Content-Digest": digest, "Accept-Ranges": "bytes"}
        asked = _RANGE.fullmatch(handler.headers.get("Range", ""))
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or last), last)
            if first > last:
                send(handler, b"", headers={"Content-Range": f"bytes */{blob.size}"}, status=416)
                return
            headers["Content-Range"] = f"bytes {first}-{last}/{blob.size}"
        begin(handler, 206 if asked else 200, last - first + 1, "application/octet-stream", headers)
        if handler.command == "HEAD":
            return
        try:
            with self._turn():
                for piece in blob.read(first, last):
                    handler.wfile.write(piece)
                    self.sent += len(piece)
                    self._advance(len(piece))
        except ReleaseError as error:
            # Without its end, no client accepts the blob.
            handler.close_connection = True
            self._failed(digest, error)

    def _failed(self, what: str, error: ReleaseError) -> None:
        self.failures.append(error)
        _log.warning("%s was not served: %s", what, without_secrets(error.message))

    @contextmanager
    def _turn(self) -> Iterator[None]:
        while not self._turns.acquire(timeout=_TURN_S):
            check()
        try:
            yield
        finally:
            self._turns.release()
