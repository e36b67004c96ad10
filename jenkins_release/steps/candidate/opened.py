"""Reads a candidate from the share: the common beginning of most steps.

A step opens its candidate once and works on what it read; each signature is verified once. If it has to look
again, it compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from hashlib import sha256

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import (
    ConfigurationError,
    GateRefused,
    IntegrityError,
    ReleaseError,
    RemoteError,
)
from jenkins_release.images import compressed_with
from jenkins_release.records.candidate import Candidate, manifest_digest
from jenkins_release.records.ledger_line import Line
from jenkins_release.records.plan import Plan
from jenkins_release.rules.gate.chain import Chain, Document
from jenkins_release.rules.gate.conditions import Facts
from jenkins_release.rules.gate.decision import Decision, decide
from jenkins_release.rules.gate.evidence import Evidence, collect, misnamed
from jenkins_release.rules.gate.ledger import Standing
from jenkins_release.share.candidate_records import read_records
from jenkins_release.share.candidates import ATTESTATIONS, MANIFEST, CandidateRef
from jenkins_release.share.protocol import PathNotFound
from jenkins_release.share.staging import present
from jenkins_release.steps.candidate.content_store import ContentStore
from jenkins_release.steps.candidate.ledger_standing import read_lines, read_lines_of_each, standing_of
from jenkins_release.steps.context.services import Services

COMPRESSED = (
    "somebody compressed it: decompress it on the share under its own name ('gunzip' gives the same bytes "
    "back), and 'candidate verify' compares them with what was recorded"
)


@dataclass(frozen=True)
class OpenCandidate:
    """A candidate as read from the share; nothing in it changes.

    Evidence and decisions are by the keys, the policy and the time of the moment at which they are asked for:
    a trust document that was read again counts at once.

    Attributes:
        ref: Its place.
        record: What ``candidate.json`` says.
        chain: ``candidate.json`` and the attestations, in the order of their numbers.
        lines: What the ledger has of the build; None if there is no ledger.
        services: Keys, policy, ledger and time.
    """

    ref: CandidateRef
    record: Candidate
    chain: Chain
    lines: tuple[Line, ...] | None
    services: Services = field(repr=False, compare=False)

    @property
    def manifest(self) -> bytes:
        """The bytes of ``candidate.json``."""
        return self.chain.candidate

    @property
    def attestations(self) -> Mapping[str, bytes]:
        """File name to bytes, in the order of their numbers."""
        return self.chain.attestations

    @property
    def digest(self) -> str:
        """Digest of ``candidate.json``."""
        return self.chain.digest

    @property
    def head(self) -> str:
        """SHA-256 in hex of the last attestation's file, the end of the chain; empty if there is none."""
        return self.chain.head

    @property
    def content(self) -> ContentStore:
        """The blobs of its images."""
        return ContentStore(self.services.share, self.services.candidates.folder(self.ref))

    @cached_property
    def standing(self) -> Standing:
        """How the chain compares to the ledger."""
        return standing_of(self.ref, self.chain, self.lines, self.services)

    @cached_property
    def dated(self) -> Chain:
        """The chain with the times at which the attestations arrived in the ledger."""
        arrivals = self.standing.arrivals
        return self.chain if arrivals is None else replace(self.chain, arrivals=arrivals)

    @property
    def evidence(self) -> Evidence:
        """What the attestations prove."""
        found = collect(self.dated, self.services.trusted_keys, self.services.now())
        return replace(found, altered=(*self.standing.altered, *found.altered))

    def decision(self, *, facts: Facts | None = None, plan: Plan | None = None) -> Decision:
        """Ask the gate.

        Args:
            facts: What the registry holds; only the time by default.
            plan: The plan as it would be made now; approvals are not looked at without it.
        """
        found = decide(
            self.dated,
            trusted=self.services.trusted_keys,
            policy=self.services.policy,
            facts=facts or Facts(self.services.now()),
            plan=plan,
        )
        altered = (*self.standing.altered, *found.altered, *misnamed(self.chain))
        return replace(found, altered=altered, trust=self.services.trust.note)

    def require_unaltered(self) -> None:
        """Refuse to go on with a candidate whose attestations or manifest were altered.

        Raises:
            IntegrityError: ``reasons`` has every finding.
        """
        altered = self.decision().altered
        if altered:
            raise self._altered(altered)

    def require_open_gate(self, facts: Facts, plan: Plan, *, to_be: str = "promoted") -> Decision:
        """Refuse unless the gate is open.

        Args:
            facts: What is known of registry and time.
            plan: What is to be done.
            to_be: What is to be done with the candidate, for the message.

        Raises:
            IntegrityError: Something was altered; ``reasons`` has every finding.
            GateRefused: The gate is shut; ``reasons`` has every unmet condition.
        """
        decision = self.decision(facts=facts, plan=plan)
        if decision.altered:
            raise self._altered([*decision.altered, *decision.reasons])
        if not decision.allowed:
            unmet = f"{len(decision.unmet)} condition{'s' if len(decision.unmet) > 1 else ''}"
            raise GateRefused(
                f"candidate {self.ref} may not be {to_be}: {unmet} not met",
                hint="each reason says what to do; 'candidate show' lists what is recorded",
                reasons=decision.reasons,
            )
        return decision

    def _altered(self, reasons: Sequence[str]) -> IntegrityError:
        return IntegrityError(
            f"candidate {self.ref} was altered: {reasons[0]}",
            hint="find out who changed the share; do not release this candidate",
            reasons=reasons,
        )

    def with_attestation(self, name: str, data: bytes) -> OpenCandidate:
        """Return the candidate with one more attestation at the end of its chain."""
        chain = replace(self.chain, documents=(*self.chain.documents, Document(name, data)))
        return replace(self, chain=chain)


