"""The documents of an image as Go programs declare them: known fields and their types.

Sources: OCI image specification 1.1 (``manifest.md``, ``image-index.md``, ``config.md``,
``descriptor.md``, ``image-layout.md``), Docker's "Image Manifest Version 2, Schema 2", and Docker image
specification 1.2. Neither Docker nor skopeo reads any other field.
"""

from __future__ import annotations

from typing import Any

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.strict_json import Fields, Items, Keyed, Scalar, Shape, check_shape

_TEXT, _INTEGER, _BOOLEAN = Scalar.TEXT, Scalar.INTEGER, Scalar.BOOLEAN

PLATFORM = Fields(
    {
        "architecture": _TEXT,
        "os": _TEXT,
        "os.version": _TEXT,
        "os.features": Items(_TEXT),
        "variant": _TEXT,
        "features": Items(_TEXT),
    }
)
DESCRIPTOR = Fields(
    {
        "mediaType": _TEXT,
        "digest": _TEXT,
        "size": _INTEGER,
        "urls": Items(_TEXT),
        "annotations": Keyed(_TEXT),
        "data": _TEXT,
        "platform": PLATFORM,
        "artifactType": _TEXT,
    },
    required=frozenset({"mediaType", "digest", "size"}),
)
_VERSIONED: dict[str, Shape] = {
    "schemaVersion": _INTEGER,
    "mediaType": _TEXT,
    "artifactType": _TEXT,
    "subject": DESCRIPTOR,
    "annotations": Keyed(_TEXT),
}
_OLD = {"fsLayers", "history", "signatures"}
"""Fields of manifests of schema 1, by which skopeo tells a manifest of two kinds (CVE-2021-41190)."""
MANIFEST = Fields(
    {**_VERSIONED, "config": DESCRIPTOR, "layers": Items(DESCRIPTOR)},
    required=frozenset({"schemaVersion", "config", "layers"}),
    foreign=frozenset({"manifests", *_OLD}),
)
INDEX = Fields(
    {**_VERSIONED, "manifests": Items(DESCRIPTOR)},
    required=frozenset({"schemaVersion", "manifests"}),
    foreign=frozenset({"config", "layers", *_OLD}),
)
LAYOUT = Fields({"imageLayoutVersion": _TEXT}, required=frozenset({"imageLayoutVersion"}))
ARCHIVE_MANIFEST = Items(
    Fields(
        {
            "Config": _TEXT,
            "RepoTags": Items(_TEXT),
            "Layers": Items(_TEXT),
            "Parent": _TEXT,
            "LayerSources": Keyed(DESCRIPTOR),
        },
        required=frozenset({"Config"}),
    )
)
"""``manifest.json`` of an archive."""
REPOSITORIES = Keyed(Keyed(_TEXT))
"""``repositories`` of an archive: name to tag to the layer, which only Docker before 1.10 reads."""
_CONTAINER = Fields(
    {
        **dict.fromkeys(
            ("Hostname", "Domainname", "User", "Image", "WorkingDir", "MacAddress", "StopSignal"), _TEXT
        ),
        **dict.fromkeys(
            (
                *("AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce"),
                *("ArgsEscaped", "NetworkDisabled"),
            ),
            _BOOLEAN,
        ),
        **dict.fromkeys(("Cmd", "Entrypoint", "Shell"), Scalar.WORDS),
        **dict.fromkeys(("ExposedPorts", "Volumes"), Keyed(Fields({}))),
        **dict.fromkeys(("Env", "OnBuild"), Items(_TEXT)),
        "Labels": Keyed(_TEXT),
        "StopTimeout": _INTEGER,
        "Memory": _INTEGER,
        "MemorySwap": _INTEGER,
        "CpuShares": _INTEGER,
        "Healthcheck": Fields(
            {
                "Test": Items(_TEXT),
                **dict.fromkeys(("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"), _INTEGER),
            }
        ),
    }
)
CONFIG = Fields(
    {
        **dict.fromkeys(
            (
                *("id", "parent", "comment", "container", "docker_version", "author", "architecture"),
                *("variant", "os", "os.version"),
            ),
            _TEXT,
        ),
        "created": Scalar.TIME,
        "os.features": Items(_TEXT),
        "Size": _INTEGER,
        "config": _CONTAINER,
        "container_config": _CONTAINER,
        "rootfs": Fields({"type": _TEXT, "diff_ids": Items(_TEXT)}, required=frozenset({"type"})),
        "history": Items(
            Fields(
                {
                    "created": Scalar.TIME,
                    **dict.fromkeys(("created_by", "author", "comment"), _TEXT),
                    "empty_layer": _BOOLEAN,
                }
            )
        ),
    },
    required=frozenset({"rootfs"}),
)
"""The config of an image."""


def check_descriptor(value: Any, where: str) -> None:
    """Check the content of an image's descriptor, whose shape was checked before.

    Raises:
        IntegrityError: Its content is elsewhere (``urls``) or embedded (``data``), or is not an image
            (``artifactType``): programs differ in which of these they follow.
    """
    for name in ("urls", "data", "artifactType"):
        if value.get(name):
            raise IntegrityError(
                f"{where} has {name!r}: programs differ in what they take for its content",
                hint="images with foreign layers or embedded content cannot be released",
            )
    if value["size"] < 0:
        raise IntegrityError(f"{where} has a size of {value['size']} bytes")


def check_config(document: Any, where: str) -> list[str]:
    """Check the config of an image, and return its ``diff_ids``.

    Raises:
        IntegrityError: A Go program would read it differently or refuse it.
    """
    check_shape(document, CONFIG, where)
    if (kind := document["rootfs"]["type"]) != "layers":
        raise IntegrityError(f"'rootfs' of {where} has the type {kind!r}, expected 'layers'")
    diff_ids: list[str] = document["rootfs"].get("diff_ids") or []
    made = sum(not entry.get("empty_layer") for entry in document.get("history") or [])
    if made > len(diff_ids):
        raise IntegrityError(f"the history of {where} names {made} layers, but it has {len(diff_ids)}")
    return diff_ids
