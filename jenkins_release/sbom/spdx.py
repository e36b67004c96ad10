"""SPDX 2.2 and 2.3 as JSON (https://spdx.github.io/spdx-spec/v2.3/), validated by spdx-tools."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from jenkins_release.records.sbom import BillOfMaterials, Package, Subject
from jenkins_release.sbom.invalid import MOST, invalid
from jenkins_release.sbom.purl import IMAGES, each_once, package_of, package_without_purl, parse_purl
from jenkins_release.sbom.subject import image_digest, image_names, purl_subject

if TYPE_CHECKING:
    from spdx_tools.spdx.model import Document

VERSIONS = ("2.2", "2.3")
_DOCUMENT = "SPDXRef-DOCUMENT"
_AT_ONCE = 200
"""Packages that are validated together: spdx-tools compares each one's id with all others."""
_NO_PACKAGE = frozenset({"FILE", "ARCHIVE", "SOURCE"})
_COPIED = ("copyrightText", "downloadLocation", "licenseConcluded", "licenseDeclared")
_LEFT_OUT = frozenset({"hasFiles", "homepage", "licenseInfoFromFiles"})
_TELLING = 100
"""Characters that tell whether a person, organisation or tool is written as it must be."""
_SOUND = {
    "SPDXID": _DOCUMENT,
    "creationInfo": {"created": "1970-01-01T00:00:00Z", "creators": ["Tool: jenkins-release"]},
    "dataLicense": "CC0-1.0",
    "documentNamespace": "https://jenkins-release.invalid/part",
    "name": "part",
}
"""A document without mistakes for the packages after the first ones."""
_IMAGE_ID = "ImageID: "
"""How Trivy writes a config digest into ``attributionTexts``, and newer versions into ``annotations``."""


def claims(value: dict[str, Any]) -> bool:
    """Whether a document says that it is SPDX 2."""
    return "spdxVersion" in value


def read(value: dict[str, Any], where: str) -> BillOfMaterials:
    """Read a document.

    Files and snippets are not read, nor what relates to them: they make up most of a document, and say
    nothing about packages. Licences, homepages, download locations and references other than purls are not
    validated.

    Args:
        value: The document.
        where: The document, for messages.

    Raises:
        InvalidDocument: It is not valid.
    """
    version = str(value["spdxVersion"]).removeprefix("SPDX-")
    if version not in VERSIONS:
        mistake = f"it is of version {value['spdxVersion']!r}, supported are {' and '.join(VERSIONS)}"
        raise invalid(where, "SPDX", [mistake], "have the scanner write SPDX 2.3")
    packages, mistakes = _checked(value)
    if mistakes:
        hint = "update the scanner that wrote it, or have it write CycloneDX"
        raise invalid(where, f"SPDX {version}", mistakes, hint)
    described = {*_described(value)}
    roots = [each for each in packages if each["SPDXID"] in described]
    found = [each for item in packages if (each := _package(item, item["SPDXID"] in described)) is not None]
    return BillOfMaterials("spdx", version, _subject(roots), each_once(found), listed="packages" in value)


