"""The gate's conditions one by one: what each asks for, and whether it is met."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.moments import minute
from jenkins_release.rules.gate.conditions import Reason
from jenkins_release.rules.gate.decision import Decision
from jenkins_release.rules.gate.policy import Policy

State = Literal["met", "not met", "overridden", "not checked yet", "not required"]
ALTERED = "nothing-altered"
"""What is checked besides the conditions: no override helps."""


@dataclass(frozen=True)
class Check:
    """A condition of the gate.

    Attributes:
        condition: Its name.
        asks: What has to be so, in words; empty if the policy does not ask for it.
        state: Whether it is.
        lines: Why it is not met, or who overrode it and why.
    """

    condition: str
    asks: str
    state: State
    lines: tuple[str, ...] = ()


def checklist(decision: Decision, policy: Policy) -> tuple[Check, ...]:
    """Return every condition in the order in which a release meets them, alterations first.

    Args:
        decision: What the gate found.
        policy: The policy that it applied.
    """
    found = [
        Check(ALTERED, "nothing was altered", "not met" if decision.altered else "met", decision.altered)
    ]
    return (*found, *(_check(name, ask(policy), decision) for name, ask in _ASKS.items()))


def _check(name: str, asks: str, decision: Decision) -> Check:
    unmet = tuple(str(reason) for reason in decision.unmet if reason.condition == name)
    waived = tuple(
        f"{each.reason.message}; overridden by {each.override.by}: {each.override.reason}"
        for each in decision.waived
        if each.reason.condition == name
    )
    if unmet:
        return Check(name, asks, "not met", (*unmet, *waived))
    if waived:
        return Check(name, asks, "overridden", waived)
    if name in unseen(decision):
        return Check(name, asks, "not checked yet")
    return Check(name, asks, "met" if asks else "not required")


def brief(reason: Reason) -> str:
    """Return in a few words what is not met, for the name of a build."""
    if not reason.lacking:
        return _BRIEF[reason.condition]
    noun = "QA sign-off" if reason.condition == "sign-offs" else "approval"
    return f"{reason.lacking} {noun}{'s' if reason.lacking > 1 else ''} missing"


def unseen(decision: Decision) -> frozenset[str]:
    """Return the conditions that the gate has not looked at: they need a plan, or the images in ECR."""
    found = frozenset() if decision.complete else frozenset({"approvals", "separation"})
    return found if decision.scanned else found | {"scan"}


def _sign_offs(policy: Policy) -> str:
    by = f" with the keys {', '.join(policy.sign_off_keys)}" if policy.sign_off_keys else ""
    people = (
        f"{policy.sign_offs} tester passes" if policy.sign_offs == 1 else f"{policy.sign_offs} testers pass"
    )
    return f"{people} it{by}" if policy.sign_offs else ""


def _age(policy: Policy) -> str:
    days = policy.sign_off_max_age_days
    return f"the sign-offs are at most {days} days old" if days else ""


def _suites(policy: Policy) -> str:
    return f"the tests cover {', '.join(policy.required_suites)}" if policy.required_suites else ""


def _soak(policy: Policy) -> str:
    return f"it has rested for {policy.soak_hours:g} hours" if policy.soak_hours else ""


def _freeze(policy: Policy) -> str:
    if not policy.freezes:
        return ""
    spans = (
        f"{minute(each.start).removesuffix(' UTC')} to {minute(each.end)} ({each.reason})"
        for each in policy.freezes
    )
    return f"no freeze: {'; '.join(spans)}"


def _scan(policy: Policy) -> str:
    return f"ECR's scan finds nothing {' or '.join(policy.scan).lower()}" if policy.scan else ""


def _approvals(policy: Policy) -> str:
    count = policy.approvals
    return f"{count} {'person approves' if count == 1 else 'people approve'} this plan" if count else ""


def _separation(policy: Policy) -> str:
    if not policy.approvals or not policy.separate:
        return ""
    return f"who approves is not the {', '.join(policy.separate)}"


_BRIEF = {
    "unknown-key": "signed with an unknown key",
    "build": "no trusted build made it",
    "soak": "not rested long enough",
    "fail": "QA's verdict is fail",
    "sign-offs": "a QA sign-off does not count",
    "tested": "unknown what was tested",
    "age": "QA's sign-off is too old",
    "suites": "a test suite is missing",
    "sbom": "an SBOM is missing",
    "scan": "ECR's scan does not pass",
    "downgrade": "something newer is released",
    "withdrawn": "it was withdrawn",
    "freeze": "a freeze is on",
    "approvals": "an approval does not count",
    "separation": "the approver is not independent",
}
_ASKS: dict[str, Callable[[Policy], str]] = {
    "unknown-key": lambda _: "no fail, revocation or withdrawal is signed with an unknown key",
    "build": lambda policy: "a trusted build made it" if policy.build_attestation else "",
    "soak": _soak,
    "fail": lambda _: "no tester's last verdict is fail",
    "sign-offs": _sign_offs,
    "tested": lambda policy: "it is known what was tested" if policy.tested else "",
    "age": _age,
    "suites": _suites,
    "sbom": lambda policy: "each image has an SBOM" if policy.sbom else "",
    "scan": _scan,
    "downgrade": lambda policy: "" if policy.allow_downgrade else "nothing newer is released in its line",
    "withdrawn": lambda _: "it was not withdrawn",
    "freeze": _freeze,
    "approvals": _approvals,
    "separation": _separation,
}
