"""The gate: a pure function from the bytes on the share to a decision with every reason.

It opens nothing and takes the time as an argument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from jenkins_release.errors import ConfigurationError, IntegrityError
from jenkins_release.records.attestation import TrustedKey
from jenkins_release.records.candidate import Candidate
from jenkins_release.records.plan import Plan
from jenkins_release.rules import conditions
from jenkins_release.rules.approvals import Override, approvals, overrides
from jenkins_release.rules.conditions import Facts, Reason, Verdict
from jenkins_release.rules.evidence import Counted, Evidence, collect
from jenkins_release.rules.policy import Policy
from jenkins_release.rules.versions import ReleaseVersion

OVERRIDABLE = frozenset(
    {
        "fail",
        "age",
        "sign-offs",
        "suites",
        "build",
        "soak",
        "freeze",
        "downgrade",
        "scan",
        "approvals",
        "separation",
        "withdrawn",
        "unknown-key",
    }
)
"""Conditions that a signed override may waive. That something was altered can never be waived."""


@dataclass(frozen=True)
class Waived:
    """A condition that is not met, and the override that lets it pass."""

    reason: Reason
    override: Override


@dataclass(frozen=True)
class Decision:
    """What the gate found.

    Attributes:
        unmet: Every condition that is not met; the gate is open when there is none.
        altered: Signs that something was altered; they close the gate too, and cannot be waived.
        verdicts: Latest verdict of each tester.
        ignored: Attestations that did not count, each with the reason.
        waived: Conditions that are not met and were overridden.
        complete: Whether approvals were looked at too, where the policy asks for some.
        scanned: Whether image scans were looked at too, where the policy asks for them.
        approved: The approvals that count, where the policy asks for some.
    """

    unmet: tuple[Reason, ...]
    altered: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    ignored: tuple[str, ...] = ()
    waived: tuple[Waived, ...] = ()
    complete: bool = True
    scanned: bool = True
    approved: tuple[Counted, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the candidate may be promoted."""
        return not self.unmet and not self.altered

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every unmet condition as a sentence with its hint, and what was not counted."""
        if not self.unmet:
            return ()
        return (*(str(reason) for reason in self.unmet), *(f"not counted: {line}" for line in self.ignored))


def decide(
    candidate: bytes,
    attestations: Mapping[str, bytes],
    *,
    trusted: Sequence[TrustedKey],
    policy: Policy,
    facts: Facts,
    plan: Plan | None = None,
) -> Decision:
    """Decide whether a candidate may be promoted.

    Args:
        candidate: The bytes of ``candidate.json``.
        attestations: File name to bytes, everything in the attestations folder.
        trusted: Keys that are believed.
        policy: What is asked for.
        facts: The time, and what the registry holds.
        plan: The plan as it would be made now; without it approvals and overrides are not looked
            at, as for a listing.

    Returns:
        The decision, with all reasons at once.
    """
    evidence = collect(candidate, attestations, trusted, facts.now)
    found = conditions.verdicts(evidence)
    try:
        record = Candidate.from_bytes(candidate, "candidate.json")
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
    unmet += conditions.withdrawn(evidence, record, facts.pins)
    missing, approved = approvals(evidence, found, record, policy, plan)
    unmet += missing
    decision = _waive(unmet, evidence, found, plan)
    return replace(
        decision,
        complete=plan is not None or not policy.approvals,
        scanned=facts.scans is not None or not policy.scan,
        approved=approved,
    )


def _waive(
    unmet: Sequence[Reason], evidence: Evidence, found: tuple[Verdict, ...], plan: Plan | None
) -> Decision:
    granted = overrides(evidence, plan)
    left: list[Reason] = []
    waived: list[Waived] = []
    for reason in unmet:
        by = next((o for o in granted if reason.condition in OVERRIDABLE & {*o.conditions}), None)
        if by is None:
            left.append(reason)
        else:
            waived.append(Waived(reason, by))
    return Decision(tuple(left), evidence.altered, found, evidence.ignored, tuple(waived))
