"""Verify: read everything of a candidate on the share again, and compare it with what was recorded.

What the attestations can show: each names the digest of ``candidate.json`` and of the attestation
before it. An altered candidate.json, archive or SHA256SUMS, and an attestation that was altered, replaced,
renamed, copied from elsewhere, or removed from the beginning or the middle of the chain, are found here,
whoever did it.

What they cannot show: an attestation that was removed from the very end, with nothing signed after it. That
leaves a complete, shorter chain. A ledger outside the share shows it
(:mod:`jenkins_release.rules.gate.ledger`); so does the head of the chain, kept elsewhere, which the report,
'release history' and every command that adds an attestation name. Without either, these narrow it down:

- Whatever is attested later, such as an approval or a promotion, follows the attestation that was last then,
which can no longer be removed unnoticed. - A step that signs refuses if an attestation that it has read is
gone when it signs. - The journal's signed entry ``done`` names the promotion attestation: a promotion whose
attestation
  was removed shows here, unless the journal was removed with it.
- The registry keeps a tag for each withdrawn image, and the gate requires the matching withdrawal: the
attestation of a withdrawal cannot be removed to release the candidate again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from hashlib import sha256

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.moments import moment_of, second
from jenkins_release.records.candidate import FileRecord, checksum_lines
from jenkins_release.rules.gate.chain import Chain, Document
from jenkins_release.rules.release.timeline import Mark, between, marks
from jenkins_release.share.candidates import ATTESTATIONS, CHECKSUMS, MANIFEST, CandidateRef
from jenkins_release.share.journal import JOURNAL
from jenkins_release.share.litter import is_litter
from jenkins_release.share.protocol import Entry, PathNotFound
from jenkins_release.steps.candidate.archive_reader import verified_file
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidate
from jenkins_release.steps.candidate.promotion_journal import read_journal_of
from jenkins_release.steps.context.services import Services

_log = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNFINISHED = re.compile(r"\.\d{4,}-[a-z]+\.dsse\.json\.[0-9a-f]{8}")
"""What a step leaves behind if it dies while it adds an attestation; the next one removes it."""


@dataclass(frozen=True)
class VerifyReport:
    """What was verified.

    Attributes:
        ref: The candidate.
        digest: Digest of ``candidate.json``.
        files: Files that were read and compared.
        bytes: Their bytes.
        attestations: Attestations that were checked.
        head: SHA-256 in hex of the last attestation's file; empty if there is none.
    """

    ref: CandidateRef
    digest: str
    files: int
    bytes: int
    attestations: int
    head: str


def verify_candidate(ref: CandidateRef, services: Services, *, head: str = "") -> VerifyReport:
    """Check every byte of a candidate on the share.

    Args:
        ref: The candidate.
        services: Where it is.
        head: SHA-256 in hex of an attestation that the chain must contain: its earlier end, kept elsewhere.
            Anything that was removed from the end of the chain since then includes it, or leaves a gap.
            Empty: not checked.

    Raises:
        ConfigurationError: There is no such candidate, or ``head`` is no SHA-256.
        IntegrityError: Something is missing, altered or does not belong there; ``reasons`` names every file,
            and since when it is like that, as far as the share and the chain show.
    """
    head = head.strip().lower()
    if head and not _SHA256.fullmatch(head):
        raise ConfigurationError(
            f"{head!r} is not a SHA-256 in hex",
            hint="give the 64 digits that 'candidate verify' prints as the end",
        )
    try:
        opened = open_candidate(ref, services)
    except IntegrityError as error:
        when = _clock(ref, _legible(ref, services), services)
        _, strange = services.retry(f"list {ref}", services.candidates.look_at_attestations, ref)
        problems = [f"{text}{when(f'{ATTESTATIONS}/{name}'.rstrip('/'))}" for name, text in strange.items()]
        raise _altered(ref, problems or [f"{error.message}{when(MANIFEST)}"]) from error
    when = _clock(ref, opened.chain.documents, services)
    problems = _manifest(opened, when, services)
    problems += _chain(opened, when, services)
    problems += _headless(opened, head)
    problems += _checksums(opened, when, services)
    for file in opened.record.files:
        problems += _file(file, opened, when, services)
    problems += _strangers(opened, when, services)
    if problems:
        raise _altered(ref, problems)
    files, last = opened.record.files, list(opened.attestations.values())[-1:]
    total = sum(file.size for file in files)
    head = sha256(last[0]).hexdigest() if last else ""
    return VerifyReport(ref, opened.digest, len(files), total, len(opened.attestations), head)


def lost_records(ref: CandidateRef, digest: str, attestations: list[str], services: Services) -> list[str]:
    """Name the attestations that were recorded according to the candidate's journal, but are gone."""
    done = {
        entry.attestation: entry
        for entry in read_journal_of(ref, digest, None, services).entries
        if entry.event == "done" and entry.attestation
    }
    return [
        f"{services.candidates.shown(ref, f'{ATTESTATIONS}/{name}')} was recorded at "
        f"{second(entry.at)}according to the journal, and was removed since"
        for name, entry in done.items()
        if name not in attestations
    ]


def _altered(ref: CandidateRef, problems: list[str]) -> IntegrityError:
    return IntegrityError(
        f"candidate {ref} was altered or is incomplete: {problems[0]}",
        hint="do not use this candidate; export the build again under a new build number",
        reasons=problems,
    )


