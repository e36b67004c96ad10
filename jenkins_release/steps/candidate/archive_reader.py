"""Reads a candidate's files: every byte is checked before it is trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.stream import at_most
from jenkins_release.base.strict_json import MAX_JSON_BYTES, strict_json
from jenkins_release.images import ArchiveIndex, ArchiveReader, CompressedArchive
from jenkins_release.oci.manifests import RawManifest, check_manifest_size, read_index
from jenkins_release.oci.platforms import normalise
from jenkins_release.oci.shapes import check_config
from jenkins_release.records.archive_index import ArchivedImage, ArchivedIndex
from jenkins_release.records.candidate import (
    Candidate,
    CandidateImage,
    FileRecord,
    ImageRecord,
    MultiPlatformRecord,
    PlatformRecord,
    StoredBlob,
)
from jenkins_release.records.registry_image import StoredManifest, read_listed
from jenkins_release.rules.gate.clearance import listed_difference
from jenkins_release.steps.candidate.content_store import ALTERED, config_blob, manifest_blob
from jenkins_release.steps.candidate.index_record import index_record, stored_blob
from jenkins_release.steps.candidate.opened import COMPRESSED, OpenCandidate
from jenkins_release.steps.context.services import Services

HELD_BACK = 1024 * 1024
"""Bytes at an archive's end that a consumer gets only after the whole archive was checked.

More than the end-of-archive blocks, without which ``docker load`` does not finish: an archive that
fails the check is never loaded.
"""


def verified_file(
    file: FileRecord,
    opened: OpenCandidate,
    services: Services,
    *,
    advance: Callable[[int], None],
) -> Iterator[bytes]:
    """Stream any file of a candidate from the share; arguments and errors as for :func:`verified_archive`."""
    if any(image.archive == file.path for image in opened.record.images):
        return verified_archive(file, opened, services, advance=advance)
    return _verified_installer(file, opened, services, advance)


def _verified_installer(
    file: FileRecord, opened: OpenCandidate, services: Services, advance: Callable[[int], None]
) -> Iterator[bytes]:
    digest, size = sha256(), 0
    path = f"{services.candidates.folder(opened.ref)}/{file.path}"
    for piece in at_most(services.share.read(path), file.size):
        digest.update(piece)
        size += len(piece)
        advance(len(piece))
        yield piece
    if size > file.size:
        raise _too_long(file, services.candidates.shown(opened.ref, file.path))
    if (size, digest.hexdigest()) != (file.size, file.sha256):
        raise IntegrityError(
            f"{services.candidates.shown(opened.ref, file.path)}: expected {file.size} bytes with SHA-256 "
            f"{file.sha256}, found {size} with {digest.hexdigest()}",
            hint=ALTERED.replace("archive", "file"),
        )


def verified_archive(
    file: FileRecord,
    opened: OpenCandidate,
    services: Services,
    *,
    advance: Callable[[int], None],
) -> Iterator[bytes]:
    """Stream an archive from the share; its last bytes come only if all of it matches the record.

    Args:
        file: The archive's record.
        opened: The candidate.
        services: Where to read.
        advance: Called with the bytes of each piece.

    Yields:
        The archive's bytes.

    Raises:
        IntegrityError: The archive is not what ``candidate.json`` says; its end was not yielded.
    """
    with reader_of(file, opened.record) as reader:
        yield from _verified(reader, file, opened, services, advance)


def reader_of(file: FileRecord, record: Candidate) -> ArchiveReader:
    """Return a reader that reads an archive of a candidate as the export did."""
    images = [image for image in record.images if image.archive == file.path]
    platforms = dict.fromkeys(part.platform for image in images for part in image.parts)
    if any(isinstance(image, MultiPlatformRecord) or image.layout == "oci" for image in images):
        return ArchiveReader(platforms=list(platforms))
    return ArchiveReader(next(iter(platforms), None))


def read_manifest(image: CandidateImage, blob: StoredBlob, opened: OpenCandidate) -> RawManifest:
    """Read a manifest or index from an archive on the share.

    Raises:
        IntegrityError: It is not what ``candidate.json`` says.
        RemoteError: The share failed, after the retries.
    """
    services = opened.services
    check_manifest_size(blob.digest, blob.size, services.candidates.shown(opened.ref, image.archive))
    data = services.retry(f"read {blob.digest}", opened.content.fetch, manifest_blob(image, blob))
    return RawManifest(blob.digest, blob.media_type, data)


def check_manifests(image: CandidateImage, opened: OpenCandidate, services: Services) -> None:
    """Prove that ``candidate.json`` says of an image what its index, manifests and configs say.

    Reads nothing else; and nothing at all of an image that ``docker save`` wrote, which has no manifest.

    Raises:
        IntegrityError: It says something else, or the archive was altered.
        RemoteError: The share failed, after the retries.
    """
    if not image.manifests:
        return
    what = f"image {image.name} of {opened.ref}"
    held = {blob.digest: read_manifest(image, blob, opened) for blob in image.manifests}
    if isinstance(image, MultiPlatformRecord):
        listed = read_index(read_manifest(image, image.index, opened), what)
        found = [read_listed(each, held[each.digest], what) for each in listed if each.digest in held]
        found += [
            StoredManifest(each.digest, each.platform, ()) for each in listed if each.digest not in held
        ]
        if why := listed_difference(found, image):
            raise IntegrityError(f"{what}: {why}", hint=ALTERED)
    for part in image.parts:
        config = services.retry(f"read the config of {what}", read_config, image, part, opened)
        stated = normalise(str(config.get("os")), str(config.get("architecture")))
        if [stated.os, stated.architecture] != part.platform.split("/")[:2]:
            raise IntegrityError(
                f"{what}: candidate.json has it for {part.platform}, its config for {stated}", hint=ALTERED
            )
        if tuple(config["rootfs"].get("diff_ids") or ()) != part.diff_ids:
            raise IntegrityError(
                f"{what}: candidate.json has other diff_ids for {part.platform} than its config", hint=ALTERED
            )


def _verified(
    reader: ArchiveReader,
    file: FileRecord,
    opened: OpenCandidate,
    services: Services,
    advance: Callable[[int], None],
) -> Iterator[bytes]:
    path = services.candidates.shown(opened.ref, file.path)
    held: list[bytes] = []
    waiting = total = 0
    stored = f"{services.candidates.folder(opened.ref)}/{file.path}"
    for chunk in at_most(services.share.read(stored), file.size):
        total += len(chunk)
        if total > file.size:
            raise _too_long(file, path)
        with _named(path):
            reader.feed(chunk)
        advance(len(chunk))
        held.append(chunk)
        waiting += len(chunk)
        while waiting - len(held[0]) >= HELD_BACK:
            waiting -= len(held[0])
            yield held.pop(0)
    with _named(path):
        index = reader.finish()
    check_index(index, file, opened, path)
    yield from held


def read_config(image: CandidateImage, part: PlatformRecord, opened: OpenCandidate) -> dict[str, Any]:
    """Read the config JSON of an image for one platform from the share, but not the rest of its archive.

    Raises:
        IntegrityError: It is not the recorded one.
        RemoteError: The share failed.
    """
    config = config_blob(image, part)
    shown = opened.services.candidates.shown(opened.ref, image.archive)
    where = f"the config of image {image.name} in {shown}"
    if config.size > MAX_JSON_BYTES:
        raise IntegrityError(f"{where} has {config.size} bytes, expected at most {MAX_JSON_BYTES}")
    document: dict[str, Any] = strict_json(opened.content.fetch(config), where, maps=True)
    check_config(document, where)
    return document


def _too_long(file: FileRecord, path: str) -> IntegrityError:
    return IntegrityError(
        f"{path}: expected {file.size} bytes with SHA-256 {file.sha256}, found more bytes", hint=ALTERED
    )


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Put the archive's path before the reader's finding."""
    try:
        yield
    except CompressedArchive as error:
        raise IntegrityError(f"{path}: {error.message}", hint=COMPRESSED) from error
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error.message}", hint=ALTERED) from error


