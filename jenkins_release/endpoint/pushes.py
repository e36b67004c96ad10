"""The writing half of the registry API (OCI Distribution Specification 1.1, "Push")."""

from __future__ import annotations

import logging
import re
import secrets
import threading
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from jenkins_release.base.errors import IntegrityError, ReleaseError, without_secrets
from jenkins_release.endpoint.answers import begin, refuse, send
from jenkins_release.endpoint.body import BrokenBody, read_body
from jenkins_release.endpoint.protocol import BlobIntake, Intake
from jenkins_release.endpoint.pulls import DIGEST, NAME
from jenkins_release.endpoint.server import Handler, Login
from jenkins_release.oci.manifests import ACCEPTED_TYPES, MAX_MANIFEST_BYTES, RawManifest, sha256_digest

_log = logging.getLogger(__name__)
_BLOB = re.compile(rf"/v2/({NAME})/blobs/({DIGEST})")
_BEGIN = re.compile(rf"/v2/({NAME})/blobs/uploads/")
_UPLOAD = re.compile(rf"/v2/({NAME})/blobs/uploads/([0-9a-f]{{32}})")
_MANIFEST = re.compile(rf"/v2/({NAME})/manifests/[A-Za-z0-9_:.-]+")
_UPLOADS = 64
"""Maximum uploads at the same time; a daemon has five."""


@dataclass
class _Upload:
    intake: BlobIntake
    size: int = 0


class Pushes:
    """Takes what a daemon pushes.

    Args:
        intake: Where it goes.
        login: What the daemon must send.

    Attributes:
        failures: Why something was not taken, oldest first.
    """

    def __init__(self, intake: Intake, login: Login) -> None:
        self._intake = intake
        self._login = login
        self._uploads: dict[str, _Upload] = {}
        self._lock = threading.Lock()
        self.failures: list[ReleaseError] = []

    def check(self) -> None:
        """Raise the first failure."""
        if self.failures:
            raise self.failures[0]

    def abandon(self) -> None:
        """Forget what was not pushed to its end."""
        with self._lock:
            left, self._uploads = list(self._uploads.values()), {}
        for upload in left:
            upload.intake.abandon()

    def serve(self, handler: Handler) -> None:
        """Answer one request."""
        if not self._login.opens(handler.headers.get("Authorization", "")):
            refuse(handler, 401, "UNAUTHORIZED", "this registry requires a login")
            return
        handler.admit()
        try:
            self._serve(handler)
        except BrokenBody as error:
            # The daemon went away, or tries again by itself.
            handler.close_connection = True
            _log.debug("a pushed body is not used: %s", error.message)
        except ReleaseError as error:
            self.failures.append(error)
            _log.debug("a pushed blob is not taken: %s", without_secrets(error.message))
            code = "DIGEST_INVALID" if isinstance(error, IntegrityError) else "UNKNOWN"
            refuse(handler, 400, code, without_secrets(error.message))

    def _serve(self, handler: Handler) -> None:
        url = urlsplit(handler.path)
        path, query = unquote(url.path), parse_qs(url.query)
        method = handler.command
        if path in {"/v2", "/v2/"}:
            send(handler, b"{}")
        elif (
            method == "HEAD"
            and (found := _BLOB.fullmatch(path))
            and (held := self._intake.held(found[2])) is not None
        ):
            begin(handler, 200, held, "application/octet-stream", {"Docker-Content-Digest": found[2]})
        elif method == "POST" and (found := _BEGIN.fullmatch(path)):
            self._begin(handler, found[1], query.get("mount", [""])[0])
        elif method in {"PATCH", "PUT", "DELETE", "GET"} and (found := _UPLOAD.fullmatch(path)):
            self._upload(handler, found[1], found[2], query.get("digest", [""])[0])
        elif method == "PUT" and (found := _MANIFEST.fullmatch(path)):
            self._manifest(handler, found[1])
        else:
            refuse(handler, 404, "BLOB_UNKNOWN", "there is nothing at this path")

    def _begin(self, handler: Handler, repository: str, mount: str) -> None:
        if re.fullmatch(DIGEST, mount) and self._intake.held(mount) is not None:
            headers = {"Location": f"/v2/{repository}/blobs/{mount}", "Docker-Content-Digest": mount}
            send(handler, b"", headers=headers, status=201)
            return
        identifier = secrets.token_hex(16)
        with self._lock:
            full = len(self._uploads) >= _UPLOADS
            if not full:
                self._uploads[identifier] = _Upload(self._intake.blob())
        if full:
            refuse(handler, 429, "TOOMANYREQUESTS", "too many uploads at the same time")
        else:
            self._continue(handler, repository, identifier, 0)

    def _upload(self, handler: Handler, repository: str, identifier: str, digest: str) -> None:
        with self._lock:
            upload = self._uploads.get(identifier)
            if upload is not None and handler.command in {"PUT", "DELETE"}:
                del self._uploads[identifier]
        if upload is None:
            refuse(handler, 404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload")
            return
        done = False
        try:
            for piece in read_body(handler) if handler.command in {"PATCH", "PUT"} else ():
                upload.intake.write(piece)
                upload.size += len(piece)
            if handler.command == "PUT":
                upload.intake.finish(digest)
            done = handler.command != "DELETE"
        finally:
            if not done:
                with self._lock:
                    self._uploads.pop(identifier, None)
                upload.intake.abandon()
        if handler.command == "DELETE":
            send(handler, b"", status=204)
        elif handler.command == "PUT":
            headers = {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest}
            send(handler, b"", headers=headers, status=201)
        else:
            self._continue(handler, repository, identifier, upload.size)

    def _continue(self, handler: Handler, repository: str, identifier: str, size: int) -> None:
        headers = {
            "Location": f"/v2/{repository}/blobs/uploads/{identifier}",
            "Docker-Upload-UUID": identifier,
            "Range": f"0-{max(size - 1, 0)}",
        }
        send(handler, b"", headers=headers, status=204 if handler.command == "GET" else 202)

    def _manifest(self, handler: Handler, repository: str) -> None:
        data = bytearray()
        for piece in read_body(handler):
            data += piece
            if len(data) > MAX_MANIFEST_BYTES:
                raise IntegrityError(f"the daemon pushes a manifest of more than {MAX_MANIFEST_BYTES} bytes")
        media_type = handler.headers.get("Content-Type", "")
        if media_type not in ACCEPTED_TYPES:
            raise IntegrityError(f"the daemon pushes a manifest of the type {media_type[:100]!r}")
        manifest = RawManifest(sha256_digest(bytes(data)), media_type, bytes(data))
        self._intake.manifest(repository, manifest)
        headers = {
            "Location": f"/v2/{repository}/manifests/{manifest.digest}",
            "Docker-Content-Digest": manifest.digest,
        }
        send(handler, b"", headers=headers, status=201)
