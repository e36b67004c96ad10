"""Approve: a person's signed consent to exactly one plan. And override, for emergencies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused, IntegrityError, ReleaseError
from jenkins_release.base.files import read_named
from jenkins_release.base.strict_json import NotText
from jenkins_release.base.text import did_you_mean
from jenkins_release.records.attestation import APPROVAL, OVERRIDE
from jenkins_release.records.plan import Plan
from jenkins_release.rules.gate.approvals import ATTESTED_REQUESTER, given_twice, overrides, unheard_approval
from jenkins_release.rules.gate.conditions import Facts, Reason, verdicts
from jenkins_release.rules.gate.decision import OVERRIDABLE, Decision
from jenkins_release.rules.gate.drift import drift
from jenkins_release.rules.gate.evidence import Counted, Evidence
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.attest import Claim, Unheard, attest, named, trusted_key
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidate
from jenkins_release.steps.candidate.speaker import speaker
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.notices.announce import announced
from jenkins_release.steps.promotion.plan import make_plan, require_free_way

_MAX_PLAN_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class ApprovalRequest:
    """A person's consent to a plan.

    Attributes:
        plan: File that ``promote plan --out`` wrote.
        approver: Who approves; the key's owner by default.
        reason: Why; recorded.
        key: URI of the approval key; ``signing.approval_key`` by default.
        dry_run: Check everything, write nothing.
        same_build: Whether the same Jenkins build promotes afterwards. The gate takes the user who started
            it as the requester, who differs from the plan's if the build was restarted.
    """

    plan: Path
    approver: str
    reason: str
    key: str = ""
    dry_run: bool = False
    same_build: bool = False


@dataclass(frozen=True)
class OverrideRequest:
    """A decision to release although some conditions are not met.

    Attributes:
        plan: File that ``promote plan --out`` wrote.
        conditions: Names of the conditions to waive, as the gate's reasons name them.
        by: Who decides; the key's owner by default.
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
        by: Who approved or decided.
        head: SHA-256 in hex of the last attestation's file, to be kept elsewhere.
        found: Whether it existed already, so that nothing was signed.
    """

    plan: Plan
    file: str
    decision: Decision
    by: str
    head: str = ""
    found: bool = False


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
            an obstacle to the promotion.
        IntegrityError: The plan file or the candidate was altered, or a release tag is taken.
        GateRefused: The approval would not count, because the plan is out of date or the approver may not
            approve it. ``reasons`` lists everything, and nothing was recorded.
    """
    reason = named("reason", request.reason)
    plan = read_plan(request.plan)
    signer = services.signer("approval", request.key)
    approver = speaker("approver", request.approver, "approval", signer, services)
    opened, now, facts = _current(plan, services)
    key = trusted_key(signer, services)
    # In the promote job, this is the user who started the build. The plan may come from another agent.
    told = services.user() if key.notary else ""
    claim = Claim(
        APPROVAL,
        {"plan": plan.model_dump(mode="json", by_alias=True, exclude_none=True), "planDigest": plan.digest},
        {"approver": approver, "requester": plan.requester, "reason": reason}
        | ({ATTESTED_REQUESTER: told} if told else {}),
        {},
    )
    # For the gate, the requester is the user who runs the promotion, whoever made the plan.
    run = now.model_copy(update={"requester": services.user()}) if request.same_build else now
    unheard = _unheard_approval(run, opened, services)
    file, opened, found = attest(opened, claim, signer, services, dry_run=request.dry_run, unheard=unheard)
    decision = opened.decision(facts=facts, plan=now)
    return ApprovalReport(plan, file, decision, approver, opened.head, found)


@announced("promote override", _by_plan)
def override_gate(request: OverrideRequest, services: Services) -> ApprovalReport:
    """Record a signed override of conditions for one plan ("break glass").

    Raises:
        ConfigurationError: Not a plan, unknown conditions, no name or reason, a key that the gate
            would not count, or an obstacle to the promotion.
        IntegrityError: The plan file or the candidate was altered, or a release tag is taken. Neither can
            be overridden.
        GateRefused: The plan is out of date.
    """
    reason = named("reason", request.reason)
    unknown = sorted({*request.conditions} - OVERRIDABLE)
    if unknown or not request.conditions:
        question = f"{did_you_mean(unknown[0], OVERRIDABLE)} " if unknown else ""
        raise ConfigurationError(
            f"{unknown[0]!r} is not a condition that can be overridden"
            if unknown
            else "no condition is named",
            hint=f"{question.lstrip()}the gate's reasons name them: {', '.join(sorted(OVERRIDABLE))}",
        )
    plan = read_plan(request.plan)
    signer = services.signer("override", request.key)
    by = speaker("by", request.by, "override", signer, services)
    opened, now, facts = _current(plan, services)
    predicate = {
        "conditions": sorted({*request.conditions}),
        "plan": plan.model_dump(mode="json", by_alias=True, exclude_none=True),
        "planDigest": plan.digest,
    }
    claim = Claim(OVERRIDE, predicate, {"by": by, "reason": reason}, {})
    unheard = _unheard_override(now, services)
    file, opened, found = attest(opened, claim, signer, services, dry_run=request.dry_run, unheard=unheard)
    decision = opened.decision(facts=facts, plan=now)
    return ApprovalReport(plan, file, decision, by, opened.head, found)


def read_plan(path: Path) -> Plan:
    """Read a plan file.

    Raises:
        ConfigurationError: It cannot be read, or is not Unicode text.
        IntegrityError: It is not a plan, or not in the form that ``promote plan --out`` writes.
    """
    data = read_named(path, _MAX_PLAN_BYTES, what="the plan", hint="'promote plan --out' writes one")
    try:
        plan = Plan.from_bytes(data, str(path))
    except NotText as error:
        raise ConfigurationError(error.message, hint="make the plan again: 'promote plan --out'") from error
    if plan.to_bytes() != data:
        raise IntegrityError(
            f"{path} is not in the form that 'promote plan --out' writes: its SHA-256 is not the plan's",
            hint="it was reformatted or altered: make the plan again",
        )
    return plan


def _current(plan: Plan, services: Services) -> tuple[OpenCandidate, Plan, Facts]:
    """Open the plan's candidate, and refuse a plan that is out of date or cannot be carried out."""
    ref = CandidateRef.parse(f"{plan.version}/{plan.build}")
    opened = open_candidate(ref, services)
    now, facts = make_plan(opened, services, requester=plan.requester)
    moved = drift(plan, now)
    if moved:
        raise GateRefused(
            f"the plan of {ref} has moved since it was made: {moved[0]}",
            hint="make the plan again",
            reasons=moved,
        )
    require_free_way(now, "nothing was recorded")
    return opened, now, facts


def _unheard_approval(plan: Plan, opened: OpenCandidate, services: Services) -> Unheard:
    """Return a check that tells an approver now, not at the release, that the approval would not count."""
    policy, record = services.policy, opened.record

    def unheard(evidence: Evidence, item: Counted) -> Sequence[Reason]:
        found = verdicts(evidence, policy)
        problems = unheard_approval(item, evidence, found, record, policy, plan)
        return problems or given_twice(item, evidence, found, record, policy, plan)

    return unheard


def _unheard_override(plan: Plan, services: Services) -> Unheard:
    policy = services.policy

    def unheard(evidence: Evidence, item: Counted) -> Sequence[Reason]:
        granted, why = overrides(evidence, plan, policy)
        if any(each.file == item.file for each in granted):
            return ()
        message = why[0] if why else "it is for another plan, or from before a withdrawal"
        return [Reason("approvals", message, "make the plan again")]

    return unheard
