"""The SBOM and VEX documents of an image, as statements about it."""

from __future__ import annotations

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.strict_json import strict_json
from jenkins_release.records.candidate import DocumentRecord
from jenkins_release.records.sbom import PREDICATE_TYPES
from jenkins_release.records.sigstore import MAX_SIGSTORE_BYTES
from jenkins_release.rules.release.image_statements import Said
from jenkins_release.steps.candidate.archive_reader import verified_file
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.services import Services


def document_statements(
    opened: OpenCandidate, image: str, platform: str | None, services: Services
) -> list[Said]:
    """Return the documents of an image as predicates, as they were validated when the candidate was exported.

    Args:
        opened: The candidate.
        image: Short name of the image.
        platform: The platform of several that they describe; None for those that describe the whole image.
        services: The share.

    Raises:
        IntegrityError: A document is not what was recorded.
        RemoteError: The share failed, after the retries.
    """
    found: list[Said] = []
    for record in opened.record.documents:
        if (record.image, record.platform) == (image, platform):
            said = services.retry(f"read {record.path}", _statement, record, opened, services)
            # One document may be SBOM and VEX.
            found += [said] if said not in found else []
    return found


def _statement(record: DocumentRecord, opened: OpenCandidate, services: Services) -> Said:
    file, where = opened.record.file(record.path), services.candidates.shown(opened.ref, record.path)
    with services.progress.task(f"read {record.path}", file.size) as task:
        data = b"".join(verified_file(file, opened, services, advance=task.advance))
    document = strict_json(data, where, limit=MAX_SIGSTORE_BYTES, maps=True)
    if record.origin == "attestation":
        document = document.get("predicate") if isinstance(document, dict) else None
    if not isinstance(document, dict):
        raise IntegrityError(f"{where} is no {record.format} document")
    return Said(PREDICATE_TYPES[record.format], document)
