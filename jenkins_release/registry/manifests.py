"""Manifests as a registry stores them: bytes that are checked before they are believed.

Formats: OCI image specification 1.1 (``manifest.md``, ``image-index.md``) and Docker's "Image
Manifest Version 2, Schema 2".
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jenkins_release.errors import IntegrityError

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

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
_DOCKER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+"


@dataclass(frozen=True)
class Descriptor:
    """A blob as a manifest names it: its digest, its bytes, and how they are compressed."""

    digest: str
    size: int
    compression: str = "gzip"


@dataclass(frozen=True)
class RawManifest:
    """A manifest's bytes, of which the digest was checked.

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
        """Whether it lists manifests instead of being one."""
        return self.media_type in INDEX_TYPES


@dataclass(frozen=True)
class Content:
    """What the manifest of one platform names.

    Attributes:
        config_digest: Digest of the config JSON.
        layers: Digests of the stored layers, base first.
        size: Bytes of config and layers as stored.
    """

    config_digest: str
    layers: tuple[str, ...]
    size: int


def sha256_digest(data: bytes) -> str:
    """Return ``sha256:...`` of the bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def is_digest(reference: str) -> bool:
    """Whether a reference is a ``sha256:`` digest rather than a tag."""
    return _DIGEST.fullmatch(reference) is not None


def build_manifest(config: Descriptor, layers: Sequence[Descriptor]) -> RawManifest:
    """Return the manifest of an image: the same bytes for the same content, on every machine.

    Docker's own type where every layer is gzip, as the Docker engine pushes it; Docker's
    specification has no zstd ("Image Manifest Version 2, Schema 2"), so OCI's type otherwise.
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
    document = _document(manifest, what)
    if manifest.media_type not in MANIFEST_TYPES:
        raise _malformed(
            what, manifest, f"its media type {manifest.media_type!r} is none of an image manifest"
        )
    if "manifests" in document:
        raise _malformed(what, manifest, "it is a manifest and an index at once (CVE-2021-41190)")
    layers = document.get("layers")
    if not isinstance(layers, list):
        raise _malformed(what, manifest, "it has no list of layers")
    config = _descriptor(document.get("config"), what, manifest)
    stored = [_descriptor(layer, what, manifest) for layer in layers]
    return Content(
        config[0], tuple(digest for digest, _ in stored), config[1] + sum(size for _, size in stored)
    )


def platform_digest(index: RawManifest, platform: str, what: str) -> tuple[str, int]:
    """Return digest and size of the only platform's manifest in an index.

    Attestation manifests, which BuildKit lists with the platform ``unknown/unknown``, run nowhere
    and are passed over.

    Args:
        index: The index.
        platform: The platform that it has to be for: ``os/architecture`` or ``os/architecture/variant``.
        what: Which image it is, for messages.

    Raises:
        IntegrityError: It is malformed, or it holds another platform or more than one.
    """
    document = _document(index, what)
    if "layers" in document or "config" in document:
        raise _malformed(what, index, "it is an index and a manifest at once (CVE-2021-41190)")
    entries = document.get("manifests")
    if not isinstance(entries, list):
        raise _malformed(what, index, "it has no list of manifests")
    real: list[tuple[str, str, int]] = []
    for entry in entries:
        digest, size = _descriptor(entry, what, index)
        name = _platform(entry.get("platform"))
        if name != "unknown/unknown":
            real.append((name, digest, size))
    names = sorted(name for name, _, _ in real)
    if len(real) != 1 or not _matches(names[0], platform):
        found = ", ".join(names) or "no platform at all"
        raise IntegrityError(
            f"{what}: the index {index.digest} must hold exactly {platform}, it holds {found}",
            hint="push a build of that one platform",
        )
    return real[0][1], real[0][2]


def _document(manifest: RawManifest, what: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # Parsers disagree on which of two equal keys counts: no reader must see another image than we do.
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands in it twice")
        return found

    try:
        document = json.loads(manifest.data, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _malformed(what, manifest, f"it is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise _malformed(what, manifest, "it is not a JSON object of schemaVersion 2")
    stated = document.get("mediaType", manifest.media_type)
    if stated != manifest.media_type:
        raise _malformed(
            what, manifest, f"it says it is {stated!r}, the registry says {manifest.media_type!r}"
        )
    return document


def _descriptor(value: Any, what: str, manifest: RawManifest) -> tuple[str, int]:
    if isinstance(value, dict):
        digest, size = value.get("digest"), value.get("size")
        sized = isinstance(size, int) and not isinstance(size, bool) and size >= 0
        if isinstance(digest, str) and is_digest(digest) and sized:
            return digest, int(str(size))
    raise _malformed(what, manifest, "a descriptor in it lacks a sha256 digest or a size")


def _platform(value: Any) -> str:
    if not isinstance(value, dict):
        return "an unstated platform"
    parts = [value.get("os"), value.get("architecture"), value.get("variant")]
    return "/".join(str(part) for part in parts if part)


def _matches(found: str, wanted: str) -> bool:
    """Whether the platforms are the same; a variant counts only where one is wanted."""
    return found == wanted or (wanted.count("/") == 1 and found.startswith(f"{wanted}/"))


def _malformed(what: str, manifest: RawManifest, why: str) -> IntegrityError:
    return IntegrityError(
        f"{what}: the manifest {manifest.digest} cannot be used: {why}",
        hint="do not release it: find out who pushed this manifest",
    )


def is_index(media_type: str | None) -> bool:
    """Whether a media type is that of an index, also called a manifest list."""
    return media_type in INDEX_TYPES


def index_children(manifest: RawManifest, what: str) -> frozenset[str]:
    """Return the digests that an index lists. Raises IntegrityError where it cannot be read."""
    try:
        return frozenset(str(entry["digest"]) for entry in json.loads(manifest.data)["manifests"])
    except (ValueError, KeyError, TypeError) as error:
        raise _malformed(what, manifest, "it lists no manifests") from error
