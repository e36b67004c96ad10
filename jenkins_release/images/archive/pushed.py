"""Reads what was pushed to a registry as if it were an archive in OCI layout."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

from jenkins_release.base.references import without_host
from jenkins_release.images.archive.blobs import Blob
from jenkins_release.images.archive.catalog import BLOB_FOLDER, Catalog
from jenkins_release.images.archive.limits import ArchiveLimits
from jenkins_release.images.archive.oci_index import read_whole_layout
from jenkins_release.images.archive.oci_layout import INDEX, LAYOUT, read_oci_layout
from jenkins_release.images.archive.reader import merge_images
from jenkins_release.oci.manifests import OCI_INDEX, RawManifest, sha256_digest
from jenkins_release.oci.platforms import Platform
from jenkins_release.records.archive_index import ArchiveIndex

LAYOUT_DOCUMENT = b'{"imageLayoutVersion":"1.0.0"}'
"""``oci-layout`` (OCI image specification, image-layout.md)."""


def index_document(tops: Mapping[str, RawManifest]) -> bytes:
    """Return ``index.json`` for images, as a daemon with containerd's image store writes it.

    Args:
        tops: Name of each image to its manifest or index.
    """
    entries = [
        {
            "mediaType": top.media_type,
            "digest": top.digest,
            "size": len(top.data),
            "annotations": {
                "io.containerd.image.name": _full_name(name),
                "org.opencontainers.image.ref.name": name.rpartition(":")[2],
            },
        }
        for name, top in tops.items()
    ]
    listed = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return json.dumps(listed, separators=(",", ":")).encode()


def read_pushed(
    tops: Mapping[str, RawManifest], blobs: Iterable[Blob], platforms: Iterable[Platform]
) -> ArchiveIndex:
    """Read the images that were pushed, with the checks that an archive goes through.

    Args:
        tops: Name of each image to its manifest or index.
        blobs: Manifests, configs, layers and attestations; each with its digest, computed from the bytes.
        platforms: The platform of the images; or several, which each of them must have.

    Returns:
        The images; offsets are those of ``blobs``, and there is no whole archive with a size or a hash.

    Raises:
        IntegrityError: A document, config or layer is missing or wrong.
        ConfigurationError: An image is not for these platforms.
    """
    limits = ArchiveLimits()
    wanted = list(platforms)
    # An image for several platforms is kept as it is; plain layers of one for one platform are compressed.
    catalog = Catalog(limits, repacked=len(wanted) == 1)
    for blob in blobs:
        catalog.add(replace(blob, name=BLOB_FOLDER + blob.digest.removeprefix("sha256:")))
    for name, data in ((INDEX, index_document(tops)), (LAYOUT, LAYOUT_DOCUMENT)):
        catalog.add(document_blob(data, name=name))
    if len(wanted) > 1:
        images, indexes = read_whole_layout(catalog, wanted)
        return ArchiveIndex(0, "", merge_images(images), indexes=tuple(indexes))
    found = read_oci_layout(catalog, wanted[0], limits.index_depth)
    ids = {name: each.image_ids for each in found for name in each.image.references}
    return ArchiveIndex(0, "", merge_images(each.image for each in found), image_ids=ids)


def document_blob(data: bytes, *, name: str = "") -> Blob:
    """Return a JSON document as a file of an archive."""
    digest = sha256_digest(data)
    return Blob(name, 0, len(data), digest, digest, "none", "", data)


def _full_name(reference: str) -> str:
    """Return the whole name for one that Docker shows: ``base:1`` is ``docker.io/library/base:1``."""
    if without_host(reference) != reference:
        return reference
    return f"docker.io/{reference}" if "/" in reference else f"docker.io/library/{reference}"
