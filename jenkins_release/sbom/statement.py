"""in-toto statements that contain an SBOM, as BuildKit attaches them to an image.

See https://docs.docker.com/build/metadata/attestations/attestation-storage/: each is a layer of an
attestation manifest, of the media type ``application/vnd.in-toto+json``. The annotation
``in-toto.io/predicate-type`` of the layer says what it contains.
"""

from __future__ import annotations

import re
from dataclasses import field, replace
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.strict_json import shown
from jenkins_release.records.sbom import PREDICATE_TYPES, BillOfMaterials, DocumentFormat, Subject
from jenkins_release.sbom.formats import read_value
from jenkins_release.sbom.invalid import invalid
from jenkins_release.sbom.purl import IMAGES, parse_purl
from jenkins_release.sbom.subject import image_digest, purl_subject

_STATEMENT = re.compile(r"https://in-toto\.io/Statement/v(0\.1|1)")
SBOM_PREDICATES = frozenset({PREDICATE_TYPES["spdx"], PREDICATE_TYPES["cyclonedx"]})
"""Predicate types by which BuildKit's attestation manifests list an SBOM."""


@dataclass(frozen=True)
class Statement:
    """An in-toto statement.

    Attributes:
        predicate_type: What kind of predicate it contains.
        predicate: The predicate.
        subject: The images among its subjects.
        digests: The digests of all its subjects.
    """

    predicate_type: str
    predicate: Any = field(repr=False)
    subject: Subject
    digests: tuple[str, ...] = field(repr=False)


def is_statement(value: Any) -> bool:
    """Whether a document says that it is an in-toto statement."""
    return isinstance(value, dict) and str(value.get("_type")).startswith("https://in-toto.io/")


def open_statement(value: Any, where: str) -> Statement:
    """Read a statement, but not its predicate.

    Args:
        value: What its JSON says.
        where: The statement, for messages.

    Raises:
        InvalidDocument: It is none, or of a predicate type that is neither an SBOM nor VEX.
    """
    mistakes = []
    document = value if isinstance(value, dict) else {}
    kind = str(document.get("predicateType"))
    if not _STATEMENT.fullmatch(str(document.get("_type"))):
        mistakes.append(f"its _type is {shown(document.get('_type'))}, expected a statement v0.1 or v1")
    elif _format(kind) is None:
        known = ", ".join(PREDICATE_TYPES.values())
        mistakes.append(f"its predicateType is {shown(kind)}, expected one of {known}")
    subjects = document.get("subject")
    if not isinstance(subjects, list) or not all(isinstance(item, dict) for item in subjects):
        mistakes.append("its subject is not a list of objects")
        subjects = []
    if mistakes:
        raise invalid(
            where, "in-toto statement with an SBOM", mistakes, "export the image's SBOM attestation"
        )
    found: list[Subject] = []
    digests: list[str] = []
    for item in subjects:
        stated = item.get("digest")
        own = image_digest(f"sha256:{stated.get('sha256')}") if isinstance(stated, dict) else []
        digests += own
        purl = parse_purl(str(item.get("name")))
        if purl is not None and purl.type in IMAGES:
            named = purl_subject(purl)
            found.append(replace(named, digests=(*named.digests, *own)))
    names = tuple(dict.fromkeys(name for each in found for name in each.names))
    of_images = tuple(dict.fromkeys(digest for each in found for digest in each.digests))
    return Statement(kind, document.get("predicate"), Subject(names, (), of_images), tuple(digests))


def read_predicate(statement: Statement, where: str) -> BillOfMaterials:
    """Read and validate the SBOM of a statement; the statement's subject counts as the document's too.

    Raises:
        InvalidDocument: It is not valid, or has another format than the statement says.
    """
    found = read_value(statement.predicate, where)
    if found.format != _format(statement.predicate_type):
        mistake = f"its predicateType is {statement.predicate_type}, its predicate is {found.format}"
        raise invalid(where, "in-toto statement with an SBOM", [mistake], "export the attestation again")
    about = Subject(
        (*found.subject.names, *statement.subject.names),
        found.subject.image_ids,
        (*found.subject.digests, *statement.subject.digests),
    )
    return replace(found, subject=about, origin="attestation")


def _format(predicate_type: str) -> DocumentFormat | None:
    """Return the format of a predicate type; versions may follow, as in ``https://openvex.dev/ns/v0.2.0``."""
    for name, known in PREDICATE_TYPES.items():
        if predicate_type == known or predicate_type.startswith(f"{known}/"):
            return name
    return None
