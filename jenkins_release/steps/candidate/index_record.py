"""The record of an image for several platforms, from what an archive holds."""

from __future__ import annotations

from collections.abc import Mapping

from jenkins_release.records.archive_index import ArchivedBlob, ArchivedImage, ArchivedIndex
from jenkins_release.records.candidate import (
    BlobRecord,
    BuildAttestation,
    LayerRecord,
    ListedPlatform,
    MultiPlatformRecord,
    StoredBlob,
)


def index_record(name: str, reference: str, archive: str, found: ArchivedIndex) -> MultiPlatformRecord:
    """Return the record of an image.

    Args:
        name: Its short name.
        reference: Its name and tag.
        archive: Path of the archive.
        found: What the archive holds.
    """
    return MultiPlatformRecord(
        name=name,
        reference=reference,
        archive=archive,
        index=stored_blob(found.index),
        platforms=tuple(_platform(image) for image in found.images),
        attestations=tuple(
            BuildAttestation(
                of=each.of,
                manifest=stored_blob(each.manifest),
                blobs=tuple(stored_blob(blob) for blob in each.blobs),
                predicates=each.predicates,
            )
            for each in found.attestations
        ),
    )


def layer_records(image: ArchivedImage, gzip: Mapping[int, BlobRecord]) -> tuple[LayerRecord, ...]:
    """Return the records of the layers of an image.

    Args:
        image: What the archive holds of it.
        gzip: Offsets of plain layers, and what each was compressed to.
    """
    return tuple(
        LayerRecord(
            diff_id=layer.diff_id,
            digest=layer.digest,
            offset=layer.offset,
            size=layer.size,
            compression=layer.compression,
            gzip=gzip.get(layer.offset) if layer.compression == "none" else None,
        )
        for layer in image.layers
    )


def _platform(image: ArchivedImage) -> ListedPlatform:
    assert image.manifest is not None  # the archive was read to be kept as it is
    return ListedPlatform(
        platform=image.platform,
        config_digest=image.config_digest,
        config_offset=image.config_offset,
        config_size=image.config_size,
        layers=layer_records(image, {}),
        manifest=stored_blob(image.manifest),
    )


def stored_blob(blob: ArchivedBlob) -> StoredBlob:
    """Return the record of consecutive bytes of an archive."""
    return StoredBlob(digest=blob.digest, offset=blob.offset, size=blob.size, media_type=blob.media_type)
