"""The gate: a pure function from the bytes on the share to a decision with every reason.

It opens nothing and takes the time as an argument. Order is decided by the sequence numbers
inside the signed statements, never by clocks or by file names. What is not signed by a trusted
key never counts in favour; a failing verdict or a revocation closes the gate whoever signed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from securesystemslib.dsse import Envelope

from jenkins_release.errors import IntegrityError
from jenkins_release.records.attestation import (
    PROVENANCE,
    REVOCATION,
    ROLES,
    TEST_RESULT,
    Statement,
    TrustedKey,
    read_envelope,
    verified_by,
)
from jenkins_release.records.candidate import manifest_digest

CLOCK_SKEW = timedelta(minutes=10)
"""How far a signer's clock may run ahead of ours."""


@dataclass(frozen=True)
class Policy:
    """What the gate asks for.

    Attributes:
        sign_offs: Testers, each with a key of their own, whose latest verdict must be a pass; at least 1.
        build_attestation: Whether a build attestation by a trusted build key is required.
    """

    sign_offs: int = 1
    build_attestation: bool = False


@dataclass(frozen=True)
class Verdict:
    """A tester's latest verdict that counts.

    Attributes:
        tester: Who tested.
        passed: Whether the verdict is a pass.
        key: Name of the trusted key.
        sequence: Sequence number of the attestation.
        signed_at: When it was signed.
        file: Name of the attestation's file.
    """

    tester: str
    passed: bool
    key: str
    sequence: int
    signed_at: datetime
    file: str


@dataclass(frozen=True)
class Decision:
    """What the gate found.

    Attributes:
        reasons: Every unmet condition, each a full sentence; the gate is open when there is none.
        altered: Those among the findings that mean that something was altered; they close the gate too.
        verdicts: Latest verdict of each tester, by tester.
        ignored: Attestations that did not count, each with the reason.
    """

    reasons: tuple[str, ...]
    altered: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    ignored: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the candidate may be promoted."""
        return not self.reasons and not self.altered


@dataclass
class _Findings:
    reasons: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def decide(
    candidate: bytes,
    attestations: Mapping[str, bytes],
    *,
    trusted: Sequence[TrustedKey],
    policy: Policy,
    now: datetime,
) -> Decision:
    """Decide whether a candidate may be promoted.

    Args:
        candidate: The bytes of ``candidate.json``.
        attestations: File name to bytes, everything in the attestations folder.
        trusted: Keys that are believed.
        policy: What is asked for.
        now: The time, UTC.

    Returns:
        The decision, with all reasons at once.
    """
    findings = _Findings()
    digest = manifest_digest(candidate).removeprefix("sha256:")
    counted = _trusted_statements(digest, attestations, trusted, now, findings)
    verdicts = _latest_verdicts(counted)
    failed = [verdict for verdict in verdicts if not verdict.passed]
    passed = [verdict for verdict in verdicts if verdict.passed]
    revocations = [s for _, s, _ in counted if s.predicate_type == REVOCATION]
    findings.reasons += [
        f"{verdict.tester}'s verdict of {verdict.signed_at:%Y-%m-%d %H:%M} UTC is fail" for verdict in failed
    ]
    counted_keys = len({verdict.key for verdict in passed})  # one key under two names is one sign-off
    if counted_keys < policy.sign_offs:
        last = max(revocations, key=lambda s: s.sequence, default=None)
        revoked = ""
        if last is not None and all(v.sequence < last.sequence for v in passed):
            who, why = last.extension.get("tester", "?"), last.extension.get("reason", "no reason given")
            revoked = f"; {who} revoked the sign-offs before it: {why}"
        findings.reasons.append(
            f"{policy.sign_offs} passing QA sign-off{'s' if policy.sign_offs > 1 else ''} by trusted keys "
            f"required for this candidate, found {counted_keys}{revoked}"
        )
    if policy.build_attestation and not any(s.predicate_type == PROVENANCE for _, s, _ in counted):
        findings.reasons.append("a build attestation by a trusted build key is required, found none")
    if findings.reasons:
        findings.reasons += [f"not counted: {line}" for line in findings.ignored]
    return Decision(tuple(findings.reasons), tuple(findings.altered), verdicts, tuple(findings.ignored))


_Counted = tuple[str, Statement, TrustedKey]


def _trusted_statements(
    digest: str,
    attestations: Mapping[str, bytes],
    trusted: Sequence[TrustedKey],
    now: datetime,
    findings: _Findings,
) -> list[_Counted]:
    counted: list[_Counted] = []
    for name in sorted(attestations):
        try:
            envelope, statement = read_envelope(attestations[name], name)
            key = verified_by(envelope, trusted)
        except IntegrityError as error:
            findings.altered.append(error.message if name in error.message else f"{name}: {error.message}")
            continue
        if statement.subjects.get("candidate.json") != digest:
            findings.altered.append(
                f"{name} is about another candidate.json than sha256:{digest[:12]}..., one was altered"
            )
            continue
        problem = _problem(envelope, statement, key, now)
        if key is None or problem is not None:
            harmful = statement.predicate_type == REVOCATION or (
                statement.predicate_type == TEST_RESULT and statement.predicate.get("result") != "PASSED"
            )
            (findings.reasons if harmful else findings.ignored).append(f"{name} ({statement.kind}) {problem}")
            continue
        counted.append((name, statement, key))
    numbers = [statement.sequence for _, statement, _ in counted]
    for number in sorted({n for n in numbers if numbers.count(n) > 1}):
        names = ", ".join(name for name, statement, _ in counted if statement.sequence == number)
        findings.altered.append(f"the attestation number {number} stands there more than once: {names}")
    return counted


def _problem(envelope: Envelope, statement: Statement, key: TrustedKey | None, now: datetime) -> str | None:
    if key is None:
        ids = ", ".join(f"{key_id[:12]}..." for key_id in envelope.signatures) or "nobody"
        return f"is signed by an unknown key ({ids})"
    role = ROLES.get(statement.predicate_type)
    if role is None:
        return f"is of the unknown type {statement.predicate_type!r}"
    if role not in key.roles:
        return f"needs a key with the role {role!r}; {key.name!r} has {', '.join(sorted(key.roles))}"
    if not key.valid_at(statement.signed_at):
        return f"was signed at {statement.signed_at:%Y-%m-%d %H:%M} UTC, outside the validity of {key.name!r}"
    if statement.signed_at > now + CLOCK_SKEW:
        return f"was signed in the future ({statement.signed_at:%Y-%m-%d %H:%M} UTC): check the clocks"
    return None


def _latest_verdicts(counted: Sequence[_Counted]) -> tuple[Verdict, ...]:
    revoked = max((s.sequence for _, s, _ in counted if s.predicate_type == REVOCATION), default=0)
    latest: dict[str, Verdict] = {}
    for name, statement, key in sorted(counted, key=lambda item: item[1].sequence):
        if statement.predicate_type != TEST_RESULT or statement.sequence < revoked:
            continue
        tester = str(statement.extension.get("tester") or key.name)
        passed = statement.predicate.get("result") == "PASSED"
        latest[tester.casefold()] = Verdict(
            tester, passed, key.name, statement.sequence, statement.signed_at, name
        )
    return tuple(latest[tester] for tester in sorted(latest))
