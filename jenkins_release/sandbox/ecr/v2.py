"""``/v2/`` of the ECR front: the OCI distribution API over the registry behind, with ECR's checks.

ECR differs from a plain registry: the caller needs a token and the matching IAM permission for
each request, a repository must exist before the first push, an immutable tag cannot be pushed again even with
the same content, and a layer is mounted from another repository only if the account opted in (ECR user guide,
"Blob mounting in Amazon ECR").
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlencode, urlsplit

from jenkins_release.oci.manifests import OCI_INDEX, sha256_digest
from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.ecr.access import (
    DOWNLOADS,
    authorize,
    check_download,
    download_path,
    token_holder,
)
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.ecr.http import BadRequest, ConnectionReset, ServedRequest
from jenkins_release.sandbox.ecr.images import REFERRERS_PAGE
from jenkins_release.sandbox.ecr.manifests import immutable_message, referrer, store_image, subject_of
from jenkins_release.sandbox.ecr.parts import UploadParts
from jenkins_release.sandbox.ecr.state import EcrState, Image
from jenkins_release.sandbox.ecr.store import RegistryStore

_ROUTE = re.compile(
    r"/v2/(?P<name>.+?)/(?P<kind>manifests|blobs/uploads|blobs|tags|referrers)/(?P<rest>[^/]*)"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FORWARDED = ("accept", "content-type", "content-range", "range", "if-none-match", "user-agent")
_ACTIONS = {
    ("GET", "manifests"): "BatchGetImage",
    ("HEAD", "manifests"): "BatchGetImage",
    ("PUT", "manifests"): "PutImage",
    ("GET", "blobs"): "GetDownloadUrlForLayer",
    ("HEAD", "blobs"): "BatchCheckLayerAvailability",
    ("POST", "blobs/uploads"): "InitiateLayerUpload",
    ("PATCH", "blobs/uploads"): "UploadLayerPart",
    ("GET", "blobs/uploads"): "UploadLayerPart",
    ("PUT", "blobs/uploads"): "CompleteLayerUpload",
    ("DELETE", "blobs/uploads"): "InitiateLayerUpload",
    ("GET", "tags"): "ListImages",
    ("GET", "referrers"): "BatchGetImage",
}
"""IAM action that a request needs (ECR user guide, "Pushing a Docker image", required permissions)."""
_CODES = {
    "RepositoryNotFoundException": ("NAME_UNKNOWN", 404),
    "AccessDeniedException": ("DENIED", 403),
    "ImageTagAlreadyExistsException": ("TAG_INVALID", 400),
    "InvalidParameterException": ("MANIFEST_INVALID", 400),
    "LayersNotFoundException": ("MANIFEST_BLOB_UNKNOWN", 400),
    "ReferencedImagesNotFoundException": ("MANIFEST_BLOB_UNKNOWN", 400),
    "InvalidLayerPartException": ("BLOB_UPLOAD_INVALID", 416),
    "LayerPartTooSmallException": ("SIZE_INVALID", 400),
    "RequestEntityTooLargeException": ("SIZE_INVALID", 413),
    "ServerException": ("UNKNOWN", 500),
}


def repository_name(path: str) -> str:
    """Return the repository that a ``/v2/`` path names, or an empty string."""
    found = _ROUTE.fullmatch(path)
    return found["name"] if found else ""


class V2Api:
    """Answers ``/v2/``.

    Args:
        state: The front's state.
        store: The registry behind.
        host: Returns host and port of the front.
        blob_mounting: Whether the account opted in to blob mounting.
        expired_status: HTTP status for an expired token.
    """

    def __init__(
        self,
        state: EcrState,
        store: RegistryStore,
        host: Callable[[], str],
        *,
        blob_mounting: bool,
        expired_status: int,
    ) -> None:
        self._state = state
        self._store = store
        self._host = host
        self._blob_mounting = blob_mounting
        self._expired_status = expired_status
        self._parts = UploadParts()

    def answer(self, exchange: ServedRequest, fault: Fault) -> None:
        """Answer a request; errors are JSON of the distribution API."""
        try:
            self._route(exchange, fault)
        except ApiFault as error:
            code, status = _CODES.get(error.code, (error.code, error.status))
            self.refuse(exchange, status, code, error.message)

    def refuse(
        self,
        exchange: ServedRequest,
        status: int,
        code: str,
        message: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer with an error of the distribution API."""
        headers = dict(headers or {})
        if status == 401:
            headers["WWW-Authenticate"] = f'Basic realm="http://{self._host()}/",service="ecr.amazonaws.com"'
        exchange.json(status, {"errors": [{"code": code, "message": message}]}, headers)

    def download(self, exchange: ServedRequest) -> None:
        """Serve a layer by a URL of GetDownloadUrlForLayer, without credentials."""
        try:
            storage, digest = check_download(self._state, exchange.path, exchange.query)
            self._forward(exchange, f"/v2/{storage}/blobs/{digest}", "", DOWNLOADS)
        except ApiFault as error:
            self.refuse(exchange, error.status, error.code, error.message)

    def _route(self, exchange: ServedRequest, fault: Fault) -> None:
        arn = token_holder(self._state, exchange.headers.get("authorization"), self._expired_status)
        exchange.record.principal = arn
        version = {"Docker-Distribution-Api-Version": "registry/2.0"}
        if exchange.path in {"/v2/", "/v2"}:
            exchange.json(200, {}, version)
            return
        route = _ROUTE.fullmatch(exchange.path)
        action = _ACTIONS.get((exchange.method, route["kind"])) if route else None
        if route is None or action is None:
            self.refuse(exchange, 405, "UNSUPPORTED", "The operation is unsupported.")
            return
        name, kind, rest = route["name"], route["kind"], route["rest"]
        authorize(self._state, arn, f"ecr:{action}", name)
        repository = self._state.repository(name)
        if kind == "tags":
            exchange.json(200, {"name": name, "tags": sorted(repository.tags)}, version)
        elif kind == "referrers":
            self._list_referrers(exchange, name, rest)
        elif kind == "manifests" and exchange.method == "PUT":
            self._put_manifest(exchange, name, rest, fault)
        elif kind == "manifests":
            self._get_manifest(exchange, name, rest, fault)
        elif kind == "blobs" and exchange.method == "GET" and self._state.layer_host:
            place = download_path(self._state, repository.storage, rest)
            exchange.reply(307, b"", {"Location": f"http://{self._state.layer_host}{place}"})
        else:
            query = self._upload_query(exchange, arn) if exchange.method == "POST" else exchange.raw_query
            if kind == "blobs/uploads" and rest:
                self._upload(exchange, name, repository.storage, rest)
                return
            path = f"/v2/{repository.storage}/{kind}/{rest}"
            self._forward(exchange, path, query, f"/v2/{name}/", f"/v2/{repository.storage}/")

    def _upload(self, exchange: ServedRequest, name: str, storage: str, upload: str) -> None:
        """Pass on a request about an upload, or answer how far it has got."""
        arrived = self._parts.arrived(upload)
        place = f"/v2/{name}/blobs/uploads/{upload}"
        if exchange.method == "GET" and arrived is not None:
            location = f"http://{self._host()}{place}"
            exchange.reply(204, b"", {"Location": location, "Range": f"0-{max(0, arrived - 1)}"})
            return
        part = self._parts.part(exchange, upload)
        query = self._parts.query(upload, exchange.raw_query)
        path = f"/v2/{storage}/blobs/uploads/{upload}"
        shown = f"/v2/{name}/", f"/v2/{storage}/"
        if self._forward(exchange, path, query, *shown, part=part, upload=upload) and exchange.method in {
            "PUT",
            "DELETE",
        }:
            self._parts.forget(upload)

    def _list_referrers(self, exchange: ServedRequest, name: str, subject: str) -> None:
        """Answer with an index of what refers to a manifest, which need not exist ("Listing Referrers")."""
        if not _DIGEST.fullmatch(subject):
            self.refuse(exchange, 400, "DIGEST_INVALID", "provided digest is not a sha256 digest")
            return
        wanted = exchange.query.get("artifactType", "")
        found = self._state.repository(name).referrers(subject, {wanted} if wanted else ())
        after = exchange.query.get("last", "")
        left = [each for each in found if each.digest > after]
        page = left[:REFERRERS_PAGE]
        headers = {"Content-Type": OCI_INDEX}
        if wanted:
            headers["OCI-Filters-Applied"] = "artifactType"
        if len(left) > len(page):
            query = urlencode({**exchange.query, "last": page[-1].digest})
            headers["Link"] = f'<{exchange.path}?{query}>; rel="next"'
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [referrer(i) for i in page]}
        exchange.reply(200, json.dumps(document).encode(), headers)

    def _put_manifest(self, exchange: ServedRequest, name: str, reference: str, fault: Fault) -> None:
        data = exchange.body()
        digest = sha256_digest(data)
        by_digest = reference.startswith("sha256:")
        if by_digest and reference != digest:
            self.refuse(exchange, 400, "DIGEST_INVALID", "provided digest did not match uploaded content")
            return
        repository = self._state.repository(name)
        if not by_digest and reference in repository.tags and repository.is_immutable(reference):
            self.refuse(exchange, 400, "TAG_INVALID", immutable_message(name, reference))
            return
        kind = exchange.headers.get("content-type", "").split(";")[0].strip() or None
        try:
            tag = None if by_digest else reference
            if fault.subject == "refused" and subject_of(data):
                self.refuse(exchange, 405, "UNSUPPORTED", "The operation is unsupported.")
                return
            store_image(self._state, self._store, name, data, kind, tag)
        except ApiFault as error:
            # Only the API has an error for this: over /v2/, a mutable tag may be pushed again.
            if error.code != "ImageAlreadyExistsException":
                raise
        location = f"http://{self._host()}/v2/{name}/manifests/{digest}"
        headers = {"Location": location, "Docker-Content-Digest": digest}
        if (subject := subject_of(data)) and fault.subject != "ignored":
            headers["OCI-Subject"] = subject
        exchange.reply(201, b"", headers)

    def _get_manifest(self, exchange: ServedRequest, name: str, reference: str, fault: Fault) -> None:
        repository = self._state.repository(name)
        image = repository.find(reference)
        if image is None or not _accepts(exchange, image):
            self.refuse(exchange, 404, "MANIFEST_UNKNOWN", "Requested image not found")
            return
        if exchange.method == "GET":
            with self._state.change(repositories=False):
                image.pulled_at = self._state.clock()
        data = fault.spoil(self._store.manifest(repository.storage, image.digest, image.media_type))
        exchange.reply(200, data, {"Content-Type": image.media_type, "Docker-Content-Digest": image.digest})

    def _upload_query(self, exchange: ServedRequest, arn: str) -> str:
        """Return the query of a POST that begins an upload, with a mount only if it is possible."""
        source, digest = exchange.query.get("from"), exchange.query.get("mount")
        if digest is None:
            return exchange.raw_query
        if not self._blob_mounting or source is None:
            return ""
        authorize(self._state, arn, "ecr:GetDownloadUrlForLayer", source)
        return urlencode({"mount": digest, "from": self._state.repository(source).storage})

    def _forward(
        self,
        exchange: ServedRequest,
        path: str,
        query: str,
        shown: str,
        storage: str = "",
        *,
        part: bytearray | None = None,
        upload: str = "",
    ) -> bool:
        """Pass on a request, and return its answer; returns whether it succeeded."""
        headers = {name: exchange.headers[name] for name in _FORWARDED if name in exchange.headers}
        target = f"{path}?{query}" if query else path
        body: Iterable[bytes | memoryview] = exchange.chunks() if part is None else [memoryview(part)]
        stream = _Stream(body) if upload and exchange.method == "PATCH" and part is None else None
        sent, length = (body, exchange.length) if stream is None else (stream, None)
        with self._store.request(exchange.method, target, headers, sent, length) as answer:
            status, passed = answer.status, dict(answer.headers)
            for name, value in answer.headers.items():
                if name.lower() == "location" and storage:
                    url = urlsplit(value)
                    inside = url.path.replace(storage, shown, 1)
                    passed[name] = f"http://{self._host()}{inside}" + (f"?{url.query}" if url.query else "")
                    if upload and status == 202:
                        count = len(part or b"") if stream is None else stream.count
                        named = self._parts.taken(upload, count, url.query, part=stream is None)
                        status, passed["Range"] = 201, f"0-{max(0, named - 1)}"
            if stream is not None and stream.broken is not None:
                raise stream.broken
            exchange.stream(status, passed, answer.blocks())
            return status < 300


class _Stream:
    """A body that ends for the registry behind where it breaks off, so that it keeps what arrived."""

    def __init__(self, blocks: Iterable[bytes | memoryview]) -> None:
        self._blocks = blocks
        self.count = 0
        self.broken: Exception | None = None

    def __iter__(self) -> Iterator[bytes | memoryview]:
        try:
            for block in self._blocks:
                yield block
                self.count += len(block)
        except (ConnectionReset, BadRequest, OSError) as error:
            self.broken = error


def _accepts(exchange: ServedRequest, image: Image) -> bool:
    """Whether the client accepts the image's media type; without an Accept header, it accepts any."""
    accept = exchange.headers.get("accept", "*/*")
    kinds = {each.split(";")[0].strip() for each in accept.split(",")}
    return bool(kinds & {image.media_type, "*/*", "application/*"})
