"""Docker images: the daemon, and the archives that ``docker save`` writes."""

from jenkins_release.images.archive import (
    ArchivedImage,
    ArchivedLayer,
    ArchiveIndex,
    ArchiveLimits,
    ArchiveReader,
)
from jenkins_release.images.docker_engine import DockerEngine
from jenkins_release.images.protocol import ImageEngine, LocalImage

__all__ = [
    "ArchiveIndex",
    "ArchiveLimits",
    "ArchiveReader",
    "ArchivedImage",
    "ArchivedLayer",
    "DockerEngine",
    "ImageEngine",
    "LocalImage",
]
