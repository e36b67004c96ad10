"""The conditions of the gate: each is a function that returns what is not met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.moments import minute
from jenkins_release.base.people import people_with_keys, person_key
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.records.attestation import (
    PROMOTION,
    PROVENANCE,
    PUBLICATION,
    REVOCATION,
    TEST_RESULT,
    WITHDRAWAL,
    Statement,
)
from jenkins_release.records.candidate import Candidate, CandidateImage, MultiPlatformRecord
from jenkins_release.records.scan import Scan
from jenkins_release.rules.gate.binding import UNKNOWN, Binding, binding
from jenkins_release.rules.gate.evidence import Counted, Evidence
from jenkins_release.rules.gate.policy import Policy


@dataclass(frozen=True)
class Reason:
    """A condition that is not met.

    Attributes:
        condition: Its name, which an override names: ``sign-offs``, ``fail``, ``age``, ``tested``,
            ``soak``, ``suites``, ``build``, ``approvals``, ``separation``, ``downgrade``, ``freeze``,
            ``scan``, ``sbom``, ``withdrawn``, ``unknown-key``.
        message: What is not met.
        hint: What to do.
        lacking: How many sign-offs or approvals are missing; 0 for all other reasons.
    """

    condition: str
    message: str
    hint: str
    lacking: int = 0

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
        notary: Whether Jenkins vouches for the tester, with a key that is not the tester's.
        problem: Why the key must not speak for the tester, so that a pass does not count; empty if it may.
        tested: How the verdict is bound to the candidate.
    """

    tester: str
    passed: bool
    key: str
    keyid: str
    sequence: int
    signed_at: datetime
    file: str
    suites: tuple[str, ...] = ()
    notary: bool = False
    problem: str = ""
    tested: Binding = "unknown"


@dataclass(frozen=True)
class Facts:
    """What the gate has to know in addition to the candidate's folder.

    Attributes:
        now: The time, UTC.
        released: Versions that the registry holds.
        scans: What :func:`scanned` names to the registry's scan of it. None without a look: an image cannot
            be scanned before it is pushed.
        pins: Tags in the registry that keep images of this candidate because it was withdrawn.
    """

    now: datetime
    released: tuple[ReleaseVersion, ...] = ()
    scans: Mapping[str, Scan] | None = None
    pins: tuple[str, ...] = ()


def verdicts(evidence: Evidence, policy: Policy | None = None) -> tuple[Verdict, ...]:
    """Return the latest verdict of each tester with each key, after the last revocation.

    A pass replaces a fail only if the same person gave it with the same key. A fail counts whomever it names:
    it is the verdict of the key's owner. A revocation takes back every pass, but a fail only if its key may
    speak for the person who revokes.

    Args:
        evidence: The attestations.
        policy: Who is who, and whether a notary's word suffices.
    """
    policy = policy or Policy()
    who = policy.directory
    revoked = evidence.latest(REVOCATION)
    heard = max(
        (
            item.statement.sequence
            for item in evidence.of(REVOCATION)
            if policy.voice_problem(item.key, _tester(item), "qa") is None
        ),
        default=0,
    )
    latest: dict[tuple[str, str], Verdict] = {}
    for item in evidence.of(TEST_RESULT):
        said = item.statement
        tester = _tester(item)
        passed = said.predicate.get("result") == "PASSED"
        keyid = item.key.key.keyid
        problem = policy.voice_problem(item.key, tester, "qa") or ""
        person = item.key.owner if who.listed and not passed else ""
        person = person or who.person(tester) or tester
        latest[person_key(person), keyid] = Verdict(
            tester,
            passed,
            item.key.name,
            keyid,
            said.sequence,
            said.signed_at,
            item.file,
            _suites(said),
            item.key.notary,
            problem,
            binding(said),
        )
    found = [latest[place] for place in sorted(latest)]
    return tuple(each for each in found if each.sequence > (revoked if each.passed else heard))


def unheard_verdict(item: Counted, evidence: Evidence, policy: Policy, now: datetime) -> list[Reason]:
    """Say why a verdict does not count, or no longer counts. Not knowing what was tested is not a reason.

    Args:
        item: The verdict; without a file name if it has not been given yet.
        evidence: The attestations, including the verdict.
        policy: What is asked for.
        now: The time, UTC.
    """
    mine = next((each for each in verdicts(evidence, policy) if each.file == item.file), None)
    if mine is None:
        message = "it was revoked, or the same tester gave a later verdict"
        return [Reason("sign-offs", message, "sign off again")]
    if mine.passed and not _by_named_key(mine, policy):
        message = f"policy.sign_off_keys names {' and '.join(policy.sign_off_keys)}, the key is {mine.key}"
        return [Reason("sign-offs", message, "a tester signs off with one of these keys")]
    if mine.passed and _is_old(mine, policy, now):
        message = f"it is older than {policy.sign_off_max_age_days} days"
        return [Reason("age", message, "test again and sign off again")]
    return []


