"""The formats that are supported, and the reader of each."""

from __future__ import annotations

from typing import Any

from jenkins_release.records.sbom import BillOfMaterials
from jenkins_release.sbom import cyclonedx, openvex, spdx
from jenkins_release.sbom.invalid import invalid

SUPPORTED = "supported are SPDX 2.2 and 2.3, CycloneDX 1.4 to 1.7 and OpenVEX 0.2.0, all as JSON"


def read_value(value: Any, where: str) -> BillOfMaterials:
    """Read a document by the format that it says it has.

    Args:
        value: What the document's JSON says.
        where: The document, for messages.

    Raises:
        InvalidDocument: It is not valid; ``reasons`` has the mistakes.
    """
    if isinstance(value, dict):
        if spdx.claims(value):
            return spdx.read(value, where)
        if cyclonedx.claims(value):
            return cyclonedx.read(value, where)
        if openvex.claims(value):
            return openvex.read(value, where)
        if "spdx.org/rdf/3" in str(value.get("@context")):
            raise invalid(
                where,
                "SPDX 2.3",
                ["it is SPDX 3, which is not supported"],
                "have the scanner write SPDX 2.3, such as 'syft -o spdx-json@2.3', or CycloneDX",
            )
    raise invalid(where, "SBOM or VEX", ["it has none of the known formats"], SUPPORTED)
