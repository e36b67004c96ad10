"""The gate: a pure function from the bytes on the share to a decision with every reason.

It opens nothing, and takes the time as an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.text import plain
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.records.attestation import TrustedKey
from jenkins_release.records.plan import Plan
from jenkins_release.rules.gate import conditions
from jenkins_release.rules.gate.approvals import Override, approvals, overrides
from jenkins_release.rules.gate.binding import UNKNOWN
from jenkins_release.rules.gate.chain import Chain
from jenkins_release.rules.gate.conditions import Facts, Reason, Verdict
from jenkins_release.rules.gate.evidence import Counted, Evidence, collect
from jenkins_release.rules.gate.policy import Policy

OVERRIDABLE = frozenset(
    {
        "fail",
        "age",
        "tested",
        "sign-offs",
        "suites",
        "build",
        "soak",
        "freeze",
        "downgrade",
        "scan",
        "sbom",
        "approvals",
        "separation",
        "withdrawn",
        "unknown-key",
    }
)
"""Conditions that a signed override may waive. Alterations can never be waived."""

BY_SPELLING = (
    "people are told apart by the spelling of their names, and the plan is believed who asked for it: "
    "policy.people lists no one"
)
"""The note on every decision about approvals under a policy that lists no people."""


@dataclass(frozen=True)
class Waived:
    """An unmet condition, and the override that waives it."""

    reason: Reason
    override: Override


@dataclass(frozen=True)
class Decision:
    """What the gate found.

    Attributes:
        unmet: Every unmet condition; the gate is open if there are none.
        altered: Signs of alterations; they shut the gate too, and cannot be waived.
        verdicts: Latest verdict of each tester.
        ignored: Attestations that did not count, each with the reason.
        waived: Unmet conditions that were overridden.
        complete: Whether approvals were checked too, if the policy requires any.
        scanned: Whether image scans were checked too, if the policy requires them.
        approved: The approvals that count, if the policy requires any.
        notes: The weak points that the decision relies on.
        candidate: Digest of the ``candidate.json`` of the decision.
        plan: Digest of the plan of the decision; empty without a plan.
        trust: Where policy and trusted keys come from, in a line.
    """

    unmet: tuple[Reason, ...]
    altered: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    ignored: tuple[str, ...] = ()
    waived: tuple[Waived, ...] = ()
    complete: bool = True
    scanned: bool = True
    approved: tuple[Counted, ...] = ()
    notes: tuple[str, ...] = ()
    candidate: str = ""
    plan: str = ""
    trust: str = ""

    @property
    def allowed(self) -> bool:
        """Whether the candidate may be promoted."""
        return not self.unmet and not self.altered

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every unmet condition as a sentence with its hint, and what did not count."""
        if not self.unmet:
            return ()
        return (*(str(reason) for reason in self.unmet), *(f"not counted: {line}" for line in self.ignored))


def decide(
    chain: Chain,
    *,
    trusted: Sequence[TrustedKey],
    policy: Policy,
    facts: Facts,
    plan: Plan | None = None,
) -> Decision:
    """Decide whether a candidate may be promoted.

    Args:
        chain: The candidate and its attestations.
        trusted: Trusted keys.
        policy: The policy.
        facts: The time, and what the registry holds.
        plan: The plan as it would be made now; without it, as for a listing, approvals and overrides are not
            checked.

    Returns:
        The decision, with all reasons at once.
    """
    evidence = collect(chain, trusted, facts.now)
    found = conditions.verdicts(evidence, policy)
    try:
        record = chain.record
        ReleaseVersion.parse(record.version)
    except (IntegrityError, ConfigurationError) as error:
        return Decision((), (error.message, *evidence.altered), found, evidence.ignored)
    unmet = [
        Reason("unknown-key", line, "have it signed with a trusted key, or find out who put it there")
        for line in evidence.objections
    ]
    unmet += conditions.sign_offs(evidence, found, policy, facts)
    unmet += conditions.build(evidence, record, policy, facts)
    unmet += conditions.moment(policy, facts)
    unmet += conditions.order(record, policy, facts)
    unmet += conditions.scans(record, policy, facts)
    unmet += conditions.sboms(record, policy)
    unmet += conditions.withdrawn(evidence, record, facts.pins)
    missing, approved = approvals(evidence, found, record, policy, plan)
    unmet += missing
    decision = _waive(unmet, evidence, found, plan, policy)
    by_spelling = (BY_SPELLING,) if policy.approvals and plan is not None and not policy.people else ()
    return replace(
        decision,
        complete=plan is not None or not policy.approvals,
        scanned=facts.scans is not None or not policy.scan,
        approved=approved,
        notes=(*_untested(found, unmet), *by_spelling),
        candidate=evidence.digest,
        plan=plan.digest if plan is not None else "",
    )


def _untested(found: Sequence[Verdict], unmet: Sequence[Reason]) -> list[str]:
    """Name the passes for which it is unknown what was tested, if the policy lets them count."""
    if any(reason.condition == "tested" for reason in unmet):
        return []
    return [
        f"{UNKNOWN} by {plain(verdict.tester)} ({verdict.file})"
        for verdict in found
        if verdict.passed and verdict.tested == "unknown"
    ]


def _waive(
    unmet: Sequence[Reason],
    evidence: Evidence,
    found: tuple[Verdict, ...],
    plan: Plan | None,
    policy: Policy,
) -> Decision:
    granted, unheard = overrides(evidence, plan, policy)
    left: list[Reason] = []
    waived: list[Waived] = []
    for reason in unmet:
        by = next((o for o in granted if reason.condition in OVERRIDABLE & {*o.conditions}), None)
        if by is None:
            left.append(reason)
        else:
            waived.append(Waived(reason, by))
    ignored = (*evidence.ignored, *unheard)
    return Decision(tuple(left), evidence.altered, found, ignored, tuple(waived))
