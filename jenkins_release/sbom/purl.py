"""Package URLs: what identifies a package from one release to the next.

Follows the purl specification (https://github.com/package-url/purl-spec, now ECMA-427).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jenkins_release.records.sbom import Package

if TYPE_CHECKING:
    from packageurl import PackageURL

IMAGES = frozenset({"oci", "docker"})
"""Types of purls that name an image."""
_PASSING = frozenset(
    {
        "arch",
        "channel",
        "checksum",
        "checksums",
        "distro",
        "distro_name",
        "distro_version",
        "download_url",
        "epoch",
        "file_name",
        "goarch",
        "goos",
        "modularitylabel",
        "package-id",
        "repository_url",
        "revision",
        "tag",
        "upstream",
        "vcs_url",
    }
)
"""Qualifiers that say where a package came from, or how it was built, and change while it stays the same."""
_GO_VERSION = re.compile(r"v(?=\d)")


def parse_purl(text: str) -> PackageURL | None:
    """Return a purl; None if it is not valid."""
    from packageurl import PackageURL

    try:
        return PackageURL.from_string(text)
    except ValueError:
        return None


def package_of(purl: PackageURL, version: str) -> Package:
    """Return a package as its purl identifies it.

    Args:
        purl: The purl.
        version: The version that the document gives besides; counts if the purl has none.
    """
    parts = [part for part in (purl.namespace, purl.name) if part]
    name = "/".join(parts)
    qualifiers = purl.qualifiers if isinstance(purl.qualifiers, dict) else {}
    kept = "&".join(f"{key}={value}" for key, value in sorted(qualifiers.items()) if key not in _PASSING)
    key = f"pkg:{purl.type}/{name}" + (f"?{kept}" if kept else "")
    key += f"#{purl.subpath}" if purl.subpath else ""
    found = str(purl.version or version)
    if purl.type == "golang":
        found = _GO_VERSION.sub("", found, count=1) if _GO_VERSION.match(found) else found
    epoch = str(qualifiers.get("epoch") or "0")
    if epoch != "0" and not found.startswith(f"{epoch}:"):
        found = f"{epoch}:{found}"
    return Package(key, name, purl.type, found)


def package_without_purl(name: str, ecosystem: str, version: str) -> Package:
    """Return a package that its ecosystem and name identify."""
    return Package(f"{ecosystem}:{name}", name, ecosystem, version)


def each_once(found: list[Package]) -> tuple[Package, ...]:
    """Return packages sorted, each version once: scanners find a package wherever it is installed."""
    return tuple(sorted(set(found), key=lambda each: (each.key, each.version, each.name)))
