"""The single conditions of the gate, each a function that returns what is not met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from jenkins_release.records.attestation import (
    PROMOTION,
    PROVENANCE,
    PUBLICATION,
    REVOCATION,
    TEST_RESULT,
    WITHDRAWAL,
    Statement,
)
from jenkins_release.records.candidate import Candidate
from jenkins_release.registry.protocol import Scan
from jenkins_release.rules.evidence import Evidence
from jenkins_release.rules.people import people_with_keys, person_key
from jenkins_release.rules.policy import Policy
from jenkins_release.rules.versions import ReleaseVersion


@dataclass(frozen=True)
class Reason:
    """A condition that is not met.

    Attributes:
        condition: Its name, which an override names: ``sign-offs``, ``fail``, ``age``, ``soak``,
            ``suites``, ``build``, ``approvals``, ``separation``, ``downgrade``, ``freeze``,
            ``scan``, ``withdrawn``, ``unknown-key``.
        message: What is not met.
        hint: What to do.
    """

    condition: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.message} [{self.condition}: {self.hint}]"


@dataclass(frozen=True)
class Verdict:
    """A tester's latest verdict that counts.

    Attributes:
        tester: Who tested.
        passed: Whether the verdict is a pass.
        key: Name of the trusted key.
        keyid: Its key id.
        sequence: Number of the attestation.
        signed_at: When it was signed.
        file: Name of the attestation's file.
        suites: Test suites that the results cover.
    """

    tester: str
    passed: bool
    key: str
    keyid: str
    sequence: int
    signed_at: datetime
    file: str
    suites: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What the gate has to know besides the candidate's own folder.

    Attributes:
        now: The time, UTC.
        released: Versions that the registry holds.
        scans: Image name to the registry's scan of it. None where nobody looked: an image cannot be
            scanned before it is pushed.
        pins: Tags in the registry that keep images of this candidate because it was withdrawn.
    """

    now: datetime
    released: tuple[ReleaseVersion, ...] = ()
    scans: Mapping[str, Scan] | None = None
    pins: tuple[str, ...] = ()


def verdicts(evidence: Evidence) -> tuple[Verdict, ...]:
    """Return the latest verdict of each tester with each key, after the last revocation.

    A pass replaces a fail only where the same person gave it with the same key.
    """
    revoked = evidence.latest(REVOCATION)
    latest: dict[tuple[str, str], Verdict] = {}
    for item in evidence.of(TEST_RESULT):
        said = item.statement
        if said.sequence < revoked:
            continue
        tester = str(said.extension.get("tester") or item.key.name)
        passed = said.predicate.get("result") == "PASSED"
        keyid = item.key.key.keyid
        latest[person_key(tester), keyid] = Verdict(
            tester, passed, item.key.name, keyid, said.sequence, said.signed_at, item.file, _suites(said)
        )
    return tuple(latest[place] for place in sorted(latest))


def _suites(said: Statement) -> tuple[str, ...]:
    tests = said.extension.get("tests")
    suites = tests.get("suites") if isinstance(tests, dict) else None
    return tuple(name for name in suites if isinstance(name, str)) if isinstance(suites, list) else ()


def sign_offs(evidence: Evidence, found: Sequence[Verdict], policy: Policy, facts: Facts) -> list[Reason]:
    """Enough passes, none failing, fresh enough, by the right keys, covering the required suites."""
    reasons = [
        Reason(
            "fail",
            f"{verdict.tester}'s verdict of {verdict.signed_at:%Y-%m-%d %H:%M} UTC is fail",
            "the same tester passes it with the same key, or 'qa revoke' takes all verdicts back",
        )
        for verdict in found
        if not verdict.passed
    ]
    passed = [verdict for verdict in found if verdict.passed]
    if policy.sign_off_keys:
        passed = [verdict for verdict in passed if verdict.key in policy.sign_off_keys]
    oldest = facts.now - timedelta(days=policy.sign_off_max_age_days)
    if policy.sign_off_max_age_days and _lacks([v for v in passed if v.signed_at >= oldest], policy):
        # An old sign-off that nobody needs any more harms nobody.
        reasons += [
            Reason(
                "age",
                f"{verdict.tester}'s sign-off of {verdict.signed_at:%Y-%m-%d %H:%M} UTC is older than "
                f"{policy.sign_off_max_age_days} days",
                "test again and sign off again",
            )
            for verdict in passed
            if verdict.signed_at < oldest
        ]
    counted = _sign_offs(passed)
    if counted < policy.sign_offs:
        by = f" by {' or '.join(policy.sign_off_keys)}" if policy.sign_off_keys else " by trusted keys"
        plural = "s" if policy.sign_offs > 1 else ""
        reasons.append(
            Reason(
                "sign-offs",
                f"{policy.sign_offs} passing QA sign-off{plural}{by} required for this candidate, "
                f"found {counted}{_revoked(evidence, passed)}",
                "'jenkins-release qa sign-off' records a verdict",
            )
        )
    return reasons + [
        Reason("suites", f"no passing sign-off covers the test suite {suite!r}", "run it and sign off again")
        for suite in _uncovered(passed, policy)
    ]


