"""Fetch: a candidate from the share to a folder of this machine, checked on the way."""

from __future__ import annotations

from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.records.candidate import FileRecord, checksum_lines
from jenkins_release.share.candidates import ATTESTATIONS, CHECKSUMS, MANIFEST, CandidateRef
from jenkins_release.steps.candidate.archive_reader import verified_file
from jenkins_release.steps.candidate.opened import OpenCandidate, check_sizes, open_candidate
from jenkins_release.steps.candidate.receipt import write_receipt
from jenkins_release.steps.context.local_files import new_file
from jenkins_release.steps.context.services import Services


@dataclass(frozen=True)
class FetchReport:
    """What was fetched.

    Attributes:
        ref: The candidate.
        folder: Where it is now.
        files: Number of fetched files, without attestations.
        bytes: Their total size.
        digest: Digest of ``candidate.json``: what will be tested.
        receipt: Where the receipt for the sign-off is kept; None if it could not be written.
    """

    ref: CandidateRef
    folder: Path
    files: int
    bytes: int
    digest: str
    receipt: Path | None


def fetch_candidate(ref: CandidateRef, folder: Path, services: Services) -> FetchReport:
    """Copy a whole candidate to ``folder``, which must not contain one yet.

    Each file is written under a temporary name, checked, and renamed. A receipt is kept for this user's
    sign-off on this machine.

    Raises:
        ConfigurationError: The candidate does not exist, or the folder already contains one.
        IntegrityError: A file on the share is not what was recorded; it is not kept.
        RemoteError: The share failed after the retries, or this machine's disk is full.
    """
    opened = open_candidate(ref, services)
    check_sizes(opened)
    if (folder / MANIFEST).exists():
        raise ConfigurationError(f"{folder} already contains a candidate", hint="give an empty folder")
    for file in opened.record.files:
        services.retry(f"fetch {file.path}", _fetch, file, opened, folder, services)
    _write(folder / CHECKSUMS, checksum_lines(opened.manifest, opened.record.files))
    for name, data in opened.attestations.items():
        _write(folder / ATTESTATIONS / name, data)
    _write(folder / MANIFEST, opened.manifest)
    total = sum(file.size for file in opened.record.files)
    files, place = opened.record.files, str(folder.absolute())
    receipt = write_receipt(opened, "fetch", services, files=files, folder=place)
    return FetchReport(ref, folder, len(files), total, opened.digest, receipt)


def _fetch(file: FileRecord, opened: OpenCandidate, folder: Path, services: Services) -> None:
    target = folder / file.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with new_file(target) as out, services.progress.task(f"fetch {file.path}", file.size) as task:
            for chunk in verified_file(file, opened, services, advance=task.advance):
                out.write(chunk)
    except OSError as error:
        raise RemoteError(f"{target} cannot be written: {error.strerror}") from error


def _write(target: Path, data: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with new_file(target) as out:
            out.write(data)
    except OSError as error:
        raise RemoteError(f"{target} cannot be written: {error.strerror}") from error
