"""Docker images: the daemon, and the archives that ``docker save`` writes.

The daemon's client is imported on first use: reading archives does not need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jenkins_release.base.lazy_imports import imported_on_use
from jenkins_release.images.archive import (
    ArchivedImage,
    ArchivedLayer,
    ArchiveIndex,
    ArchiveLimits,
    ArchiveReader,
    CompressedArchive,
    compressed_with,
)
from jenkins_release.images.protocol import EngineInfo, ImageEngine, ImageNotFound, LocalImage

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
    "EngineInfo",
    "ImageEngine",
    "ImageNotFound",
    "LocalImage",
    "compressed_with",
]

__getattr__ = imported_on_use(__name__, {"DockerEngine": "docker_engine"})
