"""``manifest.json``: the layout that every version of Docker writes, and the only one up to Docker 24.

Follows the Docker image specification v1.2, "Combined Image JSON + Filesystem Changeset Format".
"""

from __future__ import annotations

import re
from typing import Any

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.strict_json import check_shape
from jenkins_release.images.archive.catalog import Catalog
from jenkins_release.images.archive.config import archived_image, match_layers, read_config
from jenkins_release.images.archive.references import check_reference
from jenkins_release.oci import shapes
from jenkins_release.oci.manifests import LAYER_TYPES
from jenkins_release.oci.shapes import check_descriptor
from jenkins_release.records.archive_index import ArchivedImage

MANIFEST = "manifest.json"
"""Name of the document that lists an archive's images."""

REPOSITORIES = "repositories"
"""Name of the document that Docker before 1.10 read instead."""

_HEX_NAME = re.compile(r"(?:.*/)?(?:sha256:)?([0-9a-f]{64})(?:\.json)?")


def read_docker_layout(catalog: Catalog) -> list[ArchivedImage]:
    """Read the images that ``manifest.json`` lists, and check every config and layer.

    Raises:
        IntegrityError: The list is empty or malformed, or a config or layer is missing or wrong.
    """
    entries = catalog.document(catalog.blob(MANIFEST, "the archive"))
    if not entries:
        raise IntegrityError(
            f"{MANIFEST} is {'null' if entries is None else 'empty'}, expected a list of images",
            hint="Docker 25 wrote such archives (moby #47065, #47210): update Docker and save again",
        )
    if not isinstance(entries, list):
        raise IntegrityError(f"{MANIFEST} is not a list, expected a list of images")
    check_shape(entries, shapes.ARCHIVE_MANIFEST, MANIFEST)
    images = [
        _image(catalog, entry, f"image {number} of {MANIFEST}") for number, entry in enumerate(entries, 1)
    ]
    catalog.name_old_layers()
    _check_repositories(catalog, images)
    return images


def _image(catalog: Catalog, entry: dict[str, Any], where: str) -> ArchivedImage:
    name: str = entry["Config"]
    references = [check_reference(tag, where) for tag in entry.get("RepoTags") or []]
    if references:
        where = f"{where} ({references[0]})"
    for layer, source in (entry.get("LayerSources") or {}).items():
        check_descriptor(source, f"the source of layer {layer[:80]!r} of {where}")
        if source["mediaType"] not in LAYER_TYPES:
            raise IntegrityError(f"{where} has a layer from elsewhere, of the type {source['mediaType']!r}")
    blob = catalog.blob(name, where)
    named = _HEX_NAME.fullmatch(name)
    if named and blob.digest != f"sha256:{named[1]}":
        raise IntegrityError(f"the bytes of config {name} do not match its name: found {blob.digest}")
    config = read_config(catalog, blob)
    paths: list[str] = entry.get("Layers") or []
    layers = [catalog.blob(layer, where, links=True) for layer in paths]
    for path in paths:
        # Docker before 1.10 loaded images by it; later versions write it, but do not read it.
        if (folder := path.removesuffix("/layer.tar")) != path:
            catalog.name(f"{folder}/VERSION")
            catalog.name(f"{folder}/json")
    return archived_image(
        references, config, config.platform, match_layers(config, layers, where, repacked=catalog.repacked)
    )


def _check_repositories(catalog: Catalog, images: list[ArchivedImage]) -> None:
    if REPOSITORIES not in catalog:
        return
    document = catalog.document(catalog.blob(REPOSITORIES, "the archive"))
    check_shape(document, shapes.REPOSITORIES, REPOSITORIES)
    names = {
        check_reference(f"{name}:{tag}", REPOSITORIES) for name, tags in document.items() for tag in tags
    }
    if spare := names - {reference for image in images for reference in image.references}:
        raise IntegrityError(f"{REPOSITORIES} names {min(spare)}, but {MANIFEST} does not")
