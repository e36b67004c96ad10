"""Docker images: the daemon, and the archives that ``docker save`` writes.

The daemon's client is imported on first use: what only reads archives does not pay for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jenkins_release.images.archive import (
    ArchivedImage,
    ArchivedLayer,
    ArchiveIndex,
    ArchiveLimits,
    ArchiveReader,
    CompressedArchive,
    compressed_with,
)
from jenkins_release.images.protocol import ImageEngine, ImageNotFound, LocalImage

if TYPE_CHECKING:
    from jenkins_release.images.docker_engine import DockerEngine

__all__ = [
    "ArchiveIndex",
    "ArchiveLimits",
    "ArchiveReader",
    "ArchivedImage",
    "ArchivedLayer",
    "CompressedArchive",
    "DockerEngine",
    "ImageEngine",
    "ImageNotFound",
    "LocalImage",
    "compressed_with",
]


def __getattr__(name: str) -> Any:
    if name == "DockerEngine":
        return import_module("jenkins_release.images.docker_engine").DockerEngine
    raise AttributeError(f"module 'jenkins_release.images' has no attribute {name!r}")
