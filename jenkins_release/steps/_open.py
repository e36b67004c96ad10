"""Reading a candidate back from the share: the common beginning of most steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jenkins_release.errors import ConfigurationError, GateRefused, IntegrityError, ReleaseError
from jenkins_release.records.candidate import Candidate, manifest_digest
from jenkins_release.records.plan import Plan
from jenkins_release.rules.conditions import Facts
from jenkins_release.rules.evidence import misnamed
from jenkins_release.rules.gate import Decision, decide
from jenkins_release.share.candidate_records import read_records
from jenkins_release.share.candidates import MANIFEST, CandidateRef
from jenkins_release.share.protocol import PathNotFound
from jenkins_release.steps.services import Services


@dataclass(frozen=True)
class OpenCandidate:
    """A candidate as it stands on the share.

    Attributes:
        ref: Its place.
        manifest: The bytes of ``candidate.json``.
        record: What they say.
        attestations: File name to bytes.
    """

    ref: CandidateRef
    manifest: bytes
    record: Candidate
    attestations: dict[str, bytes]

    @property
    def digest(self) -> str:
        """Digest of ``candidate.json``."""
        return manifest_digest(self.manifest)


def open_candidate(ref: CandidateRef, services: Services) -> OpenCandidate:
    """Read a candidate's manifest and attestations.

    Raises:
        ConfigurationError: There is no such candidate.
        IntegrityError: It is incomplete, or describes another candidate.
    """
    area = services.candidates

    def read() -> OpenCandidate:
        manifest = area.read_small(ref, MANIFEST)
        record = Candidate.from_bytes(manifest, area.shown(ref, MANIFEST))
        return OpenCandidate(ref, manifest, record, area.attestations(ref))

    return _at_its_place(services.retry(f"read candidate {ref}", read), services)


def open_candidates(
    refs: Sequence[CandidateRef], services: Services
) -> dict[CandidateRef, OpenCandidate | ReleaseError]:
    """Read many candidates; what is wrong with one is its value, and no other suffers.

    Raises:
        RemoteError: The share failed, after the retries.
    """
    area = services.candidates
    records = services.retry(f"read {len(refs)} candidates", lambda: read_records(area, refs))
    found: dict[CandidateRef, OpenCandidate | ReleaseError] = {}
    for ref in refs:
        try:
            if ref in records:
                read = records[ref]
                record = Candidate.from_bytes(read.manifest, area.shown(ref, MANIFEST))
                opened = OpenCandidate(ref, read.manifest, record, read.attestations)
                found[ref] = _at_its_place(opened, services)
            else:
                found[ref] = open_candidate(ref, services)
        except (IntegrityError, ConfigurationError) as error:
            found[ref] = error
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
    problems = []
    for record in opened.record.files:
        path = f"{area.folder(opened.ref)}/{record.path}"
        try:
            size = services.retry(f"stat {path}", lambda path=path: services.share.stat(path).size)  # type: ignore[misc]
        except PathNotFound:
            problems.append(f"{area.shown(opened.ref, record.path)} is missing")
            continue
        if size != record.size:
            problems.append(
                f"{area.shown(opened.ref, record.path)}: expected {record.size} bytes, found {size}"
            )
    if problems:
        raise IntegrityError(
            f"candidate {opened.ref} is incomplete: {problems[0]}",
            hint="export the build again under a new build number",
            reasons=problems,
        )


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
    decision = decide(
        opened.manifest,
        opened.attestations,
        trusted=services.trusted_keys,
        policy=services.policy,
        facts=facts or Facts(services.now()),
        plan=plan,
    )
    return replace(decision, altered=(*decision.altered, *misnamed(opened.attestations)))


def require_unaltered(opened: OpenCandidate, services: Services) -> None:
    """Refuse to go on with a candidate whose attestations or manifest were altered.

    Raises:
        IntegrityError: ``reasons`` has every finding.
    """
    altered = gate_decision(opened, services).altered
    if altered:
        raise _altered(opened, altered, ())


def require_open_gate(opened: OpenCandidate, facts: Facts, plan: Plan, services: Services) -> Decision:
    """Refuse unless the gate is open.

    Raises:
        IntegrityError: Something was altered; ``reasons`` has every finding.
        GateRefused: The candidate may not be promoted; ``reasons`` has every unmet condition.
    """
    decision = gate_decision(opened, services, facts=facts, plan=plan)
    if decision.altered:
        raise _altered(opened, decision.altered, decision.reasons)
    if not decision.allowed:
        unmet = f"{len(decision.unmet)} condition{'s' if len(decision.unmet) > 1 else ''}"
        raise GateRefused(
            f"candidate {opened.ref} may not be promoted: {unmet} not met",
            hint="each reason says what to do; 'candidate show' lists what is recorded",
            reasons=decision.reasons,
        )
    return decision


def _altered(opened: OpenCandidate, altered: Sequence[str], reasons: Sequence[str]) -> IntegrityError:
    return IntegrityError(
        f"candidate {opened.ref} was altered: {altered[0]}",
        hint="find out who changed the share; do not promote this candidate",
        reasons=[*altered, *reasons],
    )
