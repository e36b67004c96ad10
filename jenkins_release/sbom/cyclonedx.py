"""CycloneDX as JSON (https://cyclonedx.org/specification/overview/), validated by its own JSON schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any

from jenkins_release.base.strict_json import shown
from jenkins_release.records.sbom import BillOfMaterials, Finding, Package, Subject
from jenkins_release.sbom.invalid import MOST, invalid, short
from jenkins_release.sbom.purl import IMAGES, each_once, package_of, package_without_purl, parse_purl
from jenkins_release.sbom.subject import image_digest, image_names, purl_subject

if TYPE_CHECKING:
    from jsonschema import ValidationError

VERSIONS = ("1.4", "1.5", "1.6", "1.7")
_NO_PACKAGE = frozenset({"file", "data", "cryptographic-asset", "container"})
_IMAGE_ID = "aquasecurity:trivy:ImageID"
_TYPE = "syft:package:type"
_NOT_IN_IRI = re.compile(r'[\x00-\x20<>"{}|\\^`\x7f-\x9f]')
"""What RFC 3987 allows in no IRI, section 2.2."""


def claims(value: dict[str, Any]) -> bool:
    """Whether a document says that it is CycloneDX."""
    return value.get("bomFormat") == "CycloneDX"


def read(value: dict[str, Any], where: str) -> BillOfMaterials:
    """Read a document.

    Components of components count too; files do not.

    Args:
        value: The document.
        where: The document, for messages.

    Raises:
        InvalidDocument: It is not valid.
    """
    version = str(value.get("specVersion"))
    if version not in VERSIONS:
        mistake = f"it is of version {version!r}, supported are {', '.join(VERSIONS)}"
        raise invalid(where, "CycloneDX", [mistake], f"have the scanner write CycloneDX {VERSIONS[-2]}")
    mistakes = _mistakes(value, version)
    if mistakes:
        raise invalid(where, f"CycloneDX {version}", mistakes, "update the scanner that wrote it")
    metadata = value.get("metadata") or {}
    about = metadata.get("component") or {}
    found = [each for item in _components(value) if (each := _package(item)) is not None]
    return BillOfMaterials(
        "cyclonedx",
        version,
        _subject(about),
        each_once(found),
        tuple(_findings(value)),
        listed="components" in value or "components" in about,
    )


def _mistakes(value: dict[str, Any], version: str) -> list[str]:
    errors = islice(_validator(version).iter_errors(value), MOST)
    mistakes = [short(f"{_place([*error.absolute_path])}: {error.message}") for error in errors]
    if mistakes:
        return mistakes
    refs = [str(item["bom-ref"]) for item in _components(value) if item.get("bom-ref")]
    if len({*refs}) != len(refs):
        mistakes.append("components: a bom-ref occurs twice")
    return mistakes + [
        f"component {item.get('name')!r}: the purl {item['purl']!r} is not valid"
        for item in _components(value)
        if item.get("purl") and parse_purl(item["purl"]) is None
    ]


@cache
def _validator(version: str) -> Any:
    """Return a validator of CycloneDX's own schema, whose time and memory grow with the document alone.

    jsonschema's parsers of formats take 10 milliseconds for one address, and a document has thousands. It
    compares each entry of a list with all others, and keeps every mistake of every alternative.
    """
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonValidator
    from jsonschema import FormatChecker
    from jsonschema.validators import extend

    formats = FormatChecker(formats=())
    formats.checks("iri-reference")(lambda value: not isinstance(value, str) or not _NOT_IN_IRI.search(value))
    formats.checks("date-time", raises=ValueError)(_is_time)
    found = JsonValidator(SchemaVersion.from_version(version))._validator
    rules = {"uniqueItems": _unique, "oneOf": _one_of, "anyOf": _any_of}
    return extend(type(found), rules)(found.schema, format_checker=formats, registry=found._registry)


def _unique(_validator: Any, wanted: bool, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list):
        entries = {blake2b(json.dumps(item, sort_keys=True).encode()).digest() for item in instance}
        if len(entries) != len(instance):
            yield _error("an entry occurs twice")


def _any_of(validator: Any, alternatives: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if not any(validator.evolve(schema=each).is_valid(instance) for each in alternatives):
        yield _error(f"{shown(instance)} is not valid in any of the possible ways")


def _one_of(validator: Any, alternatives: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if sum(validator.evolve(schema=each).is_valid(instance) for each in alternatives) != 1:
        yield _error(f"{shown(instance)} is not valid in exactly one of the possible ways")


def _error(message: str) -> ValidationError:
    from jsonschema import ValidationError

    return ValidationError(message)


def _is_time(value: Any) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def _place(path: list[Any]) -> str:
    return (
        "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        or "document"
    )


def _components(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every component, the nested ones too, but not the subject."""
    about = (value.get("metadata") or {}).get("component") or {}
    left = [*reversed(about.get("components") or []), *reversed(value.get("components") or [])]
    while left:
        item = left.pop()
        yield item
        left += reversed(item.get("components") or [])


def _package(item: dict[str, Any]) -> Package | None:
    purl = parse_purl(item.get("purl") or "")
    kind = str(item.get("type"))
    if kind in _NO_PACKAGE or (purl is not None and purl.type in IMAGES):
        return None
    version = str(item.get("version") or "")
    if purl is not None:
        return package_of(purl, version)
    group = item.get("group")
    name = f"{group}/{item['name']}" if group else str(item["name"])
    return package_without_purl(name, _property(item, _TYPE) or kind, version)


def _property(item: dict[str, Any], name: str) -> str:
    found = (each.get("value") for each in item.get("properties") or [] if each.get("name") == name)
    return str(next(found, None) or "")


def _subject(about: dict[str, Any]) -> Subject:
    purl = parse_purl(about.get("purl") or "")
    is_image = purl is not None and purl.type in IMAGES
    if about.get("type") != "container" and not is_image:
        return Subject()
    named = purl_subject(purl) if purl is not None and is_image else Subject()
    digests = [*named.digests, *image_digest(str(about.get("version") or ""))]
    for each in about.get("hashes") or []:
        if each.get("alg") == "SHA-256":
            digests += image_digest(f"sha256:{each.get('content')}")
    names = [*named.names, str(about["name"])] if about.get("type") == "container" else [*named.names]
    known, as_ids = image_names(names)
    ids = dict.fromkeys([*as_ids, *image_digest(_property(about, _IMAGE_ID))])
    return Subject(known, tuple(ids), tuple(dict.fromkeys(digests)))


def _findings(value: dict[str, Any]) -> Iterator[Finding]:
    for item in value.get("vulnerabilities") or []:
        state = (item.get("analysis") or {}).get("state")
        if state:
            yield Finding(str(item.get("id") or "unnamed"), str(state))
