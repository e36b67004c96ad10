"""Verify: read everything of a candidate on the share again and compare it with what was recorded."""

from __future__ import annotations

from dataclasses import dataclass

from jenkins_release.errors import IntegrityError
from jenkins_release.records.candidate import FileRecord, checksum_lines
from jenkins_release.share.candidates import CHECKSUMS, CandidateRef
from jenkins_release.share.protocol import PathNotFound
from jenkins_release.steps._archives import verified_archive
from jenkins_release.steps._open import OpenCandidate, gate_decision, open_candidate
from jenkins_release.steps.services import Services


@dataclass(frozen=True)
class VerifyReport:
    """What was verified.

    Attributes:
        ref: The candidate.
        digest: Digest of ``candidate.json``.
        files: Files that were read and compared.
        bytes: Their bytes.
        attestations: Attestations that were checked.
    """

    ref: CandidateRef
    digest: str
    files: int
    bytes: int
    attestations: int


def verify_candidate(ref: CandidateRef, services: Services) -> VerifyReport:
    """Check every byte of a candidate on the share.

    Raises:
        ConfigurationError: There is no such candidate.
        IntegrityError: Something is missing or altered; ``reasons`` names everything.
    """
    opened = open_candidate(ref, services)
    problems = list(gate_decision(opened, services).altered)
    problems += _checksums(opened, services)
    for file in opened.record.files:
        problems += _file(file, opened, services)
    if problems:
        raise IntegrityError(
            f"candidate {ref} was altered or is incomplete: {problems[0]}",
            hint="do not use this candidate; export the build again under a new build number",
            reasons=problems,
        )
    files = opened.record.files
    total = sum(file.size for file in files)
    return VerifyReport(ref, opened.digest, len(files), total, len(opened.attestations))


def _checksums(opened: OpenCandidate, services: Services) -> list[str]:
    where = services.candidates.shown(opened.ref, CHECKSUMS)
    try:
        found = services.candidates.read_small(opened.ref, CHECKSUMS)
    except IntegrityError as error:
        return [error.message]
    if found != checksum_lines(opened.manifest, opened.record.files):
        return [f"{where} does not match candidate.json: one of the two was altered"]
    return []


def _file(file: FileRecord, opened: OpenCandidate, services: Services) -> list[str]:
    def attempt() -> None:
        with services.progress.task(f"verify {file.path}", file.size) as task:
            for _ in verified_archive(file, opened, services, advance=task.advance):
                pass

    try:
        services.retry(f"verify {file.path}", attempt)
    except PathNotFound:
        return [f"{services.candidates.shown(opened.ref, file.path)} is missing"]
    except IntegrityError as error:
        shown = services.candidates.shown(opened.ref, file.path)
        return [error.message if shown in error.message else f"{shown}: {error.message}"]
    return []
