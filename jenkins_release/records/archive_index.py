"""What an image archive holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from jenkins_release.base.dataclass import dataclass

Compression = Literal["none", "gzip", "zstd"]
"""How a layer is stored in an archive."""


@dataclass(frozen=True)
class ArchivedLayer:
    """One layer of an image, and where its bytes are in the archive.

    Attributes:
        diff_id: Digest of the uncompressed layer, as the image's config names it.
        digest: Digest of the bytes as they are stored; equal to ``diff_id`` when not compressed.
        offset: Bytes from the beginning of the archive to the layer's first byte.
        size: Bytes stored in the archive.
        compression: How those bytes are compressed.
        begins_as: What some programs take them for instead, because of the name of the layer's first file.
    """

    diff_id: str
    digest: str
    offset: int
    size: int
    compression: Compression
    begins_as: str = ""


@dataclass(frozen=True)
class ArchivedBlob:
    """Consecutive bytes of an archive that have a digest.

    Attributes:
        digest: ``sha256:...`` of the bytes.
        offset: Bytes from the beginning of the archive to the first of them.
        size: Their number.
        media_type: What they are: the media type by which the archive lists them.
    """

    digest: str
    offset: int
    size: int
    media_type: str


@dataclass(frozen=True)
class ArchivedImage:
    """One image of an archive: its identity is the config digest.

    Attributes:
        references: Names that ``docker load`` gives it, such as ``skydrm/rms:8.1.0-42``, in the
            short form that Docker shows; empty for an image that was saved by its ID.
        config_digest: ``sha256:`` and the hash of the config JSON.
        config_offset: Bytes from the beginning of the archive to the config's first byte.
        config_size: Bytes of the config.
        platform: ``os/architecture`` or ``os/architecture/variant``, normalised; empty if none is stated.
        diff_ids: Digests of the uncompressed layers, base first.
        layers: Where those layers are, in the same order; images may share them.
        manifest: Its manifest, if the archive is kept as it is; else None.
    """

    references: tuple[str, ...]
    config_digest: str
    config_offset: int
    config_size: int
    platform: str
    diff_ids: tuple[str, ...]
    layers: tuple[ArchivedLayer, ...]
    manifest: ArchivedBlob | None = None


@dataclass(frozen=True)
class ArchivedAttestation:
    """A manifest of an index that is no image: what BuildKit attests about one of its images.

    Attributes:
        of: Digest of the manifest of that image.
        manifest: The attestation's manifest.
        blobs: What the manifest names: its config, then its layers, each once.
        predicates: Predicate type of each of them; empty for the config, and where none is stated.
    """

    of: str
    manifest: ArchivedBlob
    blobs: tuple[ArchivedBlob, ...]
    predicates: tuple[str, ...]


@dataclass(frozen=True)
class ArchivedIndex:
    """An image for several platforms: its identity is the digest of its index.

    Attributes:
        references: As for :class:`ArchivedImage`.
        index: The index.
        images: The image of each platform, as the index lists them.
        attestations: What else the index lists.
    """

    references: tuple[str, ...]
    index: ArchivedBlob
    images: tuple[ArchivedImage, ...]
    attestations: tuple[ArchivedAttestation, ...]


@dataclass(frozen=True)
class ArchiveIndex:
    """A whole archive; every hash was computed from the bytes that were read.

    Attributes:
        size: Bytes of the archive.
        sha256: Hash of the archive, 64 hexadecimal digits without a prefix (as in SHA256SUMS).
        images: The images in the archive's order, one for each config digest.
        others: Config digests of the same images for other platforms, whose layers were not read. On a
            machine of such a platform, Docker with containerd's image store runs them.
        image_ids: Digests of what ``index.json`` lists under a name, and of the image's manifest in it:
            Docker with containerd's image store names the image by one of them. Empty without that document.
        indexes: The images for several platforms, if the archive is kept as it is.
    """

    size: int
    sha256: str
    images: tuple[ArchivedImage, ...]
    others: tuple[str, ...] = ()
    image_ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)
    indexes: tuple[ArchivedIndex, ...] = ()