def open_candidate(ref: CandidateRef, services: Services) -> OpenCandidate:
    """Read a candidate's manifest and attestations.

    Raises:
        ConfigurationError: There is no such candidate.
        IntegrityError: It is incomplete, or describes another candidate.
    """
    area = services.candidates

    lines = read_lines(ref, services)

    def read() -> OpenCandidate:
        manifest = area.read_small(ref, MANIFEST)
        record = Candidate.from_bytes(manifest, area.shown(ref, MANIFEST))
        return OpenCandidate(ref, record, Chain.of(manifest, area.attestations(ref)), lines, services)

    return _at_its_place(services.retry(f"read candidate {ref}", read))


def reopen(opened: OpenCandidate) -> OpenCandidate:
    """Read a candidate once more and compare: nothing may have changed, the chain may only have grown.

    Raises:
        IntegrityError: ``candidate.json`` or an attestation is not what it was, or is gone.
        RemoteError: The share failed, after the retries.
    """
    services, ref = opened.services, opened.ref
    area = services.candidates
    require_same_manifest(opened)
    lines = read_lines(ref, services)
    attestations = services.retry(f"read the attestations of {ref}", area.attestations, ref)
    return grown(opened, attestations, lines)


def require_same_manifest(opened: OpenCandidate) -> None:
    """Read ``candidate.json`` once more and compare it byte for byte.

    Raises:
        IntegrityError: It is not what it was, or is gone.
        RemoteError: The share failed, after the retries.
    """
    services, ref = opened.services, opened.ref
    area = services.candidates
    shown = area.shown(ref, MANIFEST)
    try:
        found = services.retry(f"read {shown}", area.read_small, ref, MANIFEST)
    except ConfigurationError as error:
        raise _changed(opened, f"{shown} is gone") from error
    if found != opened.manifest:
        raise _changed(opened, f"{shown}: expected {opened.digest}, found {manifest_digest(found)}")


def require_continued(opened: OpenCandidate, now: OpenCandidate | None) -> None:
    """Compare a candidate with what was read of it later: the same bytes, and the chain has only grown.

    Args:
        opened: The candidate.
        now: The same, later; None if it could not be read.

    Raises:
        IntegrityError: It is another one, cannot be read any more, or an attestation is missing.
    """
    if now is None:
        raise _changed(opened, "it cannot be read any more")
    if (now.ref, now.manifest) != (opened.ref, opened.manifest):
        raise _changed(opened, f"expected {opened.digest}, found {now.ref} with {now.digest}")
    grown(opened, now.attestations, now.lines)


