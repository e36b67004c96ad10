"""What belongs on a download portal, and how browsers should treat it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.rules.release.support import LineKind, line_of, support_window

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


def supported_versions(
    released: Iterable[ReleaseVersion],
    withdrawn: Collection[ReleaseVersion] = (),
    *,
    count: int = 2,
    kind: LineKind = "major.minor",
) -> list[ReleaseVersion]:
    """Return the supported versions at a portal, newest first.

    Args:
        released: Versions that are there.
        withdrawn: Withdrawn versions: never supported, and they open no line.
        count: Number of supported lines, N included.
        kind: What makes a line.
    """
    known = {version for version in released if version not in withdrawn}
    window = support_window(known, count=count, kind=kind)
    return sorted((version for version in known if window.supports(version)), reverse=True)


def line_name(version: ReleaseVersion, kind: LineKind) -> str:
    """Return the line of a version as people write it, such as ``8.1``."""
    return ".".join(map(str, line_of(version, kind)))


def content_type(path: str) -> str:
    """Return the media type of a file that customers download, by the end of its name."""
    _, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return _TYPES.get(suffix.lower(), "application/octet-stream") if dot else "application/octet-stream"
