"""An image's config: its identity, its platform, and its layers.

Follows the OCI image specification, config.md ("Properties") and descriptor.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.images.archive.blobs import Blob, as_layer
from jenkins_release.images.archive.catalog import Catalog
from jenkins_release.oci.manifests import is_digest
from jenkins_release.oci.platforms import Platform, normalise
from jenkins_release.oci.shapes import check_config
from jenkins_release.records.archive_index import ArchivedImage, ArchivedLayer


@dataclass(frozen=True)
class ImageConfig:
    """The parts of a config that identify an image.

    Attributes:
        blob: The config's bytes; their digest is the image's identity.
        platform: Platform that the image runs on; empty if the config states none. Docker loads such an image
            for its own platform.
        diff_ids: Digests of the uncompressed layers, base first.
    """

    blob: Blob
    platform: Platform
    diff_ids: tuple[str, ...]


def read_config(catalog: Catalog, blob: Blob) -> ImageConfig:
    """Read an image's config.

    Raises:
        IntegrityError: It is not a config, or names no layers.
    """
    document, where = catalog.document(blob), f"config {blob.name}"
    diff_ids = check_config(document, where)
    os, architecture = document.get("os") or "", document.get("architecture") or ""
    if not os or not architecture:
        platform = Platform("", "")
    else:
        platform = normalise(os, architecture, document.get("variant") or "")
    if platform.os and platform.os != os:
        raise IntegrityError(f"{where} has the os {os[:60]!r}, expected {platform.os!r}")
    for diff_id in diff_ids:
        if not is_digest(diff_id):
            raise IntegrityError(
                f"a diff_id of {where} is {diff_id[:100]!r}, expected sha256: and 64 hexadecimal digits"
            )
    return ImageConfig(blob, platform, tuple(diff_ids))


def match_layers(
    config: ImageConfig, layers: Sequence[Blob], where: str, *, repacked: bool
) -> tuple[ArchivedLayer, ...]:
    """Check stored layers against the config, one by one.

    Args:
        config: The config.
        layers: The layers as stored, base first.
        where: The document that lists them, for the message.
        repacked: As :func:`~jenkins_release.images.archive.blobs.as_layer`.

    Raises:
        IntegrityError: There are more or fewer, one cannot be read, or one is not in the config.
    """
    if len(layers) != len(config.diff_ids):
        raise IntegrityError(
            f"{where} lists {len(layers)} layers, but its config {config.blob.name} has "
            f"{len(config.diff_ids)} diff_ids"
        )
    layers = [as_layer(*pair, repacked=repacked) for pair in zip(layers, config.diff_ids, strict=True)]
    for number, (layer, diff_id) in enumerate(zip(layers, config.diff_ids, strict=True), 1):
        if layer.problem:
            raise IntegrityError(f"layer {number} of {where}, {layer.name}, cannot be read: {layer.problem}")
        if layer.diff_id != diff_id:
            raise IntegrityError(
                f"layer {number} of {where}, {layer.name}, is not in the config: expected {diff_id}, "
                f"found {layer.diff_id}"
            )
    return tuple(
        ArchivedLayer(
            diff_id=layer.diff_id,
            digest=layer.digest,
            offset=layer.offset,
            size=layer.size,
            compression=layer.compression,
            begins_as=layer.header_like if layer.compression == "none" else "",
        )
        for layer in layers
    )


def archived_image(
    references: Sequence[str], config: ImageConfig, platform: Platform, layers: tuple[ArchivedLayer, ...]
) -> ArchivedImage:
    """Combine what is known about one image."""
    blob = config.blob
    return ArchivedImage(
        references=tuple(references),
        config_digest=blob.digest,
        config_offset=blob.offset,
        config_size=blob.size,
        platform=str(platform),
        diff_ids=config.diff_ids,
        layers=layers,
    )
