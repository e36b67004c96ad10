"""OpenVEX (https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md, version 0.2.0)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jenkins_release.records.sbom import BillOfMaterials, Finding, Subject
from jenkins_release.sbom.invalid import invalid
from jenkins_release.sbom.purl import IMAGES, parse_purl
from jenkins_release.sbom.subject import purl_subject

_CONTEXT = "https://openvex.dev/ns"
_VERSIONS = ("v0.2.0",)
STATUSES = ("not_affected", "affected", "fixed", "under_investigation")
_JUSTIFICATIONS = (
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
)


def claims(value: dict[str, Any]) -> bool:
    """Whether a document says that it is OpenVEX."""
    return str(value.get("@context")).startswith(_CONTEXT)


def read(value: dict[str, Any], where: str) -> BillOfMaterials:
    """Read a document.

    Args:
        value: The document.
        where: The document, for messages.

    Raises:
        InvalidDocument: It is not valid.
    """
    version = str(value["@context"]).removeprefix(_CONTEXT).strip("/")
    if version not in _VERSIONS:
        mistake = f"it is of version {version or 'unknown'!r}, supported is {_VERSIONS[0]}"
        raise invalid(where, "OpenVEX", [mistake], "have it written as OpenVEX 0.2.0, for example by vexctl")
    mistakes = _document(value)
    statements = value.get("statements")
    if not isinstance(statements, list) or not statements:
        mistakes.append("statements: expected a list with at least one statement")
        statements = []
    findings: list[Finding] = []
    products: list[str] = []
    for number, item in enumerate(statements):
        found = _statement(item, f"statements[{number}]")
        mistakes += found
        if not found:
            findings.append(Finding(str(item["vulnerability"]["name"]), str(item["status"])))
            products += _products(item)
    if mistakes:
        raise invalid(where, f"OpenVEX {version}", mistakes, "correct it, for example with vexctl")
    images = [purl for text in products if (purl := parse_purl(text)) is not None and purl.type in IMAGES]
    named = [purl_subject(purl) for purl in images]
    subject = Subject(
        tuple(dict.fromkeys(name for each in named for name in each.names)),
        (),
        tuple(dict.fromkeys(digest for each in named for digest in each.digests)),
    )
    return BillOfMaterials("openvex", version.removeprefix("v"), subject, findings=tuple(findings))


def _document(value: dict[str, Any]) -> list[str]:
    mistakes = [
        f"{name}: expected a string, found {type(value.get(name)).__name__}"
        for name in ("@id", "author", "timestamp")
        if not isinstance(value.get(name), str) or not value[name]
    ]
    if isinstance(value.get("timestamp"), str):
        try:
            datetime.fromisoformat(value["timestamp"])
        except ValueError:
            mistakes.append(f"timestamp: {value['timestamp'][:60]!r} is not a time")
    if type(value.get("version")) is not int or value["version"] < 1:
        mistakes.append("version: expected a whole number from 1")
    return mistakes


def _statement(item: Any, place: str) -> list[str]:
    if not isinstance(item, dict):
        return [f"{place}: expected an object"]
    mistakes = []
    vulnerability = item.get("vulnerability")
    if not isinstance(vulnerability, dict) or not isinstance(vulnerability.get("name"), str):
        mistakes.append(f"{place}.vulnerability: expected an object with a name")
    status = item.get("status")
    if status not in STATUSES:
        mistakes.append(f"{place}.status: {status!r} is none of {', '.join(STATUSES)}")
    justification = item.get("justification")
    if justification is not None and justification not in _JUSTIFICATIONS:
        mistakes.append(f"{place}.justification: {justification!r} is not one that OpenVEX knows")
    if status == "not_affected" and not justification and not item.get("impact_statement"):
        mistakes.append(f"{place}: not_affected needs a justification or an impact_statement")
    if status == "affected" and not item.get("action_statement"):
        mistakes.append(f"{place}: affected needs an action_statement")
    products = item.get("products", [])
    if not isinstance(products, list) or not all(isinstance(each, dict) for each in products):
        mistakes.append(f"{place}.products: expected a list of objects")
    return mistakes


def _products(item: dict[str, Any]) -> list[str]:
    found = []
    for product in item.get("products", []):
        found.append(str(product.get("@id")))
        identifiers = product.get("identifiers")
        found += [str(identifiers.get("purl"))] if isinstance(identifiers, dict) else []
    return found
