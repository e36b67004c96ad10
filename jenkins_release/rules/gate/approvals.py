"""Approvals and overrides: which count, for which plan, and what they do not cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.people import names_someone, people_with_keys, person_key
from jenkins_release.records.attestation import (
    APPROVAL,
    OVERRIDE,
    PROVENANCE,
    REQUEST,
    WITHDRAWAL,
    TrustedKey,
)
from jenkins_release.records.base import canonical_json
from jenkins_release.records.candidate import Candidate
from jenkins_release.records.plan import Plan
from jenkins_release.rules.gate.conditions import Reason, Verdict, voice
from jenkins_release.rules.gate.drift import drift
from jenkins_release.rules.gate.evidence import Counted, Evidence
from jenkins_release.rules.gate.policy import Policy

ATTESTED_REQUESTER = "attestedRequester"
"""Field of an approval by a notary: whom Jenkins authenticated when the requesting build was started."""
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
    """Return the plan that an approval or override names, or None if it does not name one.

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
) -> tuple[list[Reason], tuple[Counted, ...]]:
    """Whether enough people who may approve have approved exactly this plan.

    Args:
        evidence: The attestations.
        found: The verdicts, for who tested.
        candidate: The candidate, for who built it.
        policy: What is asked for.
        plan: The plan as it would be made now; None without a look at the registry: approvals are then not
            checked.

    Returns:
        Why not, empty if there are enough; and the approvals that count.
    """
    if not policy.approvals or plan is None:
        return [], ()
    reasons: list[Reason] = []
    given: list[tuple[str, str]] = []
    counting: list[Counted] = []
    for item in evidence.of(APPROVAL):
        problems = unheard_approval(item, evidence, found, candidate, policy, plan)
        if problems:
            reasons += problems
        else:
            given.append(_voice(item))
            counting.append(item)
    counted = people_with_keys(given, policy.directory)
    if counted >= policy.approvals:
        return [], tuple(counting)
    wanted = (
        f"{policy.approvals} approvals of this plan, each by another person with a key of their own,"
        if policy.approvals > 1
        else "1 approval of this plan"
    )
    message = f"{wanted} required, found {counted}"
    hint = "'jenkins-release promote approve' approves a plan"
    lacking = policy.approvals - counted
    return [Reason("approvals", message, hint, lacking), *dict.fromkeys(reasons)], tuple(counting)


def approvals_of_one_plan(
    evidence: Evidence, found: Sequence[Verdict], candidate: Candidate, policy: Policy
) -> tuple[tuple[Counted, ...], int]:
    """Return the approvals of the plan that most people approved, and how many people those are.

    For a look without the registry: whether the plan is still the one that would be made is not asked.

    Args:
        evidence: The attestations.
        found: The verdicts, for who tested.
        candidate: The candidate, for who built it.
        policy: What is asked for.
    """
    by_plan: dict[str, list[Counted]] = {}
    for item in evidence.of(APPROVAL):
        plan = approved_plan(item)
        if plan is not None and not unheard_approval(item, evidence, found, candidate, policy, plan):
            by_plan.setdefault(plan.digest, []).append(item)
    most: tuple[tuple[Counted, ...], int] = (), 0
    for items in by_plan.values():
        count = people_with_keys(map(_voice, items), policy.directory)
        if count >= most[1]:
            most = tuple(items), count
    return most


def unheard_approval(
    item: Counted,
    evidence: Evidence,
    found: Sequence[Verdict],
    candidate: Candidate,
    policy: Policy,
    plan: Plan,
) -> list[Reason]:
    """Say why an approval does not count.

    Args:
        item: The approval; without a file name if it is not given yet.
        evidence: The attestations.
        found: The verdicts, for who tested.
        candidate: The candidate, for who built it.
        policy: What is asked for.
        plan: The plan as it would be made now.
    """
    approver, _ = _voice(item)
    who = f"the approval by {approver}" + (f" ({item.file})" if item.file else "")
    if item.statement.sequence < evidence.latest(WITHDRAWAL):
        return [Reason("approvals", f"{who} was given before the release was withdrawn", _AGAIN)]
    problems = _problems(item, who, approver, evidence, found, candidate, policy, plan)
    return list(dict.fromkeys([*problems, *same_key(who, item.key, evidence, found, policy)]))


def given_twice(
    item: Counted,
    evidence: Evidence,
    found: Sequence[Verdict],
    candidate: Candidate,
    policy: Policy,
    plan: Plan,
) -> list[Reason]:
    """Say, while one is still missing, that an approval adds nothing: the same person gave it before.

    Args:
        item: The new approval; the evidence includes it.
        evidence: The attestations.
        found: The verdicts, for who tested.
        candidate: The candidate, for who built it.
        policy: What is asked for.
        plan: The plan as it would be made now.
    """
    before = replace(evidence, counted=tuple(each for each in evidence.counted if each is not item))
    missing, counting = approvals(before, found, candidate, policy, plan)
    approver, own = _voice(item)
    same = [
        each
        for each in (counting if missing else ())
        if _voice(each)[1] == own and policy.directory.surely_same(_voice(each)[0], approver)
    ]
    message = f"{approver} has approved this plan already with this key ({same[0].file})" if same else ""
    return [Reason("approvals", message, "another person has to approve it too")] if same else []


def _voice(item: Counted) -> tuple[str, str]:
    """Return who approves, and what must be unique to that person for the approval to count."""
    approver = str(item.statement.extension.get("approver", ""))
    return approver, voice(item.key.key.keyid, approver, notary=item.key.notary)


