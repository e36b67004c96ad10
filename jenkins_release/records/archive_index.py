"""What an image archive holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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
    """

    references: tuple[str, ...]
    config_digest: str
    config_offset: int
    config_size: int
    platform: str
    diff_ids: tuple[str, ...]
    layers: tuple[ArchivedLayer, ...]


@dataclass(frozen=True)
class ArchiveIndex:
    """A whole archive; every hash was computed from the bytes that were read.

    Attributes:
        size: Bytes of the archive.
        sha256: Hash of the archive, 64 hexadecimal digits without a prefix (as in SHA256SUMS).
        images: The images in the archive's order, one for each config digest.
        others: Config digests of the same images for other platforms, whose layers were not read. On a
            machine of such a platform, Docker with containerd's image store runs them.
        listed: Digests of what ``index.json`` lists under a name, and of the image's manifest in it: Docker
            with containerd's image store names the image by one of them. Empty without that document.
    """

    size: int
    sha256: str
    images: tuple[ArchivedImage, ...]
    others: tuple[str, ...] = ()
    listed: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)
