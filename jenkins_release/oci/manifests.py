"""Manifests as a registry stores them: bytes that are checked before they are trusted.

Formats: OCI image specification 1.1 (``manifest.md``, ``image-index.md``) and Docker's "Image
Manifest Version 2, Schema 2". Docker and skopeo read them with Go, so what Go could read differently is
refused (ADR 27).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.strict_json import Fields, check_shape, strict_json
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
_IT = "the document"
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
_VARIANTS = {"linux/arm64": "v8", "linux/arm": "v7"}
"""The default variant of each architecture."""
LAYER_TYPES = frozenset(_COMPRESSIONS)
"""Media types of the layers of an image."""


@dataclass(frozen=True)
class Descriptor:
    """A blob as a manifest names it: its digest, its bytes, and how they are compressed."""

    digest: str
    size: int
    compression: str = "gzip"


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
    """What the manifest of one platform names.

    Attributes:
        config: The config JSON.
        blobs: The stored layers, base first.
    """

    config: Descriptor
    blobs: tuple[Descriptor, ...]

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
                "mediaType": _DOCKER_GZIP if docker else f"{_OCI_LAYER}{layer.compression}",
                "size": layer.size,
                "digest": layer.digest,
            }
            for layer in layers
        ],
    }
    data = json.dumps(document, separators=(",", ":")).encode()
    return RawManifest(sha256_digest(data), media_type, data)


def read_content(manifest: RawManifest, what: str) -> Content:
    """Read the manifest of one platform.

    Args:
        manifest: The manifest.
        what: Which image it is, for messages.

    Raises:
        IntegrityError: It is not a well-formed image manifest.
    """
    if manifest.media_type not in MANIFEST_TYPES:
        raise _malformed(
            what, manifest, f"its media type {manifest.media_type!r} is not that of an image manifest"
        )
    document = _document(manifest, MANIFEST, what)
    if document["config"]["mediaType"] not in CONFIG_TYPES:
        raise _malformed(what, manifest, f"its config is {document['config']['mediaType']!r}, not an image's")
    docker = manifest.media_type == DOCKER_MANIFEST
    for layer in document["layers"]:
        kind = layer["mediaType"]
        # In a Docker manifest, skopeo and Podman accept no OCI layers.
        if kind not in _COMPRESSIONS or (docker and kind.startswith(_OCI_LAYER.removesuffix("+"))):
            raise _malformed(what, manifest, f"one of its layers is {kind!r}")
    return Content(
        _descriptor(document["config"], what, manifest),
        tuple(_descriptor(layer, what, manifest) for layer in document["layers"]),
    )


@dataclass(frozen=True)
class Listed:
    """A manifest that an index lists.

    Attributes:
        digest: Its digest.
        size: Its bytes.
        platform: ``os/architecture`` or ``os/architecture/variant`` as the index states it.
    """

    digest: str
    size: int
    platform: str

    @property
    def runs(self) -> bool:
        """Whether it is an image: BuildKit lists attestations with the platform ``unknown/unknown``."""
        return self.platform != UNKNOWN


def read_index(index: RawManifest, what: str) -> tuple[Listed, ...]:
    """Read an index of images.

    Args:
        index: The index.
        what: Which image it is, for messages.

    Raises:
        IntegrityError: It is malformed, or lists something else for a platform.
    """
    document = _document(index, INDEX, what)
    found = []
    for entry in document["manifests"]:
        platform = _platform(entry.get("platform"))
        attested = {**entry, "artifactType": "", "data": ""} if platform == UNKNOWN else entry
        child = _descriptor(attested, what, index)
        if platform != UNKNOWN and entry["mediaType"] not in MANIFEST_TYPES:
            raise _malformed(what, index, f"it lists {entry['mediaType']!r} for {platform}")
        found.append(Listed(child.digest, child.size, platform))
    return tuple(found)


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


def read_blobs(manifest: RawManifest, what: str) -> tuple[Descriptor, ...]:
    """Return the config and the layers of any manifest, also of one that is no image.

    Raises:
        IntegrityError: It is malformed.
    """
    try:
        document = strict_json(manifest.data, _IT, maps=True)
        if not isinstance(document, dict):
            raise IntegrityError(f"{_IT} is not a JSON object")
        check_shape(document, MANIFEST, _IT)
    except IntegrityError as error:
        raise _malformed(what, manifest, error.message) from error
    return tuple(
        _descriptor({**each, "artifactType": "", "data": ""}, what, manifest)
        for each in [document["config"], *document["layers"]]
    )


def _document(manifest: RawManifest, shape: Fields, what: str) -> dict[str, Any]:
    try:
        document = strict_json(manifest.data, _IT, maps=True)
        if not isinstance(document, dict) or document.get("schemaVersion") != 2:
            raise IntegrityError(f"{_IT} is not a JSON object of schemaVersion 2")
        check_shape(document, shape, _IT)
        for name in ("artifactType", "subject"):
            if document.get(name):
                raise IntegrityError(f"{_IT} has {name!r}: it is not an image")
    except IntegrityError as error:
        raise _malformed(what, manifest, error.message) from error
    if document.get("mediaType") != manifest.media_type:
        raise _malformed(
            what,
            manifest,
            f"it says {document.get('mediaType')!r}, but the registry says {manifest.media_type!r}",
        )
    return document


def _descriptor(value: Any, what: str, manifest: RawManifest) -> Descriptor:
    try:
        check_descriptor(value, "a descriptor in it")
    except IntegrityError as error:
        raise _malformed(what, manifest, error.message) from error
    if not is_digest(value["digest"]):
        raise _malformed(
            what,
            manifest,
            f"a descriptor in it has the digest {value['digest'][:100]!r}, which is not a sha256 digest",
        )
    return Descriptor(value["digest"], value["size"], _COMPRESSIONS.get(value["mediaType"], "none"))


def _platform(value: Any) -> str:
    if not isinstance(value, dict):
        return "an unstated platform"
    parts = [value.get("os"), value.get("architecture"), value.get("variant")]
    return "/".join(str(part) for part in parts if part)


def same_platform(found: str, wanted: str) -> bool:
    """Whether the platforms are the same for Docker and skopeo; the default variant may be left out."""
    return _usual(found) == _usual(wanted)


def _usual(platform: str) -> str:
    return f"{platform}/{_VARIANTS[platform]}" if platform in _VARIANTS else platform


def _malformed(what: str, manifest: RawManifest, why: str) -> IntegrityError:
    return IntegrityError(
        f"{what}: the manifest {manifest.digest} cannot be used: {why}",
        hint="do not release it, and find out who pushed this manifest",
    )


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
