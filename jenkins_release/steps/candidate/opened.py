"""Reading a candidate back from the share: the common beginning of most steps.

A step opens its candidate once and works on what it read. If it has to look again, it compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from types import MappingProxyType

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
from jenkins_release.rules.gate.conditions import Facts
from jenkins_release.rules.gate.decision import Decision, decide
from jenkins_release.rules.gate.evidence import Evidence, collect, misnamed
from jenkins_release.share.candidate_records import read_records
from jenkins_release.share.candidates import ATTESTATIONS, MANIFEST, CandidateRef
from jenkins_release.share.protocol import PathNotFound
from jenkins_release.share.staging import present
from jenkins_release.steps.candidate.ledger_standing import read_lines, read_lines_of_each, standing_of
from jenkins_release.steps.context.services import Services

COMPRESSED = (
    "somebody compressed it: decompress it on the share under its own name ('gunzip' gives the same bytes "
    "back), and 'candidate verify' compares them with what was recorded"
)


@dataclass(frozen=True)
class OpenCandidate:
    """A candidate as it was read from the share; nothing in it changes.

    Attributes:
        ref: Its place.
        manifest: The bytes of ``candidate.json``.
        record: What they say.
        attestations: File name to bytes, in the order of their numbers.
        lines: What the ledger has of the build; None if there is no ledger.
    """

    ref: CandidateRef
    manifest: bytes
    record: Candidate
    attestations: Mapping[str, bytes]
    lines: tuple[Line, ...] | None = None

    def __post_init__(self) -> None:
        """Keep the attestations where the caller cannot change them."""
        object.__setattr__(self, "attestations", MappingProxyType(dict(self.attestations)))

    def with_attestation(self, name: str, data: bytes) -> OpenCandidate:
        """Return the candidate with one more attestation at the end of its chain."""
        return replace(self, attestations={**self.attestations, name: data})

    @property
    def digest(self) -> str:
        """Digest of ``candidate.json``."""
        return manifest_digest(self.manifest)

    @property
    def head(self) -> str:
        """SHA-256 in hex of the last attestation's file, the end of the chain; empty if there is none."""
        last = list(self.attestations.values())[-1:]
        return sha256(last[0]).hexdigest() if last else ""


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
        return OpenCandidate(ref, manifest, record, area.attestations(ref), lines)

    return _at_its_place(services.retry(f"read candidate {ref}", read), services)


def reopen(opened: OpenCandidate, services: Services) -> OpenCandidate:
    """Read a candidate once more and compare: nothing may have changed, the chain may only have grown.

    Raises:
        IntegrityError: ``candidate.json`` or an attestation is not what it was, or is gone.
        RemoteError: The share failed, after the retries.
    """
    area, ref = services.candidates, opened.ref
    require_same_manifest(opened, services)
    lines = read_lines(ref, services)
    attestations = services.retry(f"read the attestations of {ref}", area.attestations, ref)
    return grown(opened, attestations, lines, services)


def require_same_manifest(opened: OpenCandidate, services: Services) -> None:
    """Read ``candidate.json`` once more and compare it byte for byte.

    Raises:
        IntegrityError: It is not what it was, or is gone.
        RemoteError: The share failed, after the retries.
    """
    area, ref = services.candidates, opened.ref
    shown = area.shown(ref, MANIFEST)
    try:
        found = services.retry(f"read {shown}", area.read_small, ref, MANIFEST)
    except ConfigurationError as error:
        raise _changed(opened, f"{shown} is gone") from error
    if found != opened.manifest:
        raise _changed(opened, f"{shown}: expected {opened.digest}, found {manifest_digest(found)}")


def require_continued(opened: OpenCandidate, now: OpenCandidate, services: Services) -> None:
    """Compare a candidate with one that was opened later: the same bytes, and the chain has only grown.

    Raises:
        IntegrityError: It is another one, or an attestation is missing.
    """
    if (now.ref, now.manifest) != (opened.ref, opened.manifest):
        raise _changed(opened, f"expected {opened.digest}, found {now.ref} with {now.digest}")
    grown(opened, now.attestations, now.lines, services)


def grown(
    opened: OpenCandidate,
    attestations: Mapping[str, bytes],
    lines: tuple[Line, ...] | None,
    services: Services,
) -> OpenCandidate:
    """Return the candidate with the chain as it is now: every attestation seen before is still in it.

    Args:
        opened: The candidate as it was.
        attestations: File name to bytes, as they are now.
        lines: What the ledger has now.
        services: For messages.

    Raises:
        IntegrityError: The first attestation that was removed or replaced is named.
    """
    for name, data in opened.attestations.items():
        now = attestations.get(name)
        if now != data:
            shown = services.candidates.shown(opened.ref, f"{ATTESTATIONS}/{name}")
            found = "it was removed" if now is None else f"found {sha256(now).hexdigest()}"
            raise _changed(opened, f"{shown}: expected SHA-256 {sha256(data).hexdigest()}, {found}")
    return replace(opened, attestations=attestations, lines=lines)


