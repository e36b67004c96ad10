"""Approve: a person's signed consent to exactly one plan. And the override, for when it burns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jenkins_release.errors import ConfigurationError, GateRefused, IntegrityError, ReleaseError
from jenkins_release.records.attestation import APPROVAL, OVERRIDE
from jenkins_release.records.plan import Plan
from jenkins_release.rules.approvals import entitlement, same_key
from jenkins_release.rules.conditions import verdicts
from jenkins_release.rules.drift import drift
from jenkins_release.rules.evidence import collect
from jenkins_release.rules.gate import OVERRIDABLE, Decision
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps._announce import announced
from jenkins_release.steps._attest import Claim, attest, named
from jenkins_release.steps._open import OpenCandidate, gate_decision, open_candidate, require_unaltered
from jenkins_release.steps.plan import gather_facts, make_plan, require_free_way
from jenkins_release.steps.services import Services

_MAX_PLAN_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class ApprovalRequest:
    """A person's consent to a plan.

    Attributes:
        plan: File that ``promote plan --out`` wrote.
        approver: Who approves.
        reason: Why; recorded.
        key: URI of the approval key; ``signing.approval_key`` by default.
        dry_run: Check everything, write nothing.
    """

    plan: Path
    approver: str
    reason: str
    key: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class OverrideRequest:
    """A decision to release although conditions are not met.

    Attributes:
        plan: File that ``promote plan --out`` wrote.
        conditions: Names of the conditions to waive, as the gate's reasons name them.
        by: Who decides.
        reason: Why; recorded, and shown wherever the release is.
        key: URI of the override key; ``signing.override_key`` by default.
        dry_run: Check everything, write nothing.
    """

    plan: Path
    conditions: tuple[str, ...]
    by: str
    reason: str
    key: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class ApprovalReport:
    """What was recorded.

    Attributes:
        plan: The plan.
        file: File name of the attestation; empty after a dry run.
        decision: What the gate says with it.
    """

    plan: Plan
    file: str
    decision: Decision


def _by_plan(request: ApprovalRequest | OverrideRequest) -> tuple[str, str]:
    try:
        plan = read_plan(request.plan)
    except ReleaseError:
        return "", ""
    return plan.version, plan.build


@announced("promote approve", _by_plan)
def approve_plan(request: ApprovalRequest, services: Services) -> ApprovalReport:
    """Record a signed approval of a plan.

    Raises:
        ConfigurationError: Not a plan, no approver or reason, a key that the gate would not count, or
            something in the way of the promotion.
        IntegrityError: The plan file or the candidate was altered, or a release tag is taken.
        GateRefused: The approval would not count: the plan has moved since, or the approver may
            not approve it; ``reasons`` says all of it, and nothing was recorded.
    """
    approver, reason = named("approver", request.approver), named("reason", request.reason)
    plan = read_plan(request.plan)
    signer = services.signer("approval", request.key or services.configuration.signing.approval_key)
    opened, now = _current(plan, services)
    claim = Claim(
        APPROVAL,
        {"plan": plan.model_dump(mode="json", by_alias=True, exclude_none=True), "planDigest": plan.digest},
        {"approver": approver, "requester": plan.requester, "reason": reason},
        {},
    )
    require_unaltered(opened, services)
    _require_entitled(plan, approver, signer.public_key.keyid, opened, services)
    file = attest(opened, claim, signer, services, dry_run=request.dry_run)
    facts = gather_facts(now, services)
    return ApprovalReport(plan, file, gate_decision(opened, services, facts=facts, plan=now))


@announced("promote override", _by_plan)
def override_gate(request: OverrideRequest, services: Services) -> ApprovalReport:
    """Record a signed override of conditions for one plan ("break glass").

    Raises:
        ConfigurationError: Not a plan, unknown conditions, no name or reason, a key that the gate
            would not count, or something in the way of the promotion.
        IntegrityError: The plan file or the candidate was altered, or a release tag is taken: that can
            never be overridden.
        GateRefused: The plan has moved since.
    """
    by, reason = named("by", request.by), named("reason", request.reason)
    unknown = sorted({*request.conditions} - OVERRIDABLE)
    if unknown or not request.conditions:
        raise ConfigurationError(
            f"{unknown[0]!r} is no condition that can be overridden" if unknown else "no condition is named",
            hint=f"the gate's reasons name them: {', '.join(sorted(OVERRIDABLE))}",
        )
    plan = read_plan(request.plan)
    signer = services.signer("override", request.key or services.configuration.signing.override_key)
    opened, now = _current(plan, services)
    predicate = {
        "conditions": sorted({*request.conditions}),
        "plan": plan.model_dump(mode="json", by_alias=True, exclude_none=True),
        "planDigest": plan.digest,
    }
    claim = Claim(OVERRIDE, predicate, {"by": by, "reason": reason}, {})
    file = attest(opened, claim, signer, services, dry_run=request.dry_run)
    facts = gather_facts(now, services)
    return ApprovalReport(plan, file, gate_decision(opened, services, facts=facts, plan=now))


def read_plan(path: Path) -> Plan:
    """Read a plan file.

    Raises:
        ConfigurationError: It cannot be read.
        IntegrityError: It is not a plan, or not in the form that ``promote plan --out`` writes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_PLAN_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"the plan {path} cannot be read: {error.strerror}", hint="'promote plan --out' writes one"
        ) from error
    plan = Plan.from_bytes(data, str(path))
    if plan.to_bytes() != data:
        raise IntegrityError(
            f"{path} is not in the form that 'promote plan --out' writes: its SHA-256 is not the plan's",
            hint="it was reformatted or altered: make the plan again",
        )
    return plan


def _current(plan: Plan, services: Services) -> tuple[OpenCandidate, Plan]:
    """Open the plan's candidate, and refuse a plan that has moved or cannot be carried out."""
    ref = CandidateRef.parse(f"{plan.version}/{plan.build}")
    opened = open_candidate(ref, services)
    now = make_plan(opened, services)
    moved = drift(plan, now)
    if moved:
        raise GateRefused(
            f"the plan of {ref} has moved since it was made: {moved[0]}",
            hint="make the plan again",
            reasons=moved,
        )
    require_free_way(now, "nothing was recorded")
    return opened, now


def _require_entitled(
    plan: Plan, approver: str, keyid: str, opened: OpenCandidate, services: Services
) -> None:
    """Tell an approver at once that the approval would not count, not on the evening of the release."""
    who = f"the approval by {approver}"
    evidence = collect(opened.manifest, opened.attestations, services.trusted_keys, services.now())
    found = verdicts(evidence)
    reasons = entitlement(who, approver, plan.requester, found, opened.record, services.policy)
    reasons += same_key(who, keyid, evidence, found, services.policy)
    if reasons:
        raise GateRefused(
            f"the approval by {approver} would not count: {reasons[0].message}",
            hint=reasons[0].hint,
            reasons=[str(reason) for reason in reasons],
        )
