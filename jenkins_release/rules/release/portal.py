"""What belongs on a download portal, and how browsers should treat it."""

from __future__ import annotations

from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.rules.release.support import LineKind, line_of

_TYPES = {
    "deb": "application/vnd.debian.binary-package",
    "dmg": "application/x-apple-diskimage",
    "exe": "application/vnd.microsoft.portable-executable",
    "gz": "application/gzip",
    "json": "application/json",
    "msi": "application/x-msi",
    "pdf": "application/pdf",
    "pkg": "application/vnd.apple.installer+xml",
    "rpm": "application/x-rpm",
    "tar": "application/x-tar",
    "tgz": "application/gzip",
    "txt": "text/plain; charset=utf-8",
    "xz": "application/x-xz",
    "zip": "application/zip",
}


def line_name(version: ReleaseVersion, kind: LineKind) -> str:
    """Return the line of a version as people write it, such as ``8.1``."""
    return ".".join(map(str, line_of(version, kind)))


def content_type(path: str) -> str:
    """Return the media type of a file that customers download, by the end of its name."""
    _, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return _TYPES.get(suffix.lower(), "application/octet-stream") if dot else "application/octet-stream"
