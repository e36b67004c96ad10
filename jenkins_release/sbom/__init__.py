"""SBOM and VEX documents: reads and validates SPDX, CycloneDX and OpenVEX, as files or as attestations."""

from jenkins_release.sbom.document import MAX_DOCUMENT_BYTES, read_document, read_statement
from jenkins_release.sbom.invalid import InvalidDocument
from jenkins_release.sbom.statement import SBOM_PREDICATES
from jenkins_release.sbom.subject import contradiction

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "SBOM_PREDICATES",
    "InvalidDocument",
    "contradiction",
    "read_document",
    "read_statement",
]
