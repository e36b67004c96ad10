"""Ledger: show and verify what is recorded outside the share, and adopt candidates from before it."""

from __future__ import annotations

from collections.abc import Sequence

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError, ReleaseError
from jenkins_release.ledger.protocol import Ledger
from jenkins_release.rules.gate.ledger import Recorded, Standing, entries_of
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.ledger_standing import (
    enter,
    gone_standing,
    place_of,
    recorded_refs,
)
from jenkins_release.steps.candidate.opened import (
    OpenCandidate,
    open_candidate,
    open_candidates,
)
from jenkins_release.steps.candidate.order import candidate_order
from jenkins_release.steps.context.services import Services


@dataclass(frozen=True)
class LedgerReport:
    """What the ledger has of one candidate.

    Attributes:
        ref: The candidate.
        digest: Digest of ``candidate.json``; empty if it cannot be read.
        recorded: The ledger's entries, by number; the candidate itself first.
        missing: Whether the ledger does not know the candidate.
        behind: Attestations on the share that the ledger does not have yet.
        altered: Signs that the chain on the share, or the ledger, was altered.
        gone: Whether the candidate is not on the share; with nothing altered its export may have died.
    """

    ref: CandidateRef
    digest: str
    recorded: tuple[Recorded, ...]
    missing: bool
    behind: tuple[str, ...]
    altered: tuple[str, ...]
    gone: bool = False


@dataclass(frozen=True)
class VerifiedLedger:
    """What the ledger has of several candidates.

    Attributes:
        name: The ledger.
        candidates: Each candidate, newest version and build first.
    """

    name: str
    candidates: tuple[LedgerReport, ...]

    def problem(self) -> IntegrityError | None:
        """The error that a command ends with if something was altered, None if nothing was."""
        found = [f"{each.ref}: {line}" for each in self.candidates for line in each.altered]
        if not found:
            return None
        return IntegrityError(
            f"the share and the ledger {self.name} differ: {found[0]}",
            hint="find out who changed the share; 'ledger adopt' only enters what is from before the ledger",
            reasons=found,
        )


@dataclass(frozen=True)
class AdoptedEntry:
    """An entry that was written.

    Attributes:
        number: Number of the attestation; 0 for the candidate itself.
        file: File name of the attestation; ``candidate.json`` for the candidate itself.
        kind: Short word for what it is.
        sha256: SHA-256 in hex.
    """

    number: int
    file: str
    kind: str
    sha256: str


@dataclass(frozen=True)
class AdoptionReport:
    """What was entered in the ledger.

    Attributes:
        ref: The candidate.
        digest: Digest of ``candidate.json``.
        ledger: The ledger.
        adopted: Whether the candidate was from before the ledger; else the ledger was only behind.
        entries: What was entered, or would be; empty if the ledger had everything.
    """

    ref: CandidateRef
    digest: str
    ledger: str
    adopted: bool
    entries: tuple[AdoptedEntry, ...]


def verify_ledger(services: Services, refs: Sequence[CandidateRef] = ()) -> VerifiedLedger:
    """Compare candidates on the share with the ledger.

    Args:
        services: Share and ledger.
        refs: Candidates; by default all of the product. Those that only the ledger knows are among them.

    Raises:
        ConfigurationError: No ledger is configured, or neither share nor ledger has such a candidate.
        RemoteError: Share or ledger failed, after the retries.
    """
    ledger = _ledger(services)
    known = [] if refs else recorded_refs(services)
    wanted = list(refs) or services.retry("list candidates", services.candidates.refs)
    opened = open_candidates(wanted, services)
    reports = []
    for ref, found in opened.items():
        if refs and isinstance(found, ConfigurationError):
            gone = _gone(ref, services)
            if not gone.recorded and not gone.altered:
                raise found
            reports.append(gone)
        else:
            reports.append(_report(ref, found))
    reports += [_gone(ref, services) for ref in known if ref not in opened]
    ordered = sorted(reports, key=lambda each: candidate_order(each.ref), reverse=True)
    return VerifiedLedger(ledger.name, tuple(ordered))


def adopt_candidate(ref: CandidateRef, services: Services, *, dry_run: bool = False) -> AdoptionReport:
    """Enter the chain of a candidate from before the ledger, or what a crash left out of it.

    What is entered was on the share all the time: the ledger cannot tell what was removed before.

    Args:
        ref: The candidate.
        services: Share and ledger.
        dry_run: Check and list everything, write nothing.

    Raises:
        ConfigurationError: No ledger is configured, or there is no such candidate.
        IntegrityError: The chain was altered, or the ledger has another ``candidate.json`` of this build.
        RemoteError: Share or ledger failed, after the retries.
    """
    ledger = _ledger(services)
    opened = open_candidate(ref, services)
    standing = _standing(opened)
    _require_adoptable(opened, standing, ledger)
    entries = entries_of(place_of(ref, services), opened.chain, adopted=standing.missing)
    known = {recorded.entry.number for recorded in standing.entries}
    files = ["candidate.json", *opened.attestations]
    lacking = [entry for entry in entries if entry.number not in known]
    if not dry_run:
        # The candidate's own entry last: without it the ledger does not know the candidate.
        enter([*(entry for entry in lacking if entry.number), *lacking[:1]], services)
    written = tuple(
        AdoptedEntry(entry.number, files[entry.number], entry.kind, entry.sha256) for entry in lacking
    )
    return AdoptionReport(ref, opened.digest, ledger.name, standing.missing, written)


def _require_adoptable(opened: OpenCandidate, standing: Standing, ledger: Ledger) -> None:
    found = [line for line in opened.decision().altered if line != standing.unknown]
    if found:
        raise IntegrityError(
            f"candidate {opened.ref} cannot be entered in the ledger {ledger.name}: {found[0]}",
            hint="find out who changed the share; nothing was entered",
            reasons=found,
        )


def _report(ref: CandidateRef, opened: OpenCandidate | ReleaseError) -> LedgerReport:
    if isinstance(opened, ReleaseError):
        return LedgerReport(ref, "", (), False, (), (opened.message,))
    standing = _standing(opened)
    return LedgerReport(
        ref, opened.digest, standing.entries, standing.missing, standing.behind, standing.altered
    )


def _gone(ref: CandidateRef, services: Services) -> LedgerReport:
    standing = gone_standing(ref, services)
    digest = standing.entries[-1].entry.candidate if standing.entries else ""
    return LedgerReport(ref, digest, standing.entries, False, (), standing.altered, gone=True)


def _standing(opened: OpenCandidate) -> Standing:
    return opened.standing


def _ledger(services: Services) -> Ledger:
    if services.ledger is None:
        raise ConfigurationError(
            "there is no ledger", hint='set ledger.kind to "s3" or "folder"; docs/ledger.md explains it'
        )
    return services.ledger
