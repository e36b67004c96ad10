"""Reads a document that a build wrote, and says what is wrong with it."""

from __future__ import annotations

from typing import Any

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.strict_json import strict_json
from jenkins_release.records.sbom import BillOfMaterials
from jenkins_release.sbom.formats import SUPPORTED, read_value
from jenkins_release.sbom.invalid import InvalidDocument
from jenkins_release.sbom.statement import Statement, is_statement, open_statement, read_predicate

MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
"""Largest document that is read. One with 20,000 packages, without its files, has about 20 MB."""


def read_document(data: bytes, where: str) -> BillOfMaterials:
    """Read and validate an SBOM or a VEX document, or an in-toto statement that contains one.

    BuildKit's exporters ``local`` and ``tar`` write such statements as ``sbom.spdx.json``.

    Args:
        data: Its bytes.
        where: Where they come from, for messages.

    Raises:
        InvalidDocument: It is not valid; ``reasons`` has the mistakes.
    """
    value = _parse(data, where)
    if is_statement(value):
        return read_predicate(open_statement(value, where), where)
    return read_value(value, where)


def read_statement(data: bytes, where: str, *, predicate_type: str, manifest_digest: str) -> BillOfMaterials:
    """Read and validate the SBOM in a layer of one of BuildKit's attestation manifests.

    Args:
        data: The bytes of the layer.
        where: The layer, for messages.
        predicate_type: The layer's annotation ``in-toto.io/predicate-type``.
        manifest_digest: Digest of the manifest that the attestation manifest is about, its annotation
            ``vnd.docker.reference.digest``.

    Raises:
        InvalidDocument: It is not a statement of that type about that manifest, or its SBOM is not valid.
    """
    statement: Statement = open_statement(_parse(data, where), where)
    mistakes = []
    if statement.predicate_type != predicate_type:
        mistakes.append(f"its predicateType is {statement.predicate_type!r}, expected {predicate_type!r}")
    if manifest_digest not in statement.digests:
        about = ", ".join(statement.digests[:3]) or "nothing"
        mistakes.append(f"it is about {about}, expected the manifest {manifest_digest}")
    if mistakes:
        raise InvalidDocument(
            f"{where} is not the attestation that its manifest names: {mistakes[0]}",
            hint="build the image again: the attestation was altered or belongs to another image",
            reasons=[f"{where}: {each}" for each in mistakes],
        )
    return read_predicate(statement, where)


def _parse(data: bytes, where: str) -> Any:
    try:
        return strict_json(data, where, limit=MAX_DOCUMENT_BYTES)
    except IntegrityError as error:
        raise InvalidDocument(error.message, hint=SUPPORTED, reasons=[error.message]) from error