def same_key(
    who: str, key: TrustedKey, evidence: Evidence, found: Sequence[Verdict], policy: Policy
) -> list[Reason]:
    """Say why a key may not sign an approval: one key under two names is one person.

    A notary's key speaks for many people, whom their names tell apart.

    Args:
        who: The approval, for the message.
        key: The key.
        evidence: The attestations, for the builder's key.
        found: The verdicts, for the testers' keys.
        policy: Who has to be apart.
    """
    if key.notary:
        return []
    keys = {
        "builder": {item.key.key.keyid for item in evidence.of(PROVENANCE)},
        "tester": {verdict.keyid for verdict in found},
    }
    hint = "somebody else has to approve, with a key of their own"
    return [
        Reason("separation", f"{who}: the key is the one that the {role} signed with", hint)
        for role in policy.separate
        if key.key.keyid in keys.get(role, ())
    ]


def _problems(
    item: Counted,
    who: str,
    approver: str,
    evidence: Evidence,
    found: Sequence[Verdict],
    candidate: Candidate,
    policy: Policy,
    plan: Plan,
) -> list[Reason]:
    named = approved_plan(item)
    if named is None:
        return [Reason("approvals", f"{item.file} names no plan that can be read", _AGAIN)]
    if not names_someone(approver):
        return [Reason("approvals", f"{item.file} names no approver", _AGAIN)]
    reasons = [
        Reason("approvals", f"{who} is for a plan that has moved: {line}", _AGAIN)
        for line in drift(named, plan)
    ]
    told = str(item.statement.extension.get(ATTESTED_REQUESTER) or "")
    reasons += speaking(who, item.key, approver, policy)
    reasons += unproven_request(who, named, item.key, told, evidence, policy)
    requesters = [named.requester, plan.requester, *([told] if told else [])]
    return reasons + [
        reason
        for requester in dict.fromkeys(requesters)
        for reason in entitlement(who, approver, requester, found, candidate, policy)
    ]


def speaking(who: str, key: TrustedKey, approver: str, policy: Policy) -> list[Reason]:
    """Say why a key may not approve in a person's name.

    Args:
        who: The approval, for the message.
        key: The key.
        approver: The person in whose name it approves.
        policy: Who is who, and whether a notary's word suffices.
    """
    problem = policy.voice_problem(key, approver, "approval")
    hint = "the approver signs with a key of their own, under a name that policy.people lists"
    return [Reason("approvals", f"{who}: {problem}", hint)] if problem else []


def unproven_request(
    who: str, plan: Plan, key: TrustedKey, told: str, evidence: Evidence, policy: Policy
) -> list[Reason]:
    """Say that nothing proves who asked for a plan: anyone could have written the name in it.

    A signed request proves it. So does a notary's approval that names whom Jenkins authenticated when the
    requesting build was started. Without a list of people, no proof is required.

    Args:
        who: The approval, for the message.
        plan: The plan that is approved.
        key: The key that approves.
        told: Who asked, according to the approving notary; empty if it does not say.
        evidence: The attestations, for the signed request.
        policy: Who is who, and who must be different people.
    """
    people = policy.directory
    if not people.listed or "requester" not in policy.separate:
        return []
    vouched = key.notary and policy.voice_problem(key, told, "approval") is None
    if vouched and people.surely_same(told, plan.requester):
        return []
    problems = []
    for item in evidence.of(REQUEST):
        if item.statement.predicate.get("planDigest") != plan.digest:
            continue
        requester = str(item.statement.extension.get("requester", ""))
        problem = policy.voice_problem(item.key, requester, "request")
        if problem is None and people.surely_same(requester, plan.requester):
            return []
        problems.append(f"; {item.file} does not: {problem or 'it names ' + repr(requester)}")
    message = f"{who}: nothing proves that {plan.requester} asked for this plan{''.join(problems)}"
    return [Reason("separation", message, "sign the request: plan with a request key, signing.request_key")]


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
    people = policy.directory
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
    for role in policy.separate:
        names = others.get(role, [])
        same = next((name for name in names if people.same(approver, name)), None)
        if same is not None:
            alias = "" if person_key(same) == person_key(approver) else f", who is {same} there"
            message = f"{who}: the approver is the {role} too{alias}"
            reasons.append(Reason("separation", message, "somebody else has to approve"))
        elif people.listed:
            reasons += [
                Reason(
                    "separation",
                    f"{who}: nothing proves that the approver is not the {role} too: {name or 'no name'} is "
                    "neither in policy.people nor in policy.machines",
                    "list the person under policy.people, or the account in policy.machines",
                )
                for name in dict.fromkeys(names)
                if not people.is_known(name)
            ]
    return reasons


def overrides(evidence: Evidence, plan: Plan | None, policy: Policy) -> tuple[list[Override], list[str]]:
    """Return the overrides that count for the current plan, and why others for it do not.

    An override does not count after a later withdrawal, whatever it names: its signer did not know why the
    release would be withdrawn.

    Args:
        evidence: The attestations.
        plan: The plan as it would be made now; without one, nothing counts.
        policy: Who is who, and whether a notary's word suffices.
    """
    if plan is None:
        return [], []
    found: list[Override] = []
    unheard: list[str] = []
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
        if problem := policy.voice_problem(item.key, by, "override"):
            unheard.append(f"{item.file} (override): {problem}")
            continue
        found.append(Override(tuple(str(name) for name in conditions), by, reason, item.file))
    return found, unheard
