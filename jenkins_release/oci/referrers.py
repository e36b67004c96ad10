"""Artifacts that refer to an image: their manifests, and the lists of them that a registry keeps.

Formats: OCI image specification 1.1 (``manifest.md``, "Guidelines for Artifact Usage") and OCI Distribution
Specification 1.1 ("Listing Referrers", "Referrers Tag Schema").
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.strict_json import check_shape, strict_json
from jenkins_release.oci.manifests import (
    OCI_INDEX,
    OCI_MANIFEST,
    RawManifest,
    is_digest,
    sha256_digest,
)
from jenkins_release.oci.shapes import INDEX, MANIFEST

EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
"""The config of an artifact that has none."""
CLIENT_TAGS = "sha256-*"
"""The tags that clients keep for an image: the list of its referrers, and cosign's legacy attestations."""
MOST_REFERRERS = 1000
"""Most referrers, and most legacy attestations, of one image that are read; more are refused."""


@dataclass(frozen=True)
class Subject:
    """The manifest or index that an artifact refers to.

    Attributes:
        digest: Its digest.
        media_type: Its media type; needed only to store an artifact.
        size: Its bytes; needed only to store an artifact.
    """

    digest: str
    media_type: str = ""
    size: int = 0

    @classmethod
    def of(cls, manifest: RawManifest) -> Subject:
        """Return how an artifact names a manifest."""
        return cls(manifest.digest, manifest.media_type, len(manifest.data))

    @property
    def tag(self) -> str:
        """The tag of its list of referrers, in a registry without the API ("Referrers Tag Schema")."""
        return self.digest.replace(":", "-")


@dataclass(frozen=True)
class Blob:
    """The content of an artifact: its media type and bytes."""

    media_type: str
    data: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        """Digest of the bytes."""
        return sha256_digest(self.data)

    def descriptor(self, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return how a manifest names it."""
        named: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": len(self.data),
        }
        return named | ({"annotations": dict(annotations)} if annotations else {})


EMPTY_CONFIG = Blob(EMPTY_TYPE, EMPTY)


@dataclass(frozen=True)
class Referrer:
    """An artifact, as a list of referrers names it. Nothing in it is proven.

    Attributes:
        digest: Digest of its manifest.
        size: Bytes of its manifest.
        media_type: Media type of its manifest.
        artifact_type: Its type; empty if the list does not tell it.
        annotations: The annotations of its manifest.
    """

    digest: str
    size: int
    media_type: str = OCI_MANIFEST
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    def entry(self) -> dict[str, Any]:
        """Return its entry in a list of referrers."""
        return {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
            "artifactType": self.artifact_type,
            "annotations": dict(self.annotations),
        }


@dataclass(frozen=True)
class ArtifactContent:
    """The only content of an artifact, as its manifest names it.

    Attributes:
        subject: Digest of the manifest that the artifact refers to.
        artifact_type: Its type.
        media_type: Media type of the content.
        digest: Digest of the content.
        size: Bytes of the content.
    """

    subject: str
    artifact_type: str
    media_type: str
    digest: str
    size: int


def artifact_manifest(subject: Subject, content: Blob, annotations: Mapping[str, str]) -> RawManifest:
    """Return the manifest of an artifact of one blob, whose type is that of the blob."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": content.media_type,
        "config": EMPTY_CONFIG.descriptor(),
        "layers": [content.descriptor()],
        "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size},
        "annotations": dict(annotations),
    }
    data = json.dumps(document, separators=(",", ":")).encode()
    return RawManifest(sha256_digest(data), OCI_MANIFEST, data)


def referrer_of(manifest: RawManifest) -> Referrer:
    """Return the entry for an artifact that :func:`artifact_manifest` made."""
    document = json.loads(manifest.data)
    kind, annotations = document["artifactType"], document["annotations"]
    return Referrer(manifest.digest, len(manifest.data), manifest.media_type, kind, annotations)


def subject_named(manifest: RawManifest) -> str:
    """Return the digest that any manifest says it refers to; empty if it names none, or cannot be read."""
    try:
        document = strict_json(manifest.data, "the manifest", maps=True)
    except IntegrityError:
        return ""
    subject = document.get("subject") if isinstance(document, dict) else None
    return str(subject.get("digest", "")) if isinstance(subject, dict) else ""


def read_artifact(manifest: RawManifest, what: str) -> ArtifactContent:
    """Read the manifest of an artifact that has one content and refers to a manifest.

    Raises:
        IntegrityError: It is anything else.
    """
    document = _document(manifest.data, f"the manifest {what}")
    check_shape(document, MANIFEST, f"the manifest {what}")
    layers, subject = document["layers"], document.get("subject")
    if manifest.media_type != OCI_MANIFEST or subject is None or len(layers) != 1:
        raise IntegrityError(
            f"the manifest {what} is not that of an artifact with one content that refers to an image"
        )
    (layer,) = layers
    for named in (subject, layer):
        if not is_digest(named["digest"]) or named["size"] < 0:
            raise IntegrityError(f"the manifest {what} has a descriptor without a sha256 digest and a size")
    kind = document.get("artifactType") or document["config"]["mediaType"]
    return ArtifactContent(subject["digest"], kind, layer["mediaType"], layer["digest"], layer["size"])


def read_referrers(data: bytes, what: str) -> tuple[Referrer, ...]:
    """Read a list of referrers: an answer of the API, or the index under the tag of a subject.

    Raises:
        IntegrityError: It is none, or has more than :data:`MOST_REFERRERS`.
    """
    document = _document(data, what)
    check_shape(document, INDEX, what)
    entries = document["manifests"]
    if len(entries) > MOST_REFERRERS:
        raise IntegrityError(f"{what} has {len(entries)} entries, expected at most {MOST_REFERRERS}")
    found = []
    for entry in entries:
        if not is_digest(entry["digest"]) or entry["size"] < 0:
            raise IntegrityError(f"{what} has an entry without a sha256 digest and a size")
        kind, annotations = entry.get("artifactType") or "", entry.get("annotations") or {}
        found.append(Referrer(entry["digest"], entry["size"], entry["mediaType"], kind, annotations))
    return tuple(found)


def index_of(referrers: Iterable[Referrer]) -> RawManifest:
    """Return the index for the tag of a subject. Each entry keeps its type and its annotations."""
    entries = [each.entry() for each in referrers]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    data = json.dumps(document, separators=(",", ":")).encode()
    return RawManifest(sha256_digest(data), OCI_INDEX, data)


def legacy_manifest(config: Blob, layers: Sequence[Mapping[str, Any]]) -> RawManifest:
    """Return the manifest of cosign's legacy attestations: an ordinary image whose layers are statements."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.descriptor(),
        "layers": [dict(layer) for layer in layers],
    }
    data = json.dumps(document, separators=(",", ":")).encode()
    return RawManifest(sha256_digest(data), OCI_MANIFEST, data)


def legacy_config(layers: Sequence[str]) -> bytes:
    """Return the config of cosign's legacy attestations, which names the digests of the layers."""
    document = {
        "architecture": "",
        "os": "",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": list(layers)},
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _document(data: bytes, what: str) -> dict[str, Any]:
    document = strict_json(data, what, maps=True)
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise IntegrityError(f"{what} is not a JSON object of schemaVersion 2")
    return document
