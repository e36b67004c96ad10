"""Manifests as a registry stores them: bytes that are checked before they are trusted.

Formats: OCI image specification 1.1 (``manifest.md``, ``image-index.md``) and Docker's "Image
Manifest Version 2, Schema 2". Docker and skopeo read them with Go, so what Go could read differently is
refused (ADR 27).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.strict_json import check_shape, strict_json
from jenkins_release.oci.platforms import Platform, normalise, same_platform
from jenkins_release.oci.shapes import INDEX, MANIFEST, check_descriptor

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPES = (DOCKER_MANIFEST, OCI_MANIFEST)
"""Media types of the manifest of one platform."""
INDEX_TYPES = (DOCKER_LIST, OCI_INDEX)
"""Media types of a list of manifests."""
ACCEPTED_TYPES = (*MANIFEST_TYPES, *INDEX_TYPES)
"""Every media type that can be read here."""

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
"""Largest manifest that registries must accept (OCI Distribution Specification, "Pushing Manifests")."""
UNKNOWN = "unknown/unknown"
"""The platform of what an index lists and nothing runs."""
_UNSTATED = "an unstated platform"
_IT = "the document"
_HINT = "do not release it: find out what made it, and build the image again"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
_DOCKER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+"
CONFIG_TYPES = frozenset({DOCKER_CONFIG, OCI_CONFIG})
"""Media types of the config of an image."""
_COMPRESSIONS = {
    "application/vnd.docker.image.rootfs.diff.tar": "none",
    _DOCKER_GZIP: "gzip",
    _OCI_LAYER.removesuffix("+"): "none",
    f"{_OCI_LAYER}gzip": "gzip",
    f"{_OCI_LAYER}zstd": "zstd",
}
"""How the layers of each media type are compressed; foreign layers are not listed."""
_OCI_LAYERS = {
    compression: media_type
    for media_type, compression in _COMPRESSIONS.items()
    if media_type.startswith(_OCI_LAYER.removesuffix("+"))
}
LAYER_TYPES = frozenset(_COMPRESSIONS)
"""Media types of the layers of an image."""


@dataclass(frozen=True)
class Descriptor:
    """A blob as a manifest names it: its digest, its bytes, and how they are compressed.

    Attributes:
        digest: Its digest.
        size: Its bytes.
        compression: How they are compressed.
        media_type: What they are; empty if no manifest was read.
        annotations: What else the manifest says of it.
    """

    digest: str
    size: int
    compression: str = "gzip"
    media_type: str = field(default="", compare=False)
    annotations: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class RawManifest:
    """A manifest's bytes, whose digest was checked.

    Attributes:
        digest: ``sha256:...`` of ``data``.
        media_type: Media type that the registry gave.
        data: The exact bytes.
    """

    digest: str
    media_type: str
    data: bytes = field(repr=False)

    @property
    def is_index(self) -> bool:
        """Whether it is an index, which lists manifests."""
        return self.media_type in INDEX_TYPES


@dataclass(frozen=True)
class Content:
    """What the manifest of one platform, or of an attestation, names.

    Attributes:
        config: The config JSON.
        blobs: The stored layers, base first.
        subject: Digest of the manifest that an attestation says it is about; empty if it does not.
    """

    config: Descriptor
    blobs: tuple[Descriptor, ...]
    subject: str = ""

    @property
    def parts(self) -> tuple[Descriptor, ...]:
        """The config, then the layers."""
        return (self.config, *self.blobs)

    @property
    def config_digest(self) -> str:
        """Digest of the config JSON."""
        return self.config.digest

    @property
    def layers(self) -> tuple[str, ...]:
        """Digests of the stored layers, base first."""
        return tuple(blob.digest for blob in self.blobs)

    @property
    def size(self) -> int:
        """Bytes of config and layers as stored."""
        return self.config.size + sum(blob.size for blob in self.blobs)


def sha256_digest(data: bytes) -> str:
    """Return ``sha256:...`` of the bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def is_digest(reference: str) -> bool:
    """Whether a reference is a ``sha256:`` digest rather than a tag."""
    return _DIGEST.fullmatch(reference) is not None


def build_manifest(config: Descriptor, layers: Sequence[Descriptor]) -> RawManifest:
    """Return the manifest of an image: the same bytes for the same content, on every machine.

    Docker's own type if every layer is gzip, as the Docker engine pushes it; otherwise OCI's type, because
    Docker's specification has no zstd ("Image Manifest Version 2, Schema 2").
    """
    docker = all(layer.compression == "gzip" for layer in layers)
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {
            "mediaType": DOCKER_CONFIG if docker else OCI_CONFIG,
            "size": config.size,
            "digest": config.digest,
        },
        "layers": [
            {
                "mediaType": _DOCKER_GZIP if docker else _OCI_LAYERS[layer.compression],
                "size": layer.size,
                "digest": layer.digest,
            }
            for layer in layers
        ],
    }
    data = json.dumps(document, separators=(",", ":")).encode()
    return RawManifest(sha256_digest(data), media_type, data)


