"""Waiting: what a candidate waits for, who has to act, and with which command."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Literal

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.moments import minute
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.records.attestation import (
    APPROVAL,
    OVERRIDE,
    PROMOTION,
    PUBLICATION,
    REQUEST,
    RETIREMENT,
    WITHDRAWAL,
)
from jenkins_release.records.candidate import Candidate
from jenkins_release.rules.gate.approvals import approvals_of_one_plan
from jenkins_release.rules.gate.conditions import Reason
from jenkins_release.rules.gate.decision import Decision
from jenkins_release.rules.gate.evidence import Evidence
from jenkins_release.rules.gate.policy import Policy

WaitState = Literal["problem", "waiting", "resting", "done"]
Due = Literal["publish", "portal", "saas", "removal"]
"""What may follow a promotion, and ``removal`` from the portal what may follow a withdrawal."""
MANAGEMENT = "release management"
BUILD = "the build"
_BUILT = frozenset({"build", "sbom", "scan"})
_TESTED = frozenset({"sign-offs", "tested", "age", "suites"})
_OVER = frozenset({"withdrawn", "downgrade"})


@dataclass(frozen=True)
class Wait:
    """What comes next for a candidate. Texts may quote what others wrote: make them plain before showing.

    Attributes:
        state: ``problem``: somebody has to look; ``waiting``: somebody has to act; ``resting``: only time has
            to pass; ``done``: nothing comes next.
        what: What it waits for, as a noun; why nothing comes next if it is done.
        who: Who has to act; empty for no one.
        command: The command for that; empty for none.
        job: Kind of the Jenkins job for that: ``candidate``, ``qa``, ``promote``, ``publish``, or empty.
        reasons: The details.
    """

    state: WaitState
    what: str
    who: str = ""
    command: str = ""
    job: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """All of it in a line, without command and details."""
        return f"{self.what} ({self.who})" if self.who else self.what


def unreadable(ref: str, why: str) -> Wait:
    """Return what a candidate waits for that cannot be read or was altered."""
    version = ref.partition("/")[0]
    command = f"jenkins-release release history {version}"
    return Wait("problem", "finding out who changed it", MANAGEMENT, command, reasons=(why,))


def overtaken_by(ident: str, released: Iterable[str], policy: Policy) -> str:
    """Return the release that a candidate comes too late after; empty for none.

    Args:
        ident: The candidate, ``version/build``.
        released: Every release in force, ``version/build``.
        policy: Whether an older version may be released.
    """
    version, _, _ = ident.partition("/")
    own = _parsed(version)
    newest: tuple[ReleaseVersion, str] | None = None
    for other in released:
        number, _, _ = other.partition("/")
        if other == ident:
            continue
        if number == version:
            return other
        found = _parsed(number)
        if own is None or found is None or policy.allow_downgrade:
            continue
        same_line = (found.major, found.minor) == (own.major, own.minor)
        if same_line and found > own and (newest is None or found > newest[0]):
            newest = found, other
    return newest[1] if newest else ""


def waits_for(
    record: Candidate,
    decision: Decision,
    evidence: Evidence,
    policy: Policy,
    *,
    due: Collection[Due] = (),
    overtaken: str = "",
) -> Wait:
    """Say what a candidate waits for, and for whom.

    Args:
        record: The candidate.
        decision: What the gate says, with a plan or without.
        evidence: What its attestations prove.
        policy: What the gate requires.
        due: What is configured, and still to be done once it is promoted: ``publish`` counts only until its
            installers are published.
        overtaken: The release that it comes too late after, as :func:`overtaken_by` returns it.
    """
    ident = record.ident
    if decision.altered:
        return Wait(
            "problem",
            "finding out who changed it",
            MANAGEMENT,
            f"jenkins-release candidate verify {ident}",
            reasons=decision.altered,
        )
    by = _by_condition(decision.unmet)
    if unknown := by.get("unknown-key"):
        return Wait(
            "problem",
            "a look at what an unknown key signed",
            MANAGEMENT,
            f"jenkins-release release history {record.version}",
            reasons=_told(unknown),
        )
    out = evidence.latest(WITHDRAWAL)
    promoted, published = evidence.latest(PROMOTION), evidence.latest(PUBLICATION)
    if out and out > max(promoted, published):
        why = _told(by.get("withdrawn", []))
        if "removal" in due:
            command = f"jenkins-release release portal {record.version} --remove"
            return Wait("waiting", "its removal from the portal", MANAGEMENT, command, reasons=why)
        return Wait("done", "withdrawn", reasons=why)
    if promoted and evidence.latest(RETIREMENT) > promoted:
        return Wait("done", "retired")
    if promoted > out or (published > out and not record.images):
        return _released(record, published > out, due)
    if overtaken:
        return Wait("done", f"{overtaken} was released instead")
    if over := [reason for name in _OVER for reason in by.get(name, [])]:
        return Wait("done", "too late", reasons=_told(over))
    found = _unreleased(record, decision, evidence, policy, by)
    overrides = tuple(
        f"an override by {item.statement.extension.get('by', '?')} is signed ({item.file}), for one plan only"
        for item in evidence.of(OVERRIDE)
        if item.statement.sequence > max(out, promoted)
    )
    return replace(found, reasons=(*found.reasons, *overrides))


def _released(record: Candidate, published: bool, due: Collection[Due]) -> Wait:
    if "publish" in due and record.installers and not published:
        command = f"jenkins-release release publish {record.ident}"
        return Wait("waiting", "publication of its installers", MANAGEMENT, command, "publish")
    if "portal" in due and published:
        command = f"jenkins-release release portal {record.version}"
        return Wait("waiting", "the upload to the portal", MANAGEMENT, command)
    if "saas" in due and record.images:
        return Wait(
            "waiting", "the SaaS stack", "operations", f"jenkins-release saas refresh {record.version}"
        )
    return Wait("done", "released")


def _unreleased(
    record: Candidate,
    decision: Decision,
    evidence: Evidence,
    policy: Policy,
    by: dict[str, list[Reason]],
) -> Wait:
    ident = record.ident
    if failed := by.get("fail"):
        return Wait(
            "problem",
            "a new build, or a pass by who failed it",
            "the build and QA",
            "",
            "candidate",
            _told(failed),
        )
    if built := [reason for name in sorted(_BUILT) for reason in by.get(name, [])]:
        return Wait("problem", "a new build", BUILD, "", "candidate", _told(built))
    if tested := [reason for name in sorted(_TESTED) for reason in by.get(name, [])]:
        keys = f", with a key of {' or '.join(policy.sign_off_keys)}" if policy.sign_off_keys else ""
        command = f"jenkins-release qa sign-off {ident} --verdict pass --tester NAME --results junit.xml"
        return Wait("waiting", "a sign-off", f"QA{keys}", command, "qa", _told(tested))
    if "soak" in by:
        until = record.exported_at + timedelta(hours=policy.soak_hours)
        return Wait("resting", f"the end of its rest at {minute(until)}", reasons=_told(by["soak"]))
    if "freeze" in by:
        return Wait("resting", "the end of the freeze", reasons=_told(by["freeze"]))
    plan = f"jenkins-release promote plan {ident} --out plan.json"
    since = max(evidence.latest(WITHDRAWAL), evidence.latest(PROMOTION))
    _, people = approvals_of_one_plan(evidence.after(since), decision.verdicts, record, policy)
    missing = [*by.get("approvals", ()), *by.get("separation", ())]
    if policy.approvals and (missing if decision.complete else people < policy.approvals):
        asked = max(evidence.latest(REQUEST), evidence.latest(APPROVAL)) > since
        reasons = _told(missing)
        if not asked:
            return Wait("waiting", "a plan, and its approval", MANAGEMENT, plan, "promote", reasons)
        left = policy.approvals - people
        what = "approval" if left <= 1 else f"{left} approvals"
        return Wait("waiting", what, _approvers(policy), plan, "promote", reasons)
    if record.images:
        return Wait("waiting", "promotion", MANAGEMENT, f"jenkins-release promote run {ident}", "promote")
    return Wait("waiting", "publication", MANAGEMENT, f"jenkins-release release publish {ident}", "publish")


def _approvers(policy: Policy) -> str:
    who = " or ".join(policy.named_approvers) or "everyone with an approval key"
    apart = {"requester": "asked for it", "builder": "built it", "tester": "tested it"}
    out = " or ".join(apart[role] for role in policy.separate)
    return f"{who}, but no one who {out}" if out else who


def _by_condition(unmet: Iterable[Reason]) -> dict[str, list[Reason]]:
    found: dict[str, list[Reason]] = {}
    for reason in unmet:
        found.setdefault(reason.condition, []).append(reason)
    return found


def _told(reasons: Iterable[Reason]) -> tuple[str, ...]:
    return tuple(reason.message for reason in reasons)


def _parsed(version: str) -> ReleaseVersion | None:
    try:
        return ReleaseVersion.parse(version)
    except ConfigurationError:
        return None
