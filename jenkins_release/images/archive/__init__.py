"""Image archives as ``docker save`` writes them, read from a stream."""

from jenkins_release.images.archive.header import CompressedArchive, compressed_with
from jenkins_release.images.archive.limits import ArchiveLimits
from jenkins_release.images.archive.reader import ArchiveReader, MemberObserver
from jenkins_release.records.archive_index import ArchivedImage, ArchivedLayer, ArchiveIndex

__all__ = [
    "ArchiveIndex",
    "ArchiveLimits",
    "ArchiveReader",
    "ArchivedImage",
    "ArchivedLayer",
    "CompressedArchive",
    "MemberObserver",
    "compressed_with",
]