def _by_named_key(verdict: Verdict, policy: Policy) -> bool:
    return not policy.sign_off_keys or verdict.key in policy.sign_off_keys


def _is_old(verdict: Verdict, policy: Policy, now: datetime) -> bool:
    days = policy.sign_off_max_age_days
    return bool(days) and verdict.signed_at < now - timedelta(days=days)


def _tester(item: Counted) -> str:
    return str(item.statement.extension.get("tester") or item.key.owner or item.key.name)


def _suites(said: Statement) -> tuple[str, ...]:
    tests = said.extension.get("tests")
    suites = tests.get("suites") if isinstance(tests, dict) else None
    return tuple(name for name in suites if isinstance(name, str)) if isinstance(suites, list) else ()


def sign_offs(evidence: Evidence, found: Sequence[Verdict], policy: Policy, facts: Facts) -> list[Reason]:
    """Enough passes, none failing, fresh enough, by the right keys, covering the required suites."""
    reasons = [
        Reason(
            "fail",
            f"{verdict.tester}'s verdict of {minute(verdict.signed_at)} is fail",
            "the same tester passes it with the same key, or 'qa revoke' takes all verdicts back",
        )
        for verdict in found
        if not verdict.passed
    ]
    passed = [verdict for verdict in found if verdict.passed]
    if _lacks([verdict for verdict in passed if not verdict.problem], policy):
        reasons += [
            Reason(
                "sign-offs",
                f"the sign-off by {verdict.tester} ({verdict.file}) does not count: {verdict.problem}",
                "the tester signs off with a key of their own",
            )
            for verdict in passed
            if verdict.problem
        ]
    passed = [verdict for verdict in passed if not verdict.problem]
    passed = [verdict for verdict in passed if _by_named_key(verdict, policy)]
    old = [verdict for verdict in passed if _is_old(verdict, policy, facts.now)]
    unbound = [v for v in passed if policy.tested and v.tested == "unknown"]
    if _lacks([v for v in passed if v not in old and v not in unbound], policy):
        # A sign-off that is no longer needed does no harm.
        reasons += [
            Reason(
                "age",
                f"{verdict.tester}'s sign-off of {minute(verdict.signed_at)} is older than "
                f"{policy.sign_off_max_age_days} days",
                "test again and sign off again",
            )
            for verdict in old
        ]
        reasons += [
            Reason(
                "tested",
                f"{verdict.tester}'s sign-off of {minute(verdict.signed_at)}: {UNKNOWN}",
                "load the candidate, test it, and sign off there or with its digest",
            )
            for verdict in unbound
        ]
    counted = _sign_offs(passed, policy)
    if counted < policy.sign_offs:
        by = f" by {' or '.join(policy.sign_off_keys)}" if policy.sign_off_keys else " by trusted keys"
        plural = "s" if policy.sign_offs > 1 else ""
        reasons.append(
            Reason(
                "sign-offs",
                f"{policy.sign_offs} passing QA sign-off{plural}{by} required for this candidate, "
                f"found {counted}{_revoked(evidence, passed)}",
                "'jenkins-release qa sign-off' records a verdict",
                policy.sign_offs - counted,
            )
        )
    return reasons + [
        Reason("suites", f"no passing sign-off covers the test suite {suite!r}", "run it and sign off again")
        for suite in _uncovered(passed, policy)
    ]


def _sign_offs(passed: Sequence[Verdict], policy: Policy) -> int:
    pairs = ((v.tester, voice(v.keyid, v.tester, notary=v.notary)) for v in passed)
    return people_with_keys(pairs, policy.directory)


def voice(keyid: str, name: str, *, notary: bool) -> str:
    """Return what must be unique to a person who counts: the key, or a notary's word for that person."""
    return f"{keyid} for {person_key(name)}" if notary else keyid


def _uncovered(passed: Sequence[Verdict], policy: Policy) -> list[str]:
    covered = {suite for verdict in passed for suite in verdict.suites}
    return [suite for suite in policy.required_suites if suite not in covered]


def _lacks(passed: Sequence[Verdict], policy: Policy) -> bool:
    return _sign_offs(passed, policy) < policy.sign_offs or bool(_uncovered(passed, policy))