def _changed(opened: OpenCandidate, what: str) -> IntegrityError:
    return IntegrityError(
        f"candidate {opened.ref} changed while it was in use: {what}",
        hint="find out who changed the share; run the command again once the candidate is as it was",
    )


def open_candidates(
    refs: Sequence[CandidateRef], services: Services
) -> dict[CandidateRef, OpenCandidate | ReleaseError]:
    """Read many candidates; what is wrong with one is its value, and no other suffers.

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
                record = Candidate.from_bytes(read.manifest, area.shown(ref, MANIFEST))
                opened = OpenCandidate(ref, read.manifest, record, read.attestations, recorded)
                found[ref] = _at_its_place(opened, services)
            else:
                found[ref] = open_candidate(ref, services)
        except (IntegrityError, ConfigurationError) as error:
            found[ref] = error
        except RemoteError as error:
            if error.retryable:
                raise
            found[ref] = error  # a link, or a file that this user may not read
    return found


def _at_its_place(opened: OpenCandidate, services: Services) -> OpenCandidate:
    area, ref = services.candidates, opened.ref
    found = (opened.record.product, opened.record.version, opened.record.build)
    if found != (area.product, ref.version, ref.build):
        raise IntegrityError(
            f"{area.shown(ref, MANIFEST)}: expected {area.product} {ref}, "
            f"found {found[0]} {found[1]}/{found[2]}",
            hint="the folder was renamed or copied by hand; use the candidate where it was exported",
        )
    return opened


def check_sizes(opened: OpenCandidate, services: Services) -> None:
    """Check that every file of the candidate is there with its recorded size.

    Raises:
        IntegrityError: Files are missing or have another size; ``reasons`` names each.
    """
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
    """Say what an image archive on the share was compressed with by somebody; empty if it was not."""
    if not path.endswith(".tar"):
        return ""
    (head,) = services.retry(f"read {path}", services.share.read_heads, [path])
    return "" if isinstance(head, RemoteError) else compressed_with(head)


def gate_decision(
    opened: OpenCandidate, services: Services, *, facts: Facts | None = None, plan: Plan | None = None
) -> Decision:
    """Ask the gate about a candidate.

    Args:
        opened: The candidate.
        services: Policy, keys and time.
        facts: What the registry holds; only the time by default.
        plan: The plan as it would be made now; approvals are not looked at without it.
    """
    standing = standing_of(opened.ref, opened.digest, opened.attestations, opened.lines, services)
    decision = decide(
        opened.manifest,
        opened.attestations,
        trusted=services.trusted_keys,
        policy=services.policy,
        facts=facts or Facts(services.now()),
        plan=plan,
        arrivals=standing.arrivals,
    )
    altered = (*standing.altered, *decision.altered, *misnamed(opened.attestations))
    return replace(decision, altered=altered, trust=services.trust.note)


def evidence_of(opened: OpenCandidate, services: Services) -> Evidence:
    """Sort out what the attestations of a candidate prove."""
    standing = standing_of(opened.ref, opened.digest, opened.attestations, opened.lines, services)
    evidence = collect(
        opened.manifest, opened.attestations, services.trusted_keys, services.now(), standing.arrivals
    )
    return replace(evidence, altered=(*standing.altered, *evidence.altered))


def require_unaltered(opened: OpenCandidate, services: Services) -> None:
    """Refuse to go on with a candidate whose attestations or manifest were altered.

    Raises:
        IntegrityError: ``reasons`` has every finding.
    """
    altered = gate_decision(opened, services).altered
    if altered:
        raise _altered(opened, altered, ())


def require_open_gate(
    opened: OpenCandidate, facts: Facts, plan: Plan, services: Services, *, to_be: str = "promoted"
) -> Decision:
    """Refuse unless the gate is open.

    Args:
        opened: The candidate.
        facts: What is known of registry and time.
        plan: What is to be done.
        services: Policy and keys.
        to_be: What is to be done with it, for the message.

    Raises:
        IntegrityError: Something was altered; ``reasons`` has every finding.
        GateRefused: The gate is shut; ``reasons`` has every unmet condition.
    """
    decision = gate_decision(opened, services, facts=facts, plan=plan)
    if decision.altered:
        raise _altered(opened, decision.altered, decision.reasons)
    if not decision.allowed:
        unmet = f"{len(decision.unmet)} condition{'s' if len(decision.unmet) > 1 else ''}"
        raise GateRefused(
            f"candidate {opened.ref} may not be {to_be}: {unmet} not met",
            hint="each reason says what to do; 'candidate show' lists what is recorded",
            reasons=decision.reasons,
        )
    return decision


def _altered(opened: OpenCandidate, altered: Sequence[str], reasons: Sequence[str]) -> IntegrityError:
    return IntegrityError(
        f"candidate {opened.ref} was altered: {altered[0]}",
        hint="find out who changed the share; do not release this candidate",
        reasons=[*altered, *reasons],
    )
