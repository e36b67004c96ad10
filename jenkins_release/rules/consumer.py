"""Whether a release is validated and in force, told from its attestations and trusted keys alone.

This is the gate of those who receive a release. It knows neither the policy nor the share: QA's pass,
the promotion and the verification summary have to be there, signed by trusted keys and in an unbroken
chain, and nothing may stand against them. An override does not replace a pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from jenkins_release.errors import IntegrityError
from jenkins_release.records.attestation import (
    APPROVAL,
    PROMOTION,
    PROVENANCE,
    SUMMARY,
    WITHDRAWAL,
    Statement,
    TrustedKey,
    read_envelope,
)
from jenkins_release.records.bundle import Bundle
from jenkins_release.records.candidate import Candidate
from jenkins_release.records.release import Promotion
from jenkins_release.records.summary import (
    ATTESTED,
    FAILED,
    NOT_ATTESTED,
    PASSED,
    Input,
    summary_predicate,
    summary_subjects,
)
from jenkins_release.rules import conditions
from jenkins_release.rules.approvals import approved_plan
from jenkins_release.rules.conditions import Facts, Verdict
from jenkins_release.rules.evidence import CLOCK_SKEW, Counted, Evidence, collect
from jenkins_release.rules.policy import Policy


@dataclass(frozen=True)
class Release:
    """What the attestations of a candidate say of it as a release.

    Attributes:
        record: The candidate.
        evidence: Its attestations, sorted out.
        verdicts: Latest verdict of each tester.
        promotion: The last promotion that counts.
        promoted: What it left in the registry; None where there is none that can be read.
        approvals: Approvals of that promotion's plan, by trusted keys.
        summary: The verification summary, where one that counts ends the chain.
        summary_sha256: SHA-256 in hex of that summary's envelope; empty where there is none.
        inputs: Every attestation but that one.
        problems: Why the release is not validated and in force, the summary not looked at.
    """

    record: Candidate
    evidence: Evidence
    verdicts: tuple[Verdict, ...]
    promotion: Counted | None
    promoted: Promotion | None
    approvals: tuple[Counted, ...]
    summary: Counted | None
    summary_sha256: str
    inputs: tuple[Input, ...]
    problems: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Digest of ``candidate.json``."""
        return self.evidence.digest

    @property
    def attested(self) -> Counted | None:
        """The build attestation, where one counts."""
        return next(iter(self.evidence.of(PROVENANCE)), None)

    @property
    def passes(self) -> tuple[Verdict, ...]:
        """The passing verdicts."""
        return tuple(verdict for verdict in self.verdicts if verdict.passed)

    @property
    def overridden(self) -> tuple[str, ...]:
        """Conditions that the promotion passed by a signed override."""
        found = self.promotion.statement.predicate.get("overridden") if self.promotion else None
        items = found if isinstance(found, list) else []
        return tuple(
            f"{item.get('condition')}: {item.get('message')} -- overridden by {item.get('by')}"
            for item in items
            if isinstance(item, dict)
        )

    def superseding(self) -> Release:
        """Return the release as a new summary has to tell of it: an older one is an input too."""
        if self.summary is None:
            return self
        said = self.summary.statement
        given = Input(said.sequence, said.predicate_type, self.summary_sha256)
        return replace(self, summary=None, inputs=(*self.inputs, given))

    def expected_summary(self, *, passed: bool) -> dict[str, Any]:
        """Return the summary's predicate as it has to be, ``timeVerified`` left out.

        Raises:
            IntegrityError: There is no promotion to summarize.
        """
        policy = self.promotion.statement.predicate.get("policy") if self.promotion else None
        if not isinstance(policy, str):
            raise IntegrityError("no promotion by a trusted promotion key names the policy")
        attested = self.attested is not None
        return summary_predicate(self.record, policy, self.inputs, passed=passed, attested=attested)


def judge(
    bundle: Bundle, trusted: Sequence[TrustedKey], now: datetime
) -> tuple[Release | None, tuple[str, ...]]:
    """Judge a bundle. Opens nothing and raises nothing.

    Args:
        bundle: The bundle.
        trusted: Keys that are believed.
        now: The time, UTC.

    Returns:
        The release, None where the bundle's ``candidate.json`` cannot be read; and every reason why it
        is not validated and in force, none where it is.
    """
    try:
        release = examine(bundle.candidate, bundle.attestations, trusted, now)
    except IntegrityError as error:
        return None, (error.message, *error.reasons[1:])
    reasons = [*release.problems, *summary_problems(release)]
    if reasons:
        reasons += [f"not counted: {line}" for line in release.evidence.ignored]
    return release, tuple(dict.fromkeys(reasons))


