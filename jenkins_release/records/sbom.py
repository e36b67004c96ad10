"""What an SBOM or a VEX document says, whatever its format: the values that steps and rules speak about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from jenkins_release.base.dataclass import dataclass

DocumentKind = Literal["sbom", "vex"]
DocumentFormat = Literal["spdx", "cyclonedx", "openvex"]
Origin = Literal["file", "attestation"]
Names = Literal["digest", "name", "nothing"]

PREDICATE_TYPES: Mapping[DocumentFormat, str] = {
    "spdx": "https://spdx.dev/Document",
    "cyclonedx": "https://cyclonedx.org/bom",
    "openvex": "https://openvex.dev/ns",
}
"""Predicate types of in-toto (``spec/predicates`` of in-toto/attestation), which cosign uses too."""


@dataclass(frozen=True)
class Package:
    """A package that an SBOM lists.

    Attributes:
        key: What identifies it across versions: its purl without the version and without the qualifiers that
            change from scan to scan; without a purl, its ecosystem and name.
        name: Its name for people, with its namespace.
        ecosystem: The type of its purl, such as ``deb``; without a purl, what the scanner calls it.
        version: Its version, with the epoch if it has one; empty if unknown.
    """

    key: str
    name: str
    ecosystem: str
    version: str


@dataclass(frozen=True)
class Finding:
    """What a VEX document says about a vulnerability: its id, and the status such as ``not_affected``."""

    vulnerability: str
    status: str


@dataclass(frozen=True)
class Subject:
    """Which image a document says it is about.

    Attributes:
        names: Image names, as written: ``skydrm/rms``, ``skydrm/rms:8.1.0-42``.
        image_ids: Config digests.
        digests: Other digests that scanners give for an image, such as that of a manifest.
    """

    names: tuple[str, ...] = ()
    image_ids: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()


@dataclass(frozen=True)
class BillOfMaterials:
    """A valid SBOM or VEX document.

    Attributes:
        format: Its format.
        version: Version of that format, such as ``2.3``.
        subject: The image that it names.
        packages: Packages, each once, sorted by key and version; files are left out.
        findings: What it says about vulnerabilities.
        listed: Whether it lists packages at all, even if the list is empty.
        origin: ``attestation`` if it came as an in-toto statement, as BuildKit writes it.
    """

    format: DocumentFormat
    version: str
    subject: Subject
    packages: tuple[Package, ...] = field(default=(), repr=False)
    findings: tuple[Finding, ...] = field(default=(), repr=False)
    listed: bool = False
    origin: Origin = "file"