def _revoked(evidence: Evidence, passed: Sequence[Verdict]) -> str:
    last = evidence.of(REVOCATION)[-1:]
    if not last or any(verdict.sequence > last[0].statement.sequence for verdict in passed):
        return ""
    own = last[0].statement.extension
    return (
        f"; {own.get('tester', '?')} revoked the sign-offs before it: {own.get('reason', 'no reason given')}"
    )


def build(evidence: Evidence, candidate: Candidate, policy: Policy, facts: Facts) -> list[Reason]:
    """Attested by the build, and old enough."""
    reasons = []
    if policy.build_attestation and not evidence.of(PROVENANCE):
        reasons.append(
            Reason(
                "build",
                "a build attestation by a trusted build key is required, found none",
                "export with a build key: signing.build_key",
            )
        )
    left = timedelta(hours=policy.soak_hours) - (facts.now - candidate.exported_at)
    if policy.soak_hours and left > timedelta():
        reasons.append(
            Reason(
                "soak",
                f"exported at {minute(candidate.exported_at)}, has to rest for {policy.soak_hours:g} hours",
                f"wait another {left / timedelta(hours=1):.1f} hours",
            )
        )
    return reasons


def moment(policy: Policy, facts: Facts) -> list[Reason]:
    """Outside every freeze."""
    return [
        Reason(
            "freeze",
            f"releases are frozen from {minute(freeze.start).removesuffix(' UTC')} to {minute(freeze.end)}: "
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


_UNCOUNTED = frozenset({"COMPLETE", "ACTIVE"})


def scanned(image: CandidateImage, digest: str = "") -> dict[str, str]:
    """Return what has to be scanned of an image: each of several platforms, but no index or attestation.

    Args:
        image: The image.
        digest: Its manifest digest in the registry, if it is for one platform.

    Returns:
        What it is called to the digest of its manifest.
    """
    if isinstance(image, MultiPlatformRecord):
        return {f"{image.name} for {part.platform}": part.manifest.digest for part in image.platforms}
    return {image.name: digest}


def scans(candidate: Candidate, policy: Policy, facts: Facts) -> list[Reason]:
    """Every image is scanned, without any of these severities. A missing scan does not count as clean."""
    if not policy.scan or facts.scans is None:
        return []
    reasons = []
    for name in (name for image in candidate.images for name in scanned(image)):
        scan = facts.scans.get(name, Scan("none"))
        bad = {severity: scan.findings[severity] for severity in policy.scan if scan.findings.get(severity)}
        if bad:
            counted = ", ".join(f"{number} {severity.lower()}" for severity, number in bad.items())
            message = f"ECR's scan of the image {name} found {counted}"
            reasons.append(Reason("scan", message, "mend the image and release a new build"))
        elif not scan.complete:
            status = f"{scan.status}, nothing is counted" if scan.status in _UNCOUNTED else scan.status
            message = f"ECR has no completed scan of the image {name} (status: {status})"
            reasons.append(Reason("scan", message, "turn on scanning for the repository, and wait for it"))
    return reasons


def sboms(candidate: Candidate, policy: Policy) -> list[Reason]:
    """Every image has an SBOM, which the export found valid: one for all its platforms, or one for each."""
    if not policy.sbom:
        return []
    described = {(each.image, each.platform) for each in candidate.documents if each.kind == "sbom"}
    lacking = []
    for image in candidate.images:
        platforms = [each.platform for each in image.parts if (image.name, each.platform) not in described]
        if platforms and (image.name, None) not in described:
            some = f" for {', '.join(platforms)}" if len(platforms) < len(image.parts) else ""
            lacking.append(f"the image {image.name} has no SBOM{some}")
    hint = "have the build write one, name it in images.sbom, and export a new build"
    return [Reason("sbom", message, hint) for message in lacking]


def withdrawn(evidence: Evidence, candidate: Candidate, pins: Sequence[str] = ()) -> list[Reason]:
    """Not withdrawn after its release, neither on the share nor in the registry.

    The registry remembers a withdrawal that was removed from the end of the chain.

    Args:
        evidence: The attestations.
        candidate: The candidate; publishing releases one without images.
        pins: Tags in the registry that keep images of the candidate because it was withdrawn.
    """
    last = evidence.of(WITHDRAWAL)[-1:]
    if not last and pins:
        return [
            Reason(
                "withdrawn",
                f"the registry holds the tag {pins[0]}, but the share has no record of a withdrawal",
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