def examine(
    candidate: bytes, attestations: Mapping[str, bytes], trusted: Sequence[TrustedKey], now: datetime
) -> Release:
    """Tell what a candidate's attestations say of it as a release.

    Args:
        candidate: The bytes of ``candidate.json``.
        attestations: Name to bytes of every attestation.
        trusted: Keys that are believed.
        now: The time, UTC.

    Raises:
        IntegrityError: The candidate cannot be read.
    """
    record = Candidate.from_bytes(candidate, "candidate.json")
    evidence = collect(candidate, attestations, trusted, now)
    found = conditions.verdicts(evidence)
    statements = _statements(attestations)
    last = max(statements, key=lambda name: statements[name].sequence, default="")
    summary = next((item for item in evidence.of(SUMMARY) if item.file == last), None)
    inputs = tuple(
        Input(said.sequence, said.predicate_type, sha256(attestations[name]).hexdigest())
        for name, said in statements.items()
        if summary is None or name != summary.file
    )
    promotion = next(reversed(evidence.of(PROMOTION)), None)
    promoted, wrong = _promoted(promotion, record)
    problems = [*evidence.altered, *evidence.objections]
    problems += [r.message for r in conditions.sign_offs(evidence, found, Policy(), Facts(now))]
    problems += _withdrawn(evidence)
    return Release(
        record=record,
        evidence=evidence,
        verdicts=found,
        promotion=promotion,
        promoted=promoted,
        approvals=_approvals(evidence, promotion),
        summary=summary,
        summary_sha256=sha256(attestations[summary.file]).hexdigest() if summary else "",
        inputs=inputs,
        problems=(*problems, *wrong),
    )


def summary_problems(release: Release) -> list[str]:
    """Say why the verification summary is none, or does not fit the release."""
    if release.summary is None:
        return ["no verification summary by a trusted promotion key ends the chain of attestations"]
    said = release.summary.statement
    if release.promoted is None:
        return []
    expected = release.expected_summary(passed=True)
    result, levels = said.predicate.get("verificationResult"), said.predicate.get("verifiedLevels")
    problems = []
    if result != PASSED:
        problems.append(f"the verification summary of {said.signed_at:%Y-%m-%d %H:%M} UTC says {result}")
    elif not _credible(levels, release):
        problems.append(f"the verification summary claims the levels {levels!r}, which nothing here supports")
    problems += [
        f"the verification summary's {name} is not that of this release"
        for name in ("verifier", "resourceUri", "policy", "inputAttestations")
        if said.predicate.get(name) != expected[name]
    ]
    subjects = {"candidate.json": release.digest.removeprefix("sha256:")} | {
        **summary_subjects(release.promoted)
    }
    if said.subjects != subjects:
        problems.append("the verification summary is about other images than the promotion")
    if not _same_time(said):
        problems.append("the verification summary's timeVerified is not the time when it was signed")
    return problems


def up_to_date(release: Release, *, passed: bool) -> bool:
    """Whether the summary that ends the chain says what a new one would say."""
    if release.summary is None or release.promoted is None:
        return False
    said = release.summary.statement
    expected = release.expected_summary(passed=passed)
    return all(said.predicate.get(name) == value for name, value in expected.items())


def _statements(attestations: Mapping[str, bytes]) -> dict[str, Statement]:
    found = {}
    for name, data in attestations.items():
        try:
            found[name] = read_envelope(data, name)[1]
        except IntegrityError:
            continue  # collect() has it among what was altered
    return found


def _promoted(promotion: Counted | None, record: Candidate) -> tuple[Promotion | None, list[str]]:
    """Read the promotion, and compare the images that it names with the candidate's."""
    if promotion is None:
        return None, ["no promotion by a trusted promotion key"]
    said = promotion.statement
    try:
        promoted = Promotion.of(said, promotion.file)
    except IntegrityError as error:
        return None, [error.message]
    problems = []
    if sorted((i.name, i.config_digest) for i in promoted.images) != sorted(
        (i.name, i.config_digest) for i in record.images
    ):
        problems.append(f"{promotion.file}: the promotion names other images than candidate.json")
    subjects = summary_subjects(promoted)
    if any(said.subjects.get(name) != digest for name, digest in subjects.items() if "#" not in name):
        problems.append(f"{promotion.file}: the promotion's subjects are not the images that it names")
    if not isinstance(said.predicate.get("policy"), str):
        return None, [*problems, f"{promotion.file}: the promotion names no policy"]
    return promoted, problems


def _withdrawn(evidence: Evidence) -> list[str]:
    last = evidence.of(WITHDRAWAL)[-1:]
    if not last or evidence.latest(PROMOTION) > last[0].statement.sequence:
        return []
    own = last[0].statement.extension
    return [f"{own.get('withdrawnBy', '?')} withdrew this release: {own.get('reason', 'no reason given')}"]


def _approvals(evidence: Evidence, promotion: Counted | None) -> tuple[Counted, ...]:
    """Return the approvals between the last withdrawal and the promotion, for plans of this candidate."""
    if promotion is None:
        return ()
    end = promotion.statement.sequence
    since = max(
        (w.statement.sequence for w in evidence.of(WITHDRAWAL) if w.statement.sequence < end), default=0
    )
    between = [item for item in evidence.of(APPROVAL) if since < item.statement.sequence < end]
    plans = [(item, approved_plan(item)) for item in between]
    return tuple(item for item, plan in plans if plan is not None and plan.candidate == evidence.digest)


def _credible(levels: Any, release: Release) -> bool:
    """Whether the levels may be claimed: who does not trust the build key takes the verifier's word."""
    if not isinstance(levels, list) or not levels or FAILED in levels:
        return False
    provenance = any(given.predicate_type == PROVENANCE for given in release.inputs)
    return levels == [NOT_ATTESTED] or (levels == [ATTESTED] and provenance)


def _same_time(said: Statement) -> bool:
    try:
        verified = datetime.fromisoformat(str(said.predicate.get("timeVerified")))
        return abs(verified - said.signed_at) <= CLOCK_SKEW
    except (ValueError, TypeError, OverflowError):
        return False