def _checked(value: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the packages, and what is wrong with the document."""
    lists = ("packages", "files", "snippets", "relationships", "annotations")
    wrong = [name for name in lists if not _is_list_of_objects(value.get(name, []))]
    if wrong:
        return [], [f"{name} is not a list of objects" for name in wrong]
    packages = value.get("packages", [])
    purls = (
        f"package {item.get('name')!r}: the purl {locator!r} is not valid"
        for item in packages
        for locator in _purls(item)
        if parse_purl(locator) is None
    )
    mistakes = dict.fromkeys(islice(chain(_ids(value), purls, _batches(value, packages, lists)), MOST))
    return packages, list(mistakes)


def _batches(value: dict[str, Any], packages: list[dict[str, Any]], lists: tuple[str, ...]) -> Iterator[str]:
    """Validate in parts, and what is no package with the first of them only."""
    left = {*lists, "documentDescribes", "hasExtractedLicensingInfos"}
    rest = {name: item for name, item in value.items() if name not in left}
    rest |= {"creationInfo": _shortened(rest["creationInfo"])} if "creationInfo" in rest else {}
    describes = {"spdxElementId": _DOCUMENT, "relationshipType": "DESCRIBES"}
    for start in range(0, max(len(packages), 1), _AT_ONCE):
        some = [_own(item) for item in packages[start : start + _AT_ONCE]]
        first = [{**describes, "relatedSpdxElement": some[0].get("SPDXID", "")}] if some else []
        yield from _validate({**rest, "packages": some, "relationships": first})
        rest = {**_SOUND, "spdxVersion": value["spdxVersion"]}


def _own(item: dict[str, Any]) -> dict[str, Any]:
    """Return a package without its files, and without what a scanner only copies from the package itself.

    Its authors wrote that, such as ``GPL-1+`` as a licence: whoever releases the image cannot correct it. Its
    purls were checked; a hundred characters of another reference can keep spdx-tools busy for a second.
    """
    found = {name: part for name, part in item.items() if name not in _LEFT_OUT}
    if _is_list_of_objects(found.get("externalRefs")):
        del found["externalRefs"]
    for name in _COPIED:
        if found.get(name) and isinstance(found[name], str):
            found[name] = "NOASSERTION"
    for name in {"supplier", "originator", "annotations"} & {*found}:
        found[name] = _shortened(found[name])
    return found


def _shortened(value: Any) -> Any:
    """Return a value with short texts: spdx-tools tries each bracket in a person's name with all others."""
    if isinstance(value, str):
        return value[:_TELLING]
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    return {name: _shortened(item) for name, item in value.items()} if isinstance(value, dict) else value


def _validate(value: dict[str, Any]) -> list[str]:
    from spdx_tools.spdx.parser.error import SPDXParsingError
    from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    try:
        document: Document = JsonLikeDictParser().parse(value)
    except SPDXParsingError as error:
        return [str(each) for each in error.get_messages()]
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        # Its parser expects objects and strings in their places, and does not say where one is missing.
        return [f"it cannot be read: {error or type(error).__name__}"]
    return [
        f"{message.context.spdx_id or message.context.parent_id or 'document'}: {message.validation_message}"
        for message in validate_full_spdx_document(document)
    ]


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _ids(value: dict[str, Any]) -> list[str]:
    """Say which ids occur twice, and which a relationship names although nothing has them."""
    ids = [str(value.get("SPDXID"))]
    ids += [
        str(item.get("SPDXID")) for part in ("packages", "files", "snippets") for item in value.get(part, [])
    ]
    known = {*ids}
    mistakes = []
    if len(known) != len(ids):
        twice = sorted({each for each in known if ids.count(each) > 1}) if len(ids) < 2000 else []
        mistakes.append(f"an SPDXID occurs twice{': ' + ', '.join(twice[:3]) if twice else ''}")
    named = [*_described(value)]
    for item in value.get("relationships", []):
        named += [str(item.get("spdxElementId")), str(item.get("relatedSpdxElement"))]
    unknown = {
        each
        for each in named
        if each not in known and each not in {"NONE", "NOASSERTION"} and not each.startswith("DocumentRef-")
    }
    mistakes += [f"a relationship names {each}, which is not in the document" for each in sorted(unknown)]
    if len(value.get("packages", [])) > 1 and not [*_described(value)]:
        mistakes.append("no relationship says what the document describes")
    return mistakes


def _described(value: dict[str, Any]) -> Iterator[str]:
    """Yield the ids of what a document describes: its subject."""
    listed = value.get("documentDescribes")
    yield from map(str, listed if isinstance(listed, list) else [])
    for item in value.get("relationships", []):
        ends = (str(item.get("spdxElementId")), str(item.get("relatedSpdxElement")))
        if item.get("relationshipType") == "DESCRIBES" and ends[0] == _DOCUMENT:
            yield ends[1]
        if item.get("relationshipType") == "DESCRIBED_BY" and ends[1] == _DOCUMENT:
            yield ends[0]


def _purls(item: dict[str, Any]) -> list[str]:
    listed = item.get("externalRefs")
    return [
        str(each.get("referenceLocator"))
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict) and each.get("referenceType") == "purl"
    ]


def _package(item: dict[str, Any], is_root: bool) -> Package | None:
    """Return a package; None for the image itself, and for files."""
    purl = parse_purl(next(iter(_purls(item)), ""))
    if purl is not None and purl.type in IMAGES:
        return None
    if purl is not None:
        return package_of(purl, str(item.get("versionInfo") or ""))
    purpose = str(item.get("primaryPackagePurpose") or "")
    if is_root or purpose in _NO_PACKAGE or _is_image(item):
        return None
    ecosystem = "operating-system" if purpose == "OPERATING-SYSTEM" else "package"
    return package_without_purl(str(item.get("name")), ecosystem, str(item.get("versionInfo") or ""))


def _subject(roots: list[dict[str, Any]]) -> Subject:
    names: list[str] = []
    ids: list[str] = []
    digests: list[str] = []
    for item in roots:
        for purl in map(parse_purl, _purls(item)):
            if purl is not None and purl.type in IMAGES:
                named = purl_subject(purl)
                names += named.names
                digests += named.digests
        if _is_image(item):
            names.append(str(item.get("name")))
        elif not names:
            continue
        digests += image_digest(str(item.get("versionInfo") or ""))
        for checksum in item.get("checksums") or []:
            if checksum.get("algorithm") == "SHA256":
                digests += image_digest(f"sha256:{checksum.get('checksumValue')}")
        texts = [str(text) for text in item.get("attributionTexts") or []]
        texts += [str(each.get("comment")) for each in item.get("annotations") or []]
        for text in texts:
            if text.startswith(_IMAGE_ID):
                ids += image_digest(text.removeprefix(_IMAGE_ID))
    known, as_ids = image_names(names)
    return Subject(known, tuple(dict.fromkeys([*as_ids, *ids])), tuple(dict.fromkeys(digests)))


def _is_image(item: dict[str, Any]) -> bool:
    """Whether a package is an image: Syft said so only by its id before it gave a purpose."""
    root = str(item.get("SPDXID")).startswith("SPDXRef-DocumentRoot-Image")
    return root or item.get("primaryPackagePurpose") == "CONTAINER"