def _legible(ref: CandidateRef, services: Services) -> Sequence[Document]:
    """Read the attestations of a candidate that cannot be opened; none if one of them cannot be read."""
    area = services.candidates

    def read() -> dict[str, bytes]:
        # A foreign file is no reason not to read the rest.
        return {name: area.read_attestation(ref, name) for name in area.look_at_attestations(ref)[0]}

    try:
        attestations = services.retry(f"read the attestations of {ref}", read)
    except IntegrityError:
        return ()
    return Chain.of(b"", attestations).documents


def _clock(ref: CandidateRef, documents: Sequence[Document], services: Services) -> Callable[[str], str]:
    """Return what says since when a file of the candidate is as it is, told by the attestations around it."""
    area = services.candidates
    known: list[Mark] = marks(documents, services.trusted_keys)

    def when(path: str) -> str:
        full = f"{area.folder(ref)}/{path}"
        try:
            entry = services.retry(f"stat {full}", services.share.stat, full)
        except PathNotFound:
            return ""
        moment = moment_of(entry.modified)
        place = between(moment, [mark for mark in known if not path.endswith(f"/{mark.name}")])
        return f"; last modified {second(moment)}" + (f", {place}" if place else "")

    return when


def _manifest(opened: OpenCandidate, when: Callable[[str], str], services: Services) -> list[str]:
    """Tell an altered ``candidate.json`` from altered attestations: what all signers name is right."""
    named = {mark.candidate for mark in marks(opened.chain.documents, services.trusted_keys)}
    found = opened.digest.removeprefix("sha256:")
    if len(named) != 1 or found in named:
        return []
    shown = services.candidates.shown(opened.ref, MANIFEST)
    return [
        f"{shown} was altered: every signed attestation names SHA-256 {min(named)}, found {found}"
        f"{when(MANIFEST)}"
    ]


def _chain(opened: OpenCandidate, when: Callable[[str], str], services: Services) -> list[str]:
    """Return what is wrong with the attestations, each with the times of the files that it names."""
    found = []
    for line in opened.decision().altered:
        # The file that a finding is about stands first in it; a removed one has only its folder left.
        name = next((name for name in opened.attestations if line.startswith(name)), "")
        found.append(line + when(f"{ATTESTATIONS}/{name}" if name else ATTESTATIONS))
    return found + lost_records(opened.ref, opened.digest, list(opened.attestations), services)


def _headless(opened: OpenCandidate, head: str) -> list[str]:
    """Say that the chain lacks the attestation that it once ended with."""
    digests = [sha256(data).hexdigest() for data in opened.attestations.values()]
    if not head or head in digests:
        return []
    there = (
        f"{len(digests)} attestations, the last has SHA-256 {digests[-1]}" if digests else "no attestations"
    )
    return [
        f"the chain lacks the attestation with SHA-256 {head}, which it ended with once: there are {there}"
    ]


def _checksums(opened: OpenCandidate, when: Callable[[str], str], services: Services) -> list[str]:
    where = services.candidates.shown(opened.ref, CHECKSUMS)
    try:
        found = services.candidates.read_small(opened.ref, CHECKSUMS)
    except IntegrityError as error:
        return [error.message]
    if found != checksum_lines(opened.manifest, opened.record.files):
        return [f"{where} does not match candidate.json: one of the two was altered{when(CHECKSUMS)}"]
    return []


def _file(
    file: FileRecord, opened: OpenCandidate, when: Callable[[str], str], services: Services
) -> list[str]:
    def attempt() -> None:
        with services.progress.task(f"verify {file.path}", file.size) as task:
            for _ in verified_file(file, opened, services, advance=task.advance):
                pass

    shown = services.candidates.shown(opened.ref, file.path)
    try:
        services.retry(f"verify {file.path}", attempt)
    except PathNotFound:
        return [f"{shown} is missing"]
    except IntegrityError as error:
        message = error.message if shown in error.message else f"{shown}: {error.message}"
        return [message + when(file.path)]
    return []


def _strangers(opened: OpenCandidate, when: Callable[[str], str], services: Services) -> list[str]:
    """Name what does not belong in the candidate's folder; the journal is not part of the candidate.

    In the folder of the attestations, every visible file counts as one, and was read as one.
    """
    area, ref = services.candidates, opened.ref
    files = {file.path for file in opened.record.files}
    known = {MANIFEST, CHECKSUMS, *files}
    folders = {path.rpartition("/")[0] for path in files} | {ATTESTATIONS}
    above = {folder.partition("/")[0] for folder in folders}
    found: list[str] = []

    def look(folder: str) -> None:
        path = f"{area.folder(ref)}/{folder}".rstrip("/")
        for entry in services.retry(f"list {path}", services.share.list, path):
            name = f"{folder}/{entry.name}".lstrip("/")
            if entry.is_folder and name in {*folders, *above}:
                look(name)
            elif is_litter(entry.name, is_folder=entry.is_folder) and name not in known:
                _log.warning("ignored %s: it does not belong there", area.shown(ref, name))
            elif not _expected(folder, entry) and (entry.is_folder or name not in known):
                what = "folder" if entry.is_folder else "file"
                found.append(f"{area.shown(ref, name)} is a {what} that does not belong there{when(name)}")

    look("")
    return found


def _expected(folder: str, entry: Entry) -> bool:
    """Whether it is the journal, or one of the attestations."""
    if entry.is_folder:
        return not folder and entry.name == JOURNAL
    visible = not entry.name.startswith(".") or _UNFINISHED.fullmatch(entry.name) is not None
    return folder == ATTESTATIONS and visible
