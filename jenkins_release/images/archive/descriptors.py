"""Descriptors of an OCI layout, and the documents that hold them, read as Go programs do.

Follows the OCI image specification v1.1: descriptor.md, image-index.md, manifest.md, annotations.md.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.strict_json import check_shape
from jenkins_release.images.archive.documents import digest
from jenkins_release.images.archive.references import check_reference
from jenkins_release.oci.manifests import sha256_digest
from jenkins_release.oci.platforms import Platform, normalise
from jenkins_release.oci.shapes import INDEX as INDEX_SHAPE
from jenkins_release.oci.shapes import MANIFEST, check_descriptor

_FULL_NAME = "io.containerd.image.name"
_SHORT_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class LayoutEntry:
    """A descriptor of an OCI layout.

    Attributes:
        media_type: Media type of what it leads to.
        digest: Digest of that.
        size: Its bytes.
        platform: Platform, in its normal form; None if none is stated.
        annotations: The annotations.
    """

    media_type: str
    digest: str
    size: int
    platform: Platform | None
    annotations: dict[str, Any]


def reference_of(descriptor: LayoutEntry) -> str:
    """Return the name that a descriptor gives an image; empty if it gives none.

    Raises:
        IntegrityError: It gives two.
    """
    where = f"annotations of {descriptor.digest}"
    name: str = descriptor.annotations.get(_FULL_NAME) or ""
    short: str = descriptor.annotations.get(_SHORT_NAME) or ""
    if not name:
        return check_reference(short, where) if ":" in short and "@" not in short else ""
    if "@" in name:
        return ""
    reference = check_reference(name, where)
    if short and short not in {name, reference, reference.rpartition(":")[2]}:
        raise IntegrityError(f"{where} call it {name} and {short}: programs differ in which name they read")
    return reference


def read_index(document: Any, where: str) -> dict[str, Any]:
    """Return an index whose shape is right. Raises IntegrityError."""
    check_shape(document, INDEX_SHAPE, where)
    return _version_2(document, where)


def read_manifest(document: Any, where: str) -> dict[str, Any]:
    """Return a manifest whose shape is right. Raises IntegrityError."""
    check_shape(document, MANIFEST, where)
    return _version_2(document, where)


def _version_2(document: dict[str, Any], where: str) -> dict[str, Any]:
    if document["schemaVersion"] != 2:
        raise IntegrityError(f"{where} has the schemaVersion {document['schemaVersion']}, expected 2")
    return document


def descriptors(document: dict[str, Any], key: str, where: str) -> Iterator[LayoutEntry]:
    """Yield the descriptors in a list of a document whose shape is right. Raises IntegrityError."""
    for number, entry in enumerate(document[key], 1):
        yield read_descriptor(entry, f"entry {number} of {key!r} in {where}")


def attestation_descriptors(document: dict[str, Any], key: str, where: str) -> Iterator[LayoutEntry]:
    """Do the same for a document that may list, or be, an attestation: see :func:`read_attested`."""
    for number, entry in enumerate(document[key], 1):
        yield read_attested(entry, f"entry {number} of {key!r} in {where}")


def read_attested(entry: dict[str, Any], where: str) -> LayoutEntry:
    """Read a descriptor of an attestation, whose shape must have been checked.

    It may state what kind of artifact it leads to, and hold a copy of its content: no program runs either.

    Raises:
        IntegrityError: The copy is another content.
    """
    if (platform := entry.get("platform")) and platform.get("os") != "unknown":
        return read_descriptor(entry, where)
    if copy := entry.get("data"):
        try:
            held = base64.b64decode(copy, validate=True)
        except ValueError as error:
            raise IntegrityError(f"'data' of {where} is not base64") from error
        if sha256_digest(held) != entry["digest"]:
            raise IntegrityError(f"'data' of {where} does not have its digest, {entry['digest']}")
    return read_descriptor({**entry, "data": "", "artifactType": ""}, where)


def read_descriptor(entry: dict[str, Any], where: str) -> LayoutEntry:
    """Read a descriptor, whose shape must have been checked."""
    check_descriptor(entry, where)
    platform = entry.get("platform") or {}
    named = bool(platform.get("os") or platform.get("architecture"))
    return LayoutEntry(
        media_type=entry["mediaType"],
        digest=digest(entry, "digest", where),
        size=entry["size"],
        platform=normalise(
            platform.get("os") or "", platform.get("architecture") or "", platform.get("variant") or ""
        )
        if named
        else None,
        annotations=entry.get("annotations") or {},
    )


def check_size(descriptor: LayoutEntry, found: int, where: str) -> None:
    """Compare the size that a descriptor states with what was found. Raises IntegrityError."""
    if descriptor.size != found:
        raise IntegrityError(
            f"{where} gives {descriptor.digest} a size of {descriptor.size} bytes, found {found}"
        )


def check_own_type(document: Any, descriptor: LayoutEntry, parent: str) -> None:
    """Compare the media type that a document states with the one by which it is listed.

    Raises:
        IntegrityError: They differ: it is an image to one program and an index to another (CVE-2021-41190).
    """
    own = document.get("mediaType") if isinstance(document, dict) else None
    if own not in (None, descriptor.media_type):
        raise IntegrityError(
            f"manifest {descriptor.digest} says that it is {own}, but {parent} says {descriptor.media_type}"
        )