def _sign_offs(passed: Sequence[Verdict]) -> int:
    return people_with_keys((verdict.tester, verdict.keyid) for verdict in passed)


def _uncovered(passed: Sequence[Verdict], policy: Policy) -> list[str]:
    covered = {suite for verdict in passed for suite in verdict.suites}
    return [suite for suite in policy.required_suites if suite not in covered]


def _lacks(passed: Sequence[Verdict], policy: Policy) -> bool:
    return _sign_offs(passed) < policy.sign_offs or bool(_uncovered(passed, policy))


def _revoked(evidence: Evidence, passed: Sequence[Verdict]) -> str:
    last = evidence.of(REVOCATION)[-1:]
    if not last or any(verdict.sequence > last[0].statement.sequence for verdict in passed):
        return ""
    own = last[0].statement.extension
    return (
        f"; {own.get('tester', '?')} revoked the sign-offs before it: {own.get('reason', 'no reason given')}"
    )


def build(evidence: Evidence, candidate: Candidate, policy: Policy, facts: Facts) -> list[Reason]:
    """Attested by the build, and rested long enough since then."""
    reasons = []
    if policy.build_attestation and not evidence.of(PROVENANCE):
        reasons.append(
            Reason(
                "build",
                "a build attestation by a trusted build key is required, found none",
                "export with --key, or signing.build_key",
            )
        )
    left = timedelta(hours=policy.soak_hours) - (facts.now - candidate.exported_at)
    if policy.soak_hours and left > timedelta():
        reasons.append(
            Reason(
                "soak",
                f"exported at {candidate.exported_at:%Y-%m-%d %H:%M} UTC, has to rest for "
                f"{policy.soak_hours:g} hours",
                f"wait another {left / timedelta(hours=1):.1f} hours",
            )
        )
    return reasons


def moment(policy: Policy, facts: Facts) -> list[Reason]:
    """Outside every freeze."""
    return [
        Reason(
            "freeze",
            f"releases are frozen from {freeze.start:%Y-%m-%d %H:%M} to {freeze.end:%Y-%m-%d %H:%M} UTC: "
            f"{freeze.reason}",
            "wait, or override with a reason",
        )
        for freeze in policy.freezes
        if freeze.start <= facts.now < freeze.end
    ]


def order(candidate: Candidate, policy: Policy, facts: Facts) -> list[Reason]:
    """Not older than what is released in the same line (major.minor)."""
    version = ReleaseVersion.parse(candidate.version)
    line = [v for v in facts.released if (v.major, v.minor) == (version.major, version.minor)]
    newest = max(line, default=None)
    if policy.allow_downgrade or newest is None or version >= newest:
        return []
    return [
        Reason(
            "downgrade",
            f"version {version} is older than {newest}, which is released in its line",
            "release a newer version, or override with a reason",
        )
    ]


def scans(candidate: Candidate, policy: Policy, facts: Facts) -> list[Reason]:
    """Every image scanned, with none of the severities found. A missing scan is not clean."""
    if not policy.scan or facts.scans is None:
        return []
    reasons = []
    for image in candidate.images:
        scan = facts.scans.get(image.name, Scan("none"))
        if not scan.complete:
            message = f"ECR has no completed scan of the image {image.name} (status: {scan.status})"
            reasons.append(Reason("scan", message, "turn on scanning for the repository, and wait for it"))
            continue
        bad = {severity: scan.findings[severity] for severity in policy.scan if scan.findings.get(severity)}
        if bad:
            counted = ", ".join(f"{number} {severity.lower()}" for severity, number in bad.items())
            message = f"ECR's scan of the image {image.name} found {counted}"
            reasons.append(Reason("scan", message, "mend the image and release a new build"))
    return reasons


def withdrawn(evidence: Evidence, candidate: Candidate, pins: Sequence[str] = ()) -> list[Reason]:
    """Not withdrawn after it was released, neither on the share nor in the registry.

    The registry remembers a withdrawal that somebody removed from the end of the chain.

    Args:
        evidence: The attestations.
        candidate: The candidate: one without images is released by publishing it.
        pins: Tags in the registry that keep images of the candidate because it was withdrawn.
    """
    last = evidence.of(WITHDRAWAL)[-1:]
    if not last and pins:
        return [
            Reason(
                "withdrawn",
                f"the registry holds the tag {pins[0]}, and no withdrawal stands on the share",
                "finish it with 'release withdraw', or find out who removed the withdrawal's attestation",
            )
        ]
    released = PROMOTION if candidate.images else PUBLICATION
    if not last or evidence.latest(released) > last[0].statement.sequence:
        return []
    own = last[0].statement.extension
    return [
        Reason(
            "withdrawn",
            f"{own.get('withdrawnBy', '?')} withdrew this release: {own.get('reason', 'no reason given')}",
            "release a new build, or override with a reason",
        )
    ]
