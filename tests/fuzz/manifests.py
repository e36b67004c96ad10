"""Manifests that are generated and bent, and the registry that serves them."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from random import Random

import zstandard

from tests.fixtures.archives import config_json, layer_tar, to_json
from tests.fixtures.registry_double import RegistryDouble
from tests.fuzz import documents

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_ZSTD_LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"
LAYERS = [layer_tar(name) for name in ("base", "own", "evil")]
GZIP_LAYERS = [gzip.compress(layer, mtime=0) for layer in LAYERS]
ZSTD_LAYERS = [zstandard.compress(layer) for layer in LAYERS]
CONFIG, EVIL_CONFIG = config_json(LAYERS[:2]), config_json(LAYERS[2:])


@dataclass
class Case:
    """A manifest or index.

    Attributes:
        number: Its number; :func:`make` gives the same one again.
        label: What was done to it.
        media_type: What the registry says it is.
        data: Its bytes.
        zstd: Whether its layers are compressed with zstd, which Docker reads from version 23 on.
    """

    number: int
    label: list[str] = field(default_factory=list)
    media_type: str = ""
    data: bytes = b""
    zstd: bool = False


def serve(double: RegistryDouble) -> None:
    """Let a registry hold every blob that a manifest may name."""
    for data in (CONFIG, EVIL_CONFIG, *GZIP_LAYERS, *ZSTD_LAYERS):
        double.blob(data)


def make(number: int, double: RegistryDouble) -> Case:
    """Generate the manifest of that number, and serve it as ``fuzz/image:NUMBER``."""
    draw = Random(number)  # noqa: S311 - the same manifest again, nothing secret
    case = Case(number)
    oci, index = draw.random() < 0.5, draw.random() < 0.25
    stored = GZIP_LAYERS
    kinds = (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER) if oci else (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER)
    # Apart: what the others draw stays what it was.
    case.zstd = oci and Random(f"zstd {number}").random() < 0.2  # noqa: S311
    if case.zstd:
        stored, kinds = ZSTD_LAYERS, (OCI_MANIFEST, OCI_CONFIG, OCI_ZSTD_LAYER)

    def descriptor(data: bytes, kind: str) -> dict[str, object]:
        return {"mediaType": kind, "size": len(data), "digest": double.blob(data)}

    evil_config, evil_layer = descriptor(EVIL_CONFIG, kinds[1]), descriptor(stored[2], kinds[2])
    document = {
        "schemaVersion": 2,
        "mediaType": kinds[0],
        "config": descriptor(CONFIG, kinds[1]),
        "layers": [descriptor(data, kinds[2]) for data in stored[:2]],
    }
    evil = [documents.parse(to_json(value)) for value in (evil_config, evil_layer, [evil_layer])]
    evil += [evil_config["digest"], evil_layer["digest"], len(EVIL_CONFIG), OCI_MANIFEST, DOCKER_MANIFEST]
    evil += [OCI_LAYER, DOCKER_LAYER, OCI_CONFIG, "application/octet-stream"]
    data, case.media_type = to_json(document), kinds[0]
    case.label.append(("oci" if oci else "docker") + (" index" if index else ""))
    if index:
        amd64 = {"os": "linux", "architecture": "amd64"}
        other = to_json({**document, "config": evil_config, "layers": [evil_layer]})
        entries = [
            {
                "mediaType": kinds[0],
                "digest": double.put(each, kinds[0]),
                "size": len(each),
                "platform": place,
            }
            for each, place in (
                (data, amd64),
                (other, {"os": "unknown", "architecture": "unknown"}),
            )
        ]
        case.media_type = OCI_INDEX if oci else DOCKER_LIST
        document = {
            "schemaVersion": 2,
            "mediaType": case.media_type,
            "manifests": entries[: draw.choice((1, 2))],
        }
        evil = [documents.parse(to_json(value)) for value in (entries[1], [entries[1]], amd64)]
        evil += [
            entries[1]["digest"],
            entries[1]["size"],
            "unknown",
            "arm64",
            "windows",
            OCI_INDEX,
            DOCKER_LIST,
        ]
        data = to_json(document)
    if draw.random() < 0.95:
        case.label.append("document")
        data = documents.mutate(draw, data, evil)
    if draw.random() < 0.05:
        case.label.append("media type")
        case.media_type = draw.choice(
            (OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST, "application/json", "text/plain", "")
        )
    case.data = data
    double.put(data, case.media_type, str(number))
    return case


def shown(case: Case) -> str:
    """Return a case for a message."""
    return f"{case.number} {case.label} {case.media_type} {json.dumps(case.data.decode(errors='replace'))}"