def check_manifest_size(digest: str, size: int, what: str) -> None:
    """Check that registries accept a manifest or index of that size. Raises IntegrityError."""
    if size > MAX_MANIFEST_BYTES:
        raise IntegrityError(
            f"{what}: the manifest {digest} has {size} bytes, expected at most {MAX_MANIFEST_BYTES}, which "
            "registries accept",
            hint="build the image with fewer platforms or layers",
        )


def read_content(manifest: RawManifest, what: str) -> Content:
    """Read the manifest of one platform.

    Args:
        manifest: The manifest.
        what: Which image it is, for messages.

    Raises:
        IntegrityError: It is not a well-formed image manifest.
    """
    document = _document(manifest, MANIFEST_TYPES, what)
    _check_no_artifact(document, manifest, what)
    content = _content(document, manifest, what, attested=False)
    if content.config.media_type not in CONFIG_TYPES:
        raise _malformed(what, manifest, f"its config is {content.config.media_type!r}, not an image's")
    docker = manifest.media_type == DOCKER_MANIFEST
    for layer in content.blobs:
        kind = layer.media_type
        # In a Docker manifest, skopeo and Podman accept no OCI layers.
        if kind not in _COMPRESSIONS or (docker and kind.startswith(_OCI_LAYER.removesuffix("+"))):
            raise _malformed(what, manifest, f"one of its layers is {kind!r}")
    return content


def read_attestation(manifest: RawManifest, what: str) -> Content:
    """Read the manifest of what nothing runs: its config and layers may be anything.

    Raises:
        IntegrityError: It is malformed.
    """
    return _content(_document(manifest, MANIFEST_TYPES, what), manifest, what, attested=True)


@dataclass(frozen=True)
class Listed:
    """A manifest that an index lists.

    Attributes:
        digest: Its digest.
        size: Its bytes.
        media_type: What it is.
        platform: ``os/architecture`` or ``os/architecture/variant`` as the index states it.
        normal: The same in its normal form; None if the index states none.
        annotations: What else the index says of it.
    """

    digest: str
    size: int
    media_type: str
    platform: str
    normal: Platform | None
    annotations: Mapping[str, str] = field(compare=False)

    @property
    def runs(self) -> bool:
        """Whether it is an image: BuildKit lists attestations with the platform ``unknown/unknown``."""
        return self.platform != UNKNOWN


def read_entries(index: RawManifest, what: str) -> tuple[Listed, ...]:
    """Read what any index lists, whatever that is.

    Raises:
        IntegrityError: The index is malformed.
    """
    return _entries(_document(index, INDEX_TYPES, what), index, what)


def read_index(index: RawManifest, what: str) -> tuple[Listed, ...]:
    """Read an index of images.

    Args:
        index: The index.
        what: Which image it is, for messages.

    Raises:
        IntegrityError: It is malformed, or lists anything but manifests.
    """
    document = _document(index, INDEX_TYPES, what)
    _check_no_artifact(document, index, what)
    found = _entries(document, index, what)
    for each in found:
        if each.media_type in INDEX_TYPES:
            raise _malformed(
                what,
                index,
                f"it lists another index, {each.digest}",
                "registries and programs differ in what they do with indexes in indexes: build the image for "
                "all its platforms at once, as 'docker buildx build --platform' does",
            )
        if each.media_type not in MANIFEST_TYPES:
            raise _malformed(
                what,
                index,
                f"it lists {each.digest} for {each.platform} of the type {each.media_type!r}, not an image",
            )
    return found


def platform_digest(index: RawManifest, platform: str, what: str) -> tuple[str, int]:
    """Return digest and size of the only platform's manifest in an index.

    Args:
        index: The index.
        platform: The expected platform: ``os/architecture`` or ``os/architecture/variant``.
        what: Which image it is, for messages.

    Raises:
        IntegrityError: It is malformed, or holds another platform or more than one.
    """
    real = [each for each in read_index(index, what) if each.runs]
    if len(real) != 1 or not same_platform(real[0].platform, platform):
        found = ", ".join(sorted(each.platform for each in real)) or "no platform at all"
        raise IntegrityError(
            f"{what}: the index {index.digest} holds {found}, expected exactly {platform}",
            hint="push a build of that one platform only",
        )
    return real[0].digest, real[0].size


