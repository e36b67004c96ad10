"""Images for several platforms in an OCI layout: the index with everything that it lists.

Nothing is left out or made anew: index, manifests, attestations and annotations are carried byte for byte, so
everything that the index lists has to be in the archive. Docker's containerd image store silently leaves out
what was not pulled; such an archive is refused.

Follows the OCI image specification v1.1, image-index.md, and BuildKit's
docs/attestations/attestation-storage.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.images.archive.blobs import Blob
from jenkins_release.images.archive.catalog import Catalog
from jenkins_release.images.archive.config import read_config
from jenkins_release.images.archive.descriptors import (
    LayoutEntry,
    attestation_descriptors,
    check_own_type,
    check_size,
    read_attested,
    read_descriptor,
    read_index,
    read_manifest,
    reference_of,
)
from jenkins_release.images.archive.oci_layout import INDEX, layout_entries, platform_image
from jenkins_release.oci.manifests import CONFIG_TYPES, INDEX_TYPES, MANIFEST_TYPES
from jenkins_release.oci.platforms import Platform
from jenkins_release.records.archive_index import (
    ArchivedAttestation,
    ArchivedBlob,
    ArchivedImage,
    ArchivedIndex,
)

_KIND = "vnd.docker.reference.type"
_ATTESTATION = "attestation-manifest"
_OF = "vnd.docker.reference.digest"
_PREDICATE = "in-toto.io/predicate-type"
_SHOWN = 5
"""How many missing blobs a message names."""


def read_whole_layout(
    catalog: Catalog, wanted: Sequence[Platform]
) -> tuple[list[ArchivedImage], list[ArchivedIndex]]:
    """Read every image of a layout with all that belongs to it.

    Args:
        catalog: The archive's members.
        wanted: The platforms that each image must have, and no others.

    Returns:
        The images that ``index.json`` lists as the manifest of one platform, and those that it lists as an
        index.

    Raises:
        IntegrityError: Something is missing, wrong, or there twice.
        ConfigurationError: An image is for other platforms.
    """
    images: list[ArchivedImage] = []
    indexes: list[ArchivedIndex] = []
    entries = layout_entries(catalog)
    names = [reference_of(entry) for entry in entries]
    if len(set(names)) < len(names):
        platforms = ", ".join(str(entry.platform or "an unstated platform") for entry in entries)
        raise IntegrityError(
            f"{INDEX} lists several images for one name, for {platforms}",
            hint="build the image for all its platforms at once: 'docker buildx build --platform' puts an "
            "index around them",
        )
    for entry in entries:
        reference = reference_of(entry)
        label = reference or entry.digest
        if entry.media_type in INDEX_TYPES:
            indexes.append(_index(catalog, entry, reference, label, wanted))
        else:
            image = _single(catalog, entry, [reference] if reference else [], label)
            _check_platforms(label, [image.platform], wanted)
            images.append(image)
    return images, indexes


def _single(catalog: Catalog, entry: LayoutEntry, references: Sequence[str], label: str) -> ArchivedImage:
    manifest, config = _manifest(catalog, entry, INDEX)
    platform = entry.platform or read_config(catalog, catalog.blob_of(config.digest, label)).platform
    image = platform_image(catalog, label, entry, platform, config, references)
    return replace(image, manifest=_archived(manifest, entry.media_type))


def _index(
    catalog: Catalog, top: LayoutEntry, reference: str, label: str, wanted: Sequence[Platform]
) -> ArchivedIndex:
    blob = catalog.blob_of(top.digest, INDEX)
    check_size(top, blob.size, INDEX)
    where = f"index {top.digest}"
    document = catalog.document(blob)
    check_own_type(document, top, INDEX)
    entries = list(attestation_descriptors(read_index(document, where), "manifests", where))
    for entry in entries:
        _check_entry(entry, label, where)
    _check_all_there(catalog, entries, label)
    listed = [entry for entry in entries if not _is_attestation(entry)]
    _check_platforms(label, [str(entry.platform) for entry in listed], wanted)
    images = tuple(_child(catalog, entry, label, where) for entry in listed)
    digests = {entry.digest for entry in listed}
    attestations = tuple(
        _attestation(catalog, entry, where, digests) for entry in entries if _is_attestation(entry)
    )
    references = (reference,) if reference else ()
    return ArchivedIndex(references, _archived(blob, top.media_type), images, attestations)


def _check_entry(entry: LayoutEntry, label: str, where: str) -> None:
    if entry.media_type in INDEX_TYPES:
        raise IntegrityError(
            f"{label}: the {where} lists another index, {entry.digest}",
            hint="registries and programs differ in what they do with indexes in indexes: build the image "
            "for all its platforms at once, as 'docker buildx build --platform' does",
        )
    if entry.media_type not in MANIFEST_TYPES:
        raise IntegrityError(
            f"{label}: the {where} lists {entry.digest} of the type {entry.media_type!r}, not an image",
            hint="programs treat it differently: do not load it, and find out who made the archive",
        )
    if entry.platform is None:
        raise IntegrityError(
            f"{label}: the {where} states no platform for {entry.digest}",
            hint="Docker chooses by platform: build the image with 'docker buildx build --platform'",
        )
    if entry.platform.is_unknown != (entry.annotations.get(_KIND) == _ATTESTATION):
        raise IntegrityError(
            f"{label}: the {where} lists {entry.digest} for {entry.platform} with {_KIND} "
            f"{entry.annotations.get(_KIND)!r}",
            hint=f"what runs nowhere has the platform unknown/unknown and the annotation {_KIND}: "
            f"{_ATTESTATION}, and nothing else has",
        )


def _check_all_there(catalog: Catalog, entries: Sequence[LayoutEntry], label: str) -> None:
    missing = []
    for entry in entries:
        what = (
            f"the attestation for {entry.annotations.get(_OF)}" if _is_attestation(entry) else entry.platform
        )
        if not catalog.has_digest(entry.digest):
            missing.append(f"{entry.digest} ({what})")
            continue
        where = f"manifest {entry.digest}"
        document = read_manifest(catalog.document(catalog.blob_of(entry.digest, where)), where)
        named = [document["config"]["digest"], *(layer["digest"] for layer in document["layers"])]
        absent = [digest for digest in dict.fromkeys(named) if not catalog.has_digest(str(digest))]
        missing += [f"{digest} ({what})" for digest in absent]
    if missing:
        shown = ", ".join(missing[:_SHOWN])
        raise IntegrityError(
            f"{label}: the archive lacks what its index lists: {shown}"
            + (f", and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""),
            hint="Docker's containerd image store leaves out platforms that were not pulled or built on that "
            "machine: build with 'docker buildx build --platform ... --output type=oci,dest=FILE'",
            reasons=missing,
        )


def _check_platforms(label: str, found: Sequence[str], wanted: Sequence[Platform]) -> None:
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise IntegrityError(
            f"{label} has several manifests for {', '.join(twice)}",
            hint="programs differ in which one they take: build each platform once",
        )
    missing = [str(each) for each in wanted if str(each) not in found]
    spare = sorted(set(found) - {str(each) for each in wanted})
    if missing or spare:
        raise ConfigurationError(
            f"{label} is in the archive for {', '.join(sorted(found)) or 'no platform'}, expected "
            f"{', '.join(map(str, wanted))}",
            hint="build the image for exactly the platforms that release.toml names, or name there what it "
            "has: an index is carried unchanged",
        )


def _child(catalog: Catalog, entry: LayoutEntry, label: str, where: str) -> ArchivedImage:
    manifest, config = _manifest(catalog, entry, where)
    assert entry.platform is not None  # _check_entry
    image = platform_image(catalog, f"{label} for {entry.platform}", entry, entry.platform, config, [])
    return replace(image, manifest=_archived(manifest, entry.media_type))


def _manifest(catalog: Catalog, entry: LayoutEntry, parent: str) -> tuple[Blob, LayoutEntry]:
    where = f"manifest {entry.digest}"
    if entry.media_type not in MANIFEST_TYPES:
        raise IntegrityError(f"{parent} lists {entry.digest} of the type {entry.media_type!r}, not an image")
    blob = catalog.blob_of(entry.digest, parent)
    check_size(entry, blob.size, parent)
    document: dict[str, Any] = catalog.document(blob)
    check_own_type(document, entry, parent)
    config = read_descriptor(read_manifest(document, where)["config"], f"config of {where}")
    for name in ("artifactType", "subject"):
        if document.get(name):
            raise IntegrityError(f"{where} has {name!r}: it is not an image")
    if config.media_type not in CONFIG_TYPES:
        raise IntegrityError(
            f"{where} has a config of the type {config.media_type!r}, which is not an image's"
        )
    return blob, config


def _attestation(catalog: Catalog, entry: LayoutEntry, where: str, images: set[str]) -> ArchivedAttestation:
    of = entry.annotations.get(_OF)
    if of not in images:
        raise IntegrityError(
            f"{where} lists {entry.digest} as an attestation for {of}, which is no image in it",
            hint="build again: attestations of another image would be released with this one",
        )
    blob = catalog.blob_of(entry.digest, where)
    check_size(entry, blob.size, where)
    document = catalog.document(blob)
    check_own_type(document, entry, where)
    named = f"manifest {entry.digest}"
    read_manifest(document, named)
    subject = document.get("subject")
    if subject and subject.get("digest") != of:
        raise IntegrityError(
            f"{named} is about {subject.get('digest')}, but {where} says that it is about {of}",
            hint="build again: attestations of another image would be released with this one",
        )
    found: dict[str, tuple[ArchivedBlob, str]] = {}
    for part, predicate in _parts(document, named):
        held = catalog.blob_of(part.digest, named)
        check_size(part, held.size, named)
        found.setdefault(part.digest, (_archived(held, part.media_type), predicate))
    return ArchivedAttestation(
        str(of),
        _archived(blob, entry.media_type),
        tuple(part for part, _ in found.values()),
        tuple(predicate for _, predicate in found.values()),
    )


def _parts(document: dict[str, Any], where: str) -> Iterator[tuple[LayoutEntry, str]]:
    yield read_attested(document["config"], f"config of {where}"), ""
    for layer in attestation_descriptors(document, "layers", where):
        yield layer, str(layer.annotations.get(_PREDICATE) or "")


def _is_attestation(entry: LayoutEntry) -> bool:
    return entry.platform is not None and entry.platform.is_unknown


def _archived(blob: Blob, media_type: str) -> ArchivedBlob:
    return ArchivedBlob(blob.digest, blob.offset, blob.size, media_type)
