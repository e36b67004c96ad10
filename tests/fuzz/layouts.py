"""Layouts of an image for two platforms with one changed document, and all digests above it made right."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from tests.fixtures.archives import (
    CONFIG_TYPE,
    INDEX_TYPE,
    MANIFEST_TYPE,
    OciLayout,
    config_json,
    join,
    layer_tar,
    member,
    sha256,
    to_json,
)
from tests.fuzz import documents

PLATFORMS = ("linux/amd64", "linux/arm64")
_BASE, _OTHER = layer_tar("base"), layer_tar("other")
_TARGETS = ("index.json", "index", "index", "manifest", "attestation", "config")
_IN_TOTO = "application/vnd.in-toto+json"


class _Changed(OciLayout):
    """A layout that changes one document when it is stored."""

    def __init__(self, draw: Random) -> None:
        super().__init__()
        self._draw = draw
        self.target = draw.choice(_TARGETS)
        self._left = draw.randrange(2) if self.target in {"manifest", "attestation", "config"} else 0

    def changed(self, kind: str, document: bytes, evil: Sequence[Any]) -> bytes:
        """Return the document, changed if it is the one."""
        if kind != self.target:
            return document
        self._left -= 1
        return documents.mutate(self._draw, document, list(evil)) if self._left < 0 else document


def make(number: int) -> tuple[bytes, str]:
    """Return an archive, and what was changed in it; the same for the same number."""
    layout = _Changed(Random(number))  # noqa: S311 - not a secret
    # A change may lead to it, though it is not there.
    other = layout.describe(_OTHER)
    entries: list[dict[str, Any]] = []
    for platform in PLATFORMS:
        os, architecture = platform.split("/")
        config = layout.changed("config", config_json([_BASE], platform), [sha256(_OTHER), "linux", "s390x"])
        document = to_json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": layout.put(config, CONFIG_TYPE),
                "layers": [layout.put(_BASE)],
            }
        )
        data = layout.changed("manifest", document, [other, MANIFEST_TYPE, INDEX_TYPE])
        entries.append(layout.put(data, MANIFEST_TYPE, platform={"os": os, "architecture": architecture}))
    for about in list(entries):
        document = to_json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": layout.put(config_json([], "unknown/unknown"), CONFIG_TYPE),
                "layers": [layout.put(b'{"_type": "statement"}', _IN_TOTO)],
            }
        )
        data = layout.changed("attestation", document, [other, entries[0]])
        named = {
            "vnd.docker.reference.digest": about["digest"],
            "vnd.docker.reference.type": "attestation-manifest",
        }
        nowhere = {"os": "unknown", "architecture": "unknown"}
        entries.append(layout.put(data, MANIFEST_TYPE, platform=nowhere, annotations=named))
    whole = to_json({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries})
    index = layout.put(layout.changed("index", whole, [*entries, other, MANIFEST_TYPE]), INDEX_TYPE)
    layout.name(index, "fuzz/image:1")
    members = layout.members()
    listed = to_json({"schemaVersion": 2, "manifests": layout.index})
    changed = layout.changed("index.json", listed, [*entries, other, MANIFEST_TYPE])
    members["index.json"] = member("index.json", changed)
    return join(members), layout.target
