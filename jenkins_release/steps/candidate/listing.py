"""Listing: the candidates on the share, and the state of each."""

from __future__ import annotations

from dataclasses import replace

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError, ReleaseError
from jenkins_release.records.attestation import Statement
from jenkins_release.records.candidate import Candidate
from jenkins_release.rules.gate.chain import Document
from jenkins_release.rules.gate.decision import Decision
from jenkins_release.rules.release.waiting import Wait
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.opened import (
    OpenCandidate,
    open_candidate,
    open_candidates,
)
from jenkins_release.steps.candidate.order import candidate_order
from jenkins_release.steps.candidate.waiting import waits_of
from jenkins_release.steps.context.services import Services


@dataclass(frozen=True)
class ListedCandidate:
    """One line of a listing.

    Attributes:
        ref: The candidate.
        record: Its record; None if it cannot be read.
        decision: What the gate says; None if the record cannot be read.
        problem: Why it cannot be read, or an empty string.
        wait: What it waits for, and for whom.
    """

    ref: CandidateRef
    record: Candidate | None
    decision: Decision | None
    problem: str = ""
    wait: Wait | None = None


@dataclass(frozen=True)
class ShownAttestation:
    """An attestation in the list of ``candidate show``.

    Attributes:
        file: File name.
        statement: What it says; None if it cannot be read.
        signer: Name of the trusted key that signed it; empty if it is unknown.
        problem: What is wrong with it, or an empty string.
    """

    file: str
    statement: Statement | None
    signer: str
    problem: str = ""


@dataclass(frozen=True)
class ShownCandidate:
    """A candidate in full.

    Attributes:
        record: Its record.
        digest: Digest of ``candidate.json``.
        location: Its folder.
        decision: What the gate says.
        attestations: All attestations, in the order of their numbers.
    """

    record: Candidate
    digest: str
    location: str
    decision: Decision
    attestations: tuple[ShownAttestation, ...]


def list_candidates(services: Services, *, version: str | None = None) -> list[ListedCandidate]:
    """List the candidates of the product, newest version and build first.

    All of them are read in a few round trips, so a distant share is no problem.

    Args:
        services: The share and the gate.
        version: Only candidates of this version.
    """
    refs = services.retry("list candidates", services.candidates.refs)
    # All of them: what one waits for depends on what else was released.
    opened = open_candidates(refs, services)
    listed = {ref: _listed(ref, opened[ref]) for ref in refs}
    decisions = {ref: each.decision for ref, each in listed.items() if each.decision is not None}
    waits = waits_of(opened, services, decisions=decisions)
    found = [replace(each, wait=waits[ref]) for ref, each in listed.items() if version in {None, ref.version}]
    return sorted(found, key=lambda item: candidate_order(item.ref), reverse=True)


def show_candidate(ref: CandidateRef, services: Services) -> ShownCandidate:
    """Read one candidate with all its records.

    Raises:
        ConfigurationError: There is no such candidate.
        IntegrityError: It is incomplete, or too altered to be read.
    """
    opened = open_candidate(ref, services)
    shown = tuple(_shown(document, services) for document in opened.chain.documents)
    location = services.candidates.shown(ref)
    return ShownCandidate(opened.record, opened.digest, location, opened.decision(), shown)


def _listed(ref: CandidateRef, opened: OpenCandidate | ReleaseError) -> ListedCandidate:
    if isinstance(opened, ReleaseError):
        return ListedCandidate(ref, None, None, opened.message)
    return ListedCandidate(ref, opened.record, opened.decision())


def _shown(document: Document, services: Services) -> ShownAttestation:
    name = document.file
    try:
        statement = document.statement
    except IntegrityError as error:
        return ShownAttestation(name, None, "", error.message)
    try:
        key = document.signed_by(services.trusted_keys)
    except IntegrityError as error:
        return ShownAttestation(name, statement, "", error.message)
    return ShownAttestation(name, statement, key.name if key else "", "" if key else "unknown key")
