"""Fetch: a candidate from the share to a folder of this machine, checked on the way."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from jenkins_release.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.records.candidate import FileRecord, checksum_lines
from jenkins_release.share.candidates import ATTESTATIONS, CHECKSUMS, MANIFEST, CandidateRef
from jenkins_release.steps._archives import verified_file
from jenkins_release.steps._open import OpenCandidate, check_sizes, open_candidate
from jenkins_release.steps.services import Services


@dataclass(frozen=True)
class FetchReport:
    """What was fetched.

    Attributes:
        ref: The candidate.
        folder: Where it stands now.
        files: Files fetched, attestations not counted.
        bytes: Their bytes.
    """

    ref: CandidateRef
    folder: Path
    files: int
    bytes: int


def fetch_candidate(ref: CandidateRef, folder: Path, services: Services) -> FetchReport:
    """Copy a whole candidate to ``folder``, which must not hold one yet.

    Each file is written under a temporary name, checked, and renamed.

    Raises:
        ConfigurationError: No such candidate, or the folder holds a candidate already.
        IntegrityError: A file on the share is not what was recorded; it is not kept.
        RemoteError: The share failed after the retries, or this machine's disk is full.
    """
    opened = open_candidate(ref, services)
    check_sizes(opened, services)
    if (folder / MANIFEST).exists():
        raise ConfigurationError(f"{folder} holds a candidate already", hint="give an empty folder")
    for file in opened.record.files:
        services.retry(f"fetch {file.path}", lambda file=file: _fetch(file, opened, folder, services))  # type: ignore[misc]
    _write(folder / CHECKSUMS, checksum_lines(opened.manifest, opened.record.files))
    for name, data in opened.attestations.items():
        _write(folder / ATTESTATIONS / name, data)
    _write(folder / MANIFEST, opened.manifest)
    total = sum(file.size for file in opened.record.files)
    return FetchReport(ref, folder, len(opened.record.files), total)


def _fetch(file: FileRecord, opened: OpenCandidate, folder: Path, services: Services) -> None:
    target = folder / file.path
    temporary = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as out, services.progress.task(f"fetch {file.path}", file.size) as task:
            for chunk in verified_file(file, opened, services, advance=task.advance):
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)
    except ReleaseError:
        temporary.unlink(missing_ok=True)
        raise
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RemoteError(f"{target} cannot be written: {error.strerror}") from error


def _write(target: Path, data: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.part")
        temporary.write_bytes(data)
        temporary.replace(target)
    except OSError as error:
        raise RemoteError(f"{target} cannot be written: {error.strerror}") from error
