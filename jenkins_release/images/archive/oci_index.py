"""Images for several platforms in an OCI layout: the index with everything that it lists.

Nothing is left out or made anew: index, manifests, attestations and annotations are carried byte for byte, so
everything that the index lists has to be in the archive. Docker's containerd image store silently leaves out
what was not pulled; such an archive is refused.

Follows the OCI image specification v1.1, image-index.md, and BuildKit's
docs/attestations/attestation-storage.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.images.archive.blobs import Blob
from jenkins_release.images.archive.catalog import Catalog
from jenkins_release.images.archive.config import read_config
from jenkins_release.images.archive.oci_layout import INDEX, layout_entries, platform_image
from jenkins_release.images.archive.references import reference_of
from jenkins_release.oci.manifests import (
    INDEX_TYPES,
    Content,
    Listed,
    read_attestation,
    read_content,
    read_index,
)
from jenkins_release.oci.platforms import Platform, same_platform
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
        platforms = ", ".join(str(entry.normal or entry.platform) for entry in entries)
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


def _single(catalog: Catalog, entry: Listed, references: Sequence[str], label: str) -> ArchivedImage:
    content = catalog.manifest(entry, read_content, INDEX, label)
    platform = entry.normal or read_config(catalog, catalog.stored(content.config, label)).platform
    image = platform_image(catalog, label, entry, platform, content, references)
    return replace(image, manifest=_archived(catalog.stored(entry, INDEX), entry.media_type))


def _index(
    catalog: Catalog, top: Listed, reference: str, label: str, wanted: Sequence[Platform]
) -> ArchivedIndex:
    where = f"index {top.digest}"
    entries = catalog.manifest(top, read_index, INDEX, label)
    _check_entries(entries, label, where)
    contents = _contents(catalog, entries, label, where)
    platforms = {entry: entry.normal for entry in entries if entry.runs and entry.normal is not None}
    _check_platforms(label, [*map(str, platforms.values())], wanted)
    images = []
    for entry, platform in platforms.items():
        named = f"{label} for {platform}"
        image = platform_image(catalog, named, entry, platform, contents[entry.digest], [])
        images.append(replace(image, manifest=_archived(catalog.stored(entry, where), entry.media_type)))
    attestations = tuple(
        _attestation(catalog, entry, contents[entry.digest], where) for entry in entries if not entry.runs
    )
    references = (reference,) if reference else ()
    index = _archived(catalog.stored(top, INDEX), top.media_type)
    return ArchivedIndex(references, index, tuple(images), attestations)


def _check_entries(entries: Sequence[Listed], label: str, where: str) -> None:
    images = {entry.digest for entry in entries if entry.runs}
    seen: set[str] = set()
    for entry in entries:
        if entry.normal is None:
            raise IntegrityError(
                f"{label}: the {where} states no platform for {entry.digest}",
                hint="Docker chooses by platform: build the image with 'docker buildx build --platform'",
            )
        if not same_platform(entry.platform, str(entry.normal)):
            raise IntegrityError(
                f"{label}: the {where} lists {entry.digest} for {entry.platform}, expected {entry.normal}",
                hint="skopeo and Podman do not find another spelling: build the image with 'docker buildx "
                "build --platform'",
            )
        if entry.runs == (entry.annotations.get(_KIND) == _ATTESTATION):
            raise IntegrityError(
                f"{label}: the {where} lists {entry.digest} for {entry.platform} with {_KIND} "
                f"{entry.annotations.get(_KIND)!r}",
                hint=f"what runs nowhere has the platform unknown/unknown and the annotation {_KIND}: "
                f"{_ATTESTATION}, and nothing else has",
            )
        if not entry.runs and entry.annotations.get(_OF) not in images:
            raise IntegrityError(
                f"{label}: the {where} lists {entry.digest} as an attestation for "
                f"{entry.annotations.get(_OF)}, which is no image in it",
                hint="build again: attestations of another image would be released with this one",
            )
        if entry.runs and entry.digest in seen:
            raise IntegrityError(
                f"{label}: the {where} lists {entry.digest} twice, the second time for {entry.platform}",
                hint="build each platform once, with 'docker buildx build --platform'",
            )
        seen.add(entry.digest)


def _contents(catalog: Catalog, entries: Sequence[Listed], label: str, where: str) -> dict[str, Content]:
    """Read each manifest that an index lists, and check that all that they name is there."""
    found: dict[str, Content] = {}
    missing = []
    for entry in entries:
        what = str(entry.normal) if entry.runs else f"the attestation for {entry.annotations.get(_OF)}"
        if not catalog.has_digest(entry.digest):
            missing.append(f"{entry.digest} ({what})")
            continue
        read = read_content if entry.runs else read_attestation
        content = found[entry.digest] = catalog.manifest(entry, read, where, f"{label}: {what}")
        named = dict.fromkeys(part.digest for part in content.parts)
        missing += [f"{digest} ({what})" for digest in named if not catalog.has_digest(digest)]
    if missing:
        shown = ", ".join(missing[:_SHOWN])
        raise IntegrityError(
            f"{label}: the archive lacks what its index lists: {shown}"
            + (f", and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""),
            hint="Docker's containerd image store leaves out platforms that were not pulled or built on that "
            "machine: build with 'docker buildx build --platform ... --output type=oci,dest=FILE'",
            reasons=missing,
        )
    return found


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


def _attestation(catalog: Catalog, entry: Listed, content: Content, where: str) -> ArchivedAttestation:
    of = entry.annotations[_OF]
    named = f"manifest {entry.digest}"
    if content.subject not in {"", of}:
        raise IntegrityError(
            f"{named} is about {content.subject}, but {where} says that it is about {of}",
            hint="build again: attestations of another image would be released with this one",
        )
    found: dict[str, tuple[ArchivedBlob, str]] = {}
    for part in content.parts:
        blob = _archived(catalog.stored(part, named), part.media_type)
        found.setdefault(part.digest, (blob, part.annotations.get(_PREDICATE, "")))
    return ArchivedAttestation(
        of,
        _archived(catalog.stored(entry, where), entry.media_type),
        tuple(part for part, _ in found.values()),
        tuple(predicate for _, predicate in found.values()),
    )


def _archived(blob: Blob, media_type: str) -> ArchivedBlob:
    return ArchivedBlob(blob.digest, blob.offset, blob.size, media_type)