def _document(manifest: RawManifest, kinds: Sequence[str], what: str) -> dict[str, Any]:
    """Parse a manifest or index. What does not say its media type has the one by which it is listed or sent.

    Registries take that of OCI's formats (image specification, "mediaType"), not of Docker's.
    """
    kind = manifest.media_type
    if kind not in kinds:
        expected = "index" if kinds == INDEX_TYPES else "image manifest"
        raise _malformed(what, manifest, f"its media type {kind!r} is not that of an {expected}")
    try:
        document = strict_json(manifest.data, _IT, maps=True)
        if not isinstance(document, dict) or document.get("schemaVersion") != 2:
            raise IntegrityError(f"{_IT} is not a JSON object of schemaVersion 2")
        check_shape(document, INDEX if manifest.is_index else MANIFEST, _IT)
    except IntegrityError as error:
        raise _malformed(what, manifest, error.message) from error
    own = document.get("mediaType") or ("" if kind in {DOCKER_MANIFEST, DOCKER_LIST} else kind)
    if own != kind:
        says = f"says {own!r}" if own else "has no 'mediaType', as Docker's formats must"
        raise _malformed(what, manifest, f"it {says}, but it is listed or sent as {kind!r}")
    return document


def _check_no_artifact(document: dict[str, Any], manifest: RawManifest, what: str) -> None:
    for name in ("artifactType", "subject"):
        if document.get(name):
            raise _malformed(what, manifest, f"it has {name!r}: it is not an image")


def _content(document: dict[str, Any], manifest: RawManifest, what: str, *, attested: bool) -> Content:
    config = _descriptor(document["config"], "its config", manifest, what, attested=attested)
    layers = [
        _descriptor(layer, f"its layer {number}", manifest, what, attested=attested)
        for number, layer in enumerate(document["layers"], 1)
    ]
    subject = document.get("subject")
    about = subject and _descriptor(subject, "its subject", manifest, what, attested=attested).digest
    return Content(config, tuple(layers), about or "")


def _entries(document: dict[str, Any], index: RawManifest, what: str) -> tuple[Listed, ...]:
    return tuple(
        _listed(entry, f"entry {number} of its list", index, what)
        for number, entry in enumerate(document["manifests"], 1)
    )


def _listed(entry: dict[str, Any], where: str, index: RawManifest, what: str) -> Listed:
    stated = entry.get("platform") or {}
    os, architecture, variant = (stated.get(name) or "" for name in ("os", "architecture", "variant"))
    platform = "/".join(part for part in (os, architecture, variant) if part) or _UNSTATED
    read = _descriptor(entry, where, index, what, attested=platform == UNKNOWN)
    normal = normalise(os, architecture, variant) if os or architecture else None
    return Listed(read.digest, read.size, read.media_type, platform, normal, read.annotations)


def _descriptor(
    value: dict[str, Any], where: str, manifest: RawManifest, what: str, *, attested: bool
) -> Descriptor:
    """Read a descriptor, whose shape was checked.

    That of an attestation may state what kind of artifact it leads to, and hold a copy of its content: no
    program runs either.
    """
    try:
        if attested:
            _check_copy(value, where)
        check_descriptor({**value, "data": "", "artifactType": ""} if attested else value, where)
        if not is_digest(value["digest"]):
            raise IntegrityError(
                f"{where} has the digest {value['digest'][:100]!r}, which is not a sha256 digest"
            )
    except IntegrityError as error:
        raise _malformed(what, manifest, error.message, error.hint) from error
    kind = value["mediaType"]
    return Descriptor(
        value["digest"],
        value["size"],
        _COMPRESSIONS.get(kind, "none"),
        kind,
        value.get("annotations") or {},
    )


def _check_copy(value: dict[str, Any], where: str) -> None:
    try:
        copy = base64.b64decode(value.get("data") or "", validate=True)
    except ValueError as error:
        raise IntegrityError(f"'data' of {where} is not base64") from error
    if copy and sha256_digest(copy) != value["digest"]:
        raise IntegrityError(f"'data' of {where} does not have its digest, {value['digest']}")


def _malformed(what: str, manifest: RawManifest, why: str, hint: str | None = "") -> IntegrityError:
    kind = "index" if manifest.is_index else "manifest"
    return IntegrityError(f"{what}: the {kind} {manifest.digest} cannot be used: {why}", hint=hint or _HINT)


def is_index(media_type: str | None) -> bool:
    """Whether a media type is that of an index, also called a manifest list."""
    return media_type in INDEX_TYPES


def index_children(manifest: RawManifest, what: str) -> frozenset[str]:
    """Return the digests that any index lists. Raises IntegrityError if it cannot be read."""
    try:
        document = strict_json(manifest.data, _IT, maps=True)
        check_shape(document, INDEX, _IT)
    except IntegrityError as error:
        raise _malformed(what, manifest, error.message) from error
    return frozenset(str(entry["digest"]) for entry in document["manifests"])
