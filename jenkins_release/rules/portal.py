"""What belongs on a download portal, and how a browser is to treat it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from jenkins_release.rules.versions import ReleaseVersion

SUPPORTED_LINES = 2
"""Lines that customers are supported on: N and N-1."""
_PRE_RELEASES = frozenset({"dev", "alpha", "beta", "preview", "rc"})
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
    released: Iterable[ReleaseVersion], withdrawn: Collection[ReleaseVersion] = ()
) -> list[ReleaseVersion]:
    """Return the versions that customers are supported on, newest first.

    N and N-1 are the two newest lines, major.minor, of which a version is released that is no
    pre-release; all their patch releases belong to them. What is newer than N is supported too.
    Withdrawn versions are not, and open no line.
    """
    known = sorted({version for version in released if version not in withdrawn}, reverse=True)
    lines = sorted({v.numbers[:2] for v in known if v.word not in _PRE_RELEASES}, reverse=True)
    oldest = lines[:SUPPORTED_LINES][-1] if len(lines) >= SUPPORTED_LINES else (0, 0)
    return [version for version in known if version.numbers[:2] >= oldest]


def content_type(path: str) -> str:
    """Return the media type of a file that customers download, by the end of its name."""
    _, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return _TYPES.get(suffix.lower(), "application/octet-stream") if dot else "application/octet-stream"