def grown(
    opened: OpenCandidate, attestations: Mapping[str, bytes], lines: tuple[Line, ...] | None
) -> OpenCandidate:
    """Return the candidate with the current chain, in which every attestation seen before still is.

    Args:
        opened: The candidate as it was.
        attestations: File name to bytes, as they are now.
        lines: What the ledger has now.

    Raises:
        IntegrityError: The first attestation that was removed or replaced is named.
    """
    seen = {document.file: document for document in opened.chain.documents}
    for name, document in seen.items():
        now = attestations.get(name)
        if now != document.data:
            shown = opened.services.candidates.shown(opened.ref, f"{ATTESTATIONS}/{name}")
            found = "it was removed" if now is None else f"found {sha256(now).hexdigest()}"
            raise _changed(opened, f"{shown}: expected SHA-256 {document.sha256}, {found}")
    documents = tuple(seen.get(name) or Document(name, data) for name, data in attestations.items())
    return replace(opened, chain=replace(opened.chain, documents=documents), lines=lines)


def _changed(opened: OpenCandidate, what: str) -> IntegrityError:
    return IntegrityError(
        f"candidate {opened.ref} changed while it was in use: {what}",
        hint="find out who changed the share; run the command again once the candidate is as it was",
    )


def open_candidates(
    refs: Sequence[CandidateRef], services: Services
) -> dict[CandidateRef, OpenCandidate | ReleaseError]:
    """Read many candidates; an error with one is its value, and does not affect the others.

    Raises:
        RemoteError: The share failed, after the retries.
    """
    area = services.candidates
    lines = read_lines_of_each(refs, services)
    records = services.retry(f"read {len(refs)} candidates", read_records, area, refs)
    found: dict[CandidateRef, OpenCandidate | ReleaseError] = {}
    for ref in refs:
        recorded = lines[ref]
        if isinstance(recorded, IntegrityError):
            found[ref] = recorded
            continue
        try:
            if ref in records:
                read = records[ref]
                Candidate.from_bytes(read.manifest, area.shown(ref, MANIFEST))  # its error names the place
                chain = Chain.of(read.manifest, read.attestations)
                # The chain keeps the record: of many, only the last few are remembered.
                found[ref] = _at_its_place(OpenCandidate(ref, chain.record, chain, recorded, services))
            else:
                found[ref] = open_candidate(ref, services)
        except (IntegrityError, ConfigurationError) as error:
            found[ref] = error
        except RemoteError as error:
            if error.retryable:
                raise
            found[ref] = error  # a link, or a file that this user may not read
    return found


def _at_its_place(opened: OpenCandidate) -> OpenCandidate:
    area, ref = opened.services.candidates, opened.ref
    found = (opened.record.product, opened.record.version, opened.record.build)
    if found != (area.product, ref.version, ref.build):
        raise IntegrityError(
            f"{area.shown(ref, MANIFEST)}: expected {area.product} {ref}, "
            f"found {found[0]} {found[1]}/{found[2]}",
            hint="the folder was renamed or copied by hand; use the candidate where it was exported",
        )
    return opened


def check_sizes(opened: OpenCandidate) -> None:
    """Check that every file of the candidate is there with its recorded size.

    Raises:
        IntegrityError: Files are missing or have another size; ``reasons`` names each.
    """
    services = opened.services
    area = services.candidates
    problems, compressed = [], False
    for record in opened.record.files:
        path, shown = f"{area.folder(opened.ref)}/{record.path}", area.shown(opened.ref, record.path)
        try:
            size = services.retry(f"stat {path}", services.share.stat, path).size
        except PathNotFound:
            beside = present(services.share, f"{path}.gz")
            compressed |= beside
            problems.append(f"{shown} is missing{f', {shown}.gz is there' if beside else ''}")
            continue
        if size != record.size:
            how = _compression(path, services)
            compressed |= bool(how)
            told = f", compressed with {how}" if how else ""
            problems.append(f"{shown}: expected {record.size} bytes, found {size}{told}")
    if problems:
        raise IntegrityError(
            f"candidate {opened.ref} is incomplete: {problems[0]}",
            hint=COMPRESSED if compressed else "export the build again under a new build number",
            reasons=problems,
        )


def _compression(path: str, services: Services) -> str:
    """Say with what an image archive on the share was compressed later; empty if it was not."""
    if not path.endswith(".tar"):
        return ""
    (head,) = services.retry(f"read {path}", services.share.read_heads, [path])
    return "" if isinstance(head, RemoteError) else compressed_with(head)
