"""Approvals and overrides: whose count, for which plan, and what they do not cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jenkins_release.errors import IntegrityError
from jenkins_release.records.attestation import APPROVAL, OVERRIDE, PROVENANCE, WITHDRAWAL
from jenkins_release.records.base import canonical_json
from jenkins_release.records.candidate import Candidate
from jenkins_release.records.plan import Plan
from jenkins_release.rules.conditions import Reason, Verdict
from jenkins_release.rules.drift import drift
from jenkins_release.rules.evidence import Counted, Evidence
from jenkins_release.rules.people import people_with_keys, person_key, same_person
from jenkins_release.rules.policy import Policy

_AGAIN = "make the plan again and have it approved"


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
    except (IntegrityError, RecursionError):
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
    given: list[tuple[str, str]] = []
    since = evidence.latest(WITHDRAWAL)
    for item in evidence.of(APPROVAL):
        approver = str(item.statement.extension.get("approver", ""))
        who = f"the approval by {approver} ({item.file})"
        if item.statement.sequence < since:
            message = f"{who} was given before the release was withdrawn"
            reasons.append(Reason("approvals", message, _AGAIN))
            continue
        problems = _problems(item, who, approver, found, candidate, policy, plan)
        problems += same_key(who, item.key.key.keyid, evidence, found, policy)
        if problems:
            reasons += problems
        else:
            given.append((approver, item.key.key.keyid))
    counted = people_with_keys(given)
    if counted >= policy.approvals:
        return []
    wanted = (
        f"{policy.approvals} approvals of this plan, each by another person with a key of their own,"
        if policy.approvals > 1
        else "1 approval of this plan"
    )
    message = f"{wanted} required, found {counted}"
    hint = "'jenkins-release promote approve' approves a plan"
    return [Reason("approvals", message, hint), *dict.fromkeys(reasons)]


def same_key(
    who: str, keyid: str, evidence: Evidence, found: Sequence[Verdict], policy: Policy
) -> list[Reason]:
    """Say why a key may not sign an approval: one key under two names is one person.

    Args:
        who: The approval, for the message.
        keyid: Id of the key.
        evidence: The attestations, for the builder's key.
        found: The verdicts, for the testers' keys.
        policy: Who has to be apart.
    """
    keys = {
        "builder": {item.key.key.keyid for item in evidence.of(PROVENANCE)},
        "tester": {verdict.keyid for verdict in found},
    }
    hint = "somebody else has to approve, with a key of their own"
    return [
        Reason("separation", f"{who}: the key is the one that the {role} signed with", hint)
        for role in policy.separate
        if keyid in keys.get(role, ())
    ]


def _problems(
    item: Counted,
    who: str,
    approver: str,
    found: Sequence[Verdict],
    candidate: Candidate,
    policy: Policy,
    plan: Plan,
) -> list[Reason]:
    named = approved_plan(item)
    if named is None:
        return [Reason("approvals", f"{item.file} names no plan that can be read", _AGAIN)]
    if not person_key(approver):
        return [Reason("approvals", f"{item.file} names no approver", _AGAIN)]
    reasons = [
        Reason("approvals", f"{who} is for a plan that has moved: {line}", _AGAIN)
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
    """Return the overrides that count for the plan as it is now; none without a plan.

    One from before a withdrawal does not count after it, whatever it names: who signed it did not
    know why the release would be withdrawn.
    """
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
        if not isinstance(conditions, list) or item.statement.sequence < since:
            continue
        found.append(Override(tuple(str(name) for name in conditions), by, reason, item.file))
    return found