def check_index(index: ArchiveIndex, file: FileRecord, opened: OpenCandidate, path: str) -> None:
    """Compare what an archive holds with ``candidate.json``.

    Raises:
        IntegrityError: They differ; the message names the first difference.
    """
    found = index.sha256.removeprefix("sha256:")
    if index.size != file.size or found != file.sha256:
        raise IntegrityError(
            f"{path}: expected {file.size} bytes with SHA-256 {file.sha256}, found {index.size} with {found}",
            hint=ALTERED,
        )
    singles = {reference: image for image in index.images for reference in image.references}
    indexes = {reference: each for each in index.indexes for reference in each.references}
    for image in opened.record.images:
        if image.archive != file.path:
            continue
        if isinstance(image, MultiPlatformRecord):
            there = indexes.get(image.reference) or _only([*index.indexes, *index.images])
            right = isinstance(there, ArchivedIndex) and image == index_record(
                image.name, image.reference, file.path, there
            )
        else:
            held = singles.get(image.reference) or _only([*index.indexes, *index.images])
            right = (
                isinstance(held, ArchivedImage)
                and _facts(image) == _facts(held)
                and image.manifests == tuple(stored_blob(each) for each in [held.manifest] if each)
            )
        if not right:
            raise IntegrityError(f"{path}: image {image.name} is not what candidate.json says", hint=ALTERED)


def _only(images: Sequence[ArchivedImage | ArchivedIndex]) -> ArchivedImage | ArchivedIndex | None:
    """Return the only image of an archive, if it has no name."""
    return images[0] if len(images) == 1 and not images[0].references else None


def _facts(image: ImageRecord | ArchivedImage) -> tuple[object, ...]:
    layers = [
        (layer.diff_id, layer.digest, layer.offset, layer.size, layer.compression) for layer in image.layers
    ]
    return (image.platform, image.config_digest, image.config_offset, image.config_size, layers)
