"""The parts of an archive that every ``docker load`` takes: blobs by digest, and ``manifest.json``."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable

from jenkins_release.images.archive.catalog import BLOB_FOLDER
from jenkins_release.images.archive.docker_layout import MANIFEST

BLOCK = tarfile.BLOCKSIZE
"""Size of a tar's blocks in bytes: each file is padded to a multiple of it."""
END = bytes(2 * BLOCK)
"""What a tar ends with."""


def blob_path(digest: str) -> str:
    """Return where a blob is in the archive."""
    return BLOB_FOLDER + digest.removeprefix("sha256:")


def file_header(name: str, size: int) -> bytes:
    """Return the header of a file of ``size`` bytes."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member.tobuf(tarfile.GNU_FORMAT)


def image_entry(config: str, references: Iterable[str], layers: Iterable[str]) -> dict[str, object]:
    """Return the entry of an image in ``manifest.json``.

    Args:
        config: Digest of its config.
        references: Its names.
        layers: Digests of its layers as they are in the archive, base first.
    """
    return {
        "Config": blob_path(config),
        "RepoTags": list(references),
        "Layers": [blob_path(layer) for layer in layers],
    }


def image_list(entries: Iterable[dict[str, object]]) -> bytes:
    """Return ``manifest.json`` as a file of the archive, without its padding."""
    document = json.dumps(list(entries), separators=(",", ":")).encode()
    return file_header(MANIFEST, len(document)) + document
