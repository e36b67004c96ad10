"""``manifest.json``: the layout that every Docker writes, and the only one up to Docker 24.

Follows the Docker image specification v1.2, "Combined Image JSON + Filesystem Changeset Format".
"""

from __future__ import annotations

import re

from jenkins_release.errors import IntegrityError
from jenkins_release.images.archive.catalog import Catalog
from jenkins_release.images.archive.config import archived_image, match_layers, read_config
from jenkins_release.images.archive.documents import field, strings
from jenkins_release.images.archive.index import ArchivedImage

MANIFEST = "manifest.json"
"""Name of the document that lists an archive's images."""

_HEX_NAME = re.compile(r"(?:.*/)?(?:sha256:)?([0-9a-f]{64})(?:\.json)?")


def read_docker_layout(catalog: Catalog) -> list[ArchivedImage]:
    """Read the images that ``manifest.json`` lists, every config and layer checked.

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
    return [
        _image(catalog, entry, f"image {number} of {MANIFEST}") for number, entry in enumerate(entries, 1)
    ]


def _image(catalog: Catalog, entry: object, where: str) -> ArchivedImage:
    name = field(entry, "Config", str, where)
    references = strings(entry, "RepoTags", where)
    if references:
        where = f"{where} ({references[0]})"
    blob = catalog.blob(name, where)
    named = _HEX_NAME.fullmatch(name)
    if named and blob.digest != f"sha256:{named[1]}":
        raise IntegrityError(f"the bytes of config {name} do not match its name: found {blob.digest}")
    config = read_config(catalog, blob)
    layers = [catalog.blob(layer, where) for layer in strings(entry, "Layers", where)]
    return archived_image(references, config, config.platform, match_layers(config, layers, where))
