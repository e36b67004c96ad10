"""SBOM and VEX documents of a candidate, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jenkins_release.cli.output import counted, table

if TYPE_CHECKING:
    from jenkins_release.records.candidate import DocumentRecord

_FORMATS = {"spdx": "SPDX", "cyclonedx": "CycloneDX", "openvex": "OpenVEX"}
_NAMES = {
    "digest": "names a digest of the image",
    "name": "names the image",
    "nothing": "does not say of which image",
}


def document_json(document: DocumentRecord, size: int, sha256: str) -> dict[str, Any]:
    """Return a document for a JSON result.

    Args:
        document: The document.
        size: Its bytes.
        sha256: Their SHA-256 in hex.
    """
    return {
        "path": document.path,
        "image": document.image,
        "platform": document.platform,
        "kind": document.kind,
        "format": document.format,
        "formatVersion": document.format_version,
        "origin": document.origin,
        "names": document.names,
        "packages": document.packages,
        "statements": document.statements,
        "sha256": sha256,
        "bytes": size,
    }


def documents_table(documents: Sequence[DocumentRecord]) -> str:
    """Return documents as a table: format, contents, and by what each names its image."""
    rows = [
        [
            each.path,
            each.image if each.platform is None else f"{each.image} for {each.platform}",
            f"{_FORMATS[each.format]} {each.format_version}",
            _contents(each),
            _NAMES[each.names],
        ]
        for each in documents
    ]
    return table(["SBOM or VEX", "image", "format", "contents", "subject"], rows)


def _contents(document: DocumentRecord) -> str:
    if document.kind == "sbom":
        return counted(document.packages or 0, "package")
    return counted(document.statements or 0, "statement")
