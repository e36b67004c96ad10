"""Approvals and overrides: whose count, for which plan, and what they do not cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jenkins_release.errors import IntegrityError
from jenkins_release.records.attestation import APPROVAL, OVERRIDE, WITHDRAWAL
from jenkins_release.records.base import canonical_json
from jenkins_release.records.candidate import Candidate
from jenkins_release.records.plan import Plan
from jenkins_release.rules.conditions import Reason, Verdict
from jenkins_release.rules.drift import drift
from jenkins_release.rules.evidence import Counted, Evidence
from jenkins_release.rules.people import person_key, same_person
from jenkins_release.rules.policy import Policy


@dataclass(frozen=True)
class Override:
    """A signed decision to release although a condition is not met.

    Attributes:
        conditions: Names of the conditions that it waives.
        by: Who decided.
        reason: Why.
        file: Name of the attestation's file.
    """

    conditions: tuple[str, ...]
    by: str
    reason: str
    file: str


def approved_plan(item: Counted) -> Plan | None:
    """Return the plan that an approval or override names, or None where it does not name one.

    The statement holds the whole plan and its digest: the two have to agree.
    """
    predicate = item.statement.predicate
    try:
        plan = Plan.from_bytes(canonical_json(predicate.get("plan")), item.file)
    except IntegrityError:
        return None
    return plan if plan.digest == predicate.get("planDigest") else None


def approvals(
    evidence: Evidence, found: Sequence[Verdict], candidate: Candidate, policy: Policy, plan: Plan | None
) -> list[Reason]:
    """Enough people approved exactly this plan, each of them entitled to.

    Args:
        evidence: The attestations.
        found: The verdicts, for who tested.
        candidate: The candidate, for who built it.
        policy: What is asked for.
        plan: The plan as it would be made now; None where nobody asked the registry: approvals are
            not looked at then.
    """
    if not policy.approvals or plan is None:
        return []
    reasons: list[Reason] = []
    people: set[str] = set()
    since = evidence.latest(WITHDRAWAL)
    for item in evidence.of(APPROVAL):
        if item.statement.sequence < since:
            continue
        named = approved_plan(item)
        approver = str(item.statement.extension.get("approver", ""))
        problems = _problems(item, named, approver, found, candidate, policy, plan)
        if problems:
            reasons += problems
        else:
            people.add(person_key(approver))
    if len(people) >= policy.approvals:
        return []
    plural = "s" if policy.approvals > 1 else ""
    message = f"{policy.approvals} approval{plural} of this plan required, found {len(people)}"
    return [Reason("approvals", message, "'jenkins-release promote approve' approves a plan"), *reasons]


def _problems(
    item: Counted,
    named: Plan | None,
    approver: str,
    found: Sequence[Verdict],
    candidate: Candidate,
    policy: Policy,
    plan: Plan,
) -> list[Reason]:
    again = "make the plan again and have it approved"
    if named is None:
        return [Reason("approvals", f"{item.file} names no plan that can be read", again)]
    if not person_key(approver):
        return [Reason("approvals", f"{item.file} names no approver", again)]
    who = f"the approval by {approver} ({item.file})"
    reasons = [
        Reason("approvals", f"{who} is for a plan that has moved: {line}", again)
        for line in drift(named, plan)
    ]
    requesters = (named.requester, plan.requester)
    return reasons + [
        reason
        for requester in dict.fromkeys(requesters)
        for reason in entitlement(who, approver, requester, found, candidate, policy)
    ]


def entitlement(
    who: str,
    approver: str,
    requester: str,
    found: Sequence[Verdict],
    candidate: Candidate,
    policy: Policy,
) -> list[Reason]:
    """Say why a person may not approve a candidate's promotion.

    Args:
        who: The approval, for the message.
        approver: Who approves.
        requester: Who asked for the promotion.
        found: The verdicts, for who tested.
        candidate: The candidate, for who built it.
        policy: What is asked for.
    """
    reasons = []
    if not policy.may_approve(approver):
        reasons.append(
            Reason("approvals", f"{who}: {approver} is not among the approvers", "ask one of the approvers")
        )
    others = {
        "requester": [requester],
        "builder": [candidate.built_by],
        "tester": [verdict.tester for verdict in found],
    }
    return reasons + [
        Reason("separation", f"{who}: the approver is the {role} too", "somebody else has to approve")
        for role in policy.separate
        if any(same_person(approver, name) for name in others.get(role, []))
    ]


def overrides(evidence: Evidence, plan: Plan | None) -> list[Override]:
    """Return the overrides that count for the plan as it is now; none without a plan."""
    if plan is None:
        return []
    found = []
    since = evidence.latest(WITHDRAWAL)
    for item in evidence.of(OVERRIDE):
        named = approved_plan(item)
        own = item.statement.extension
        by, reason = str(own.get("by", "")), str(own.get("reason", ""))
        conditions = item.statement.predicate.get("conditions")
        if named is None or drift(named, plan) or not person_key(by) or not reason.strip():
            continue
        if not isinstance(conditions, list) or ("withdrawn" in conditions) < (
            item.statement.sequence < since
        ):
            continue
        found.append(Override(tuple(str(name) for name in conditions), by, reason, item.file))
    return found
