"""Whether a release is validated and in force, told from its attestations and trusted keys alone.

This is the gate of those who receive a release. It knows neither the policy nor the share: QA's pass, the
promotion (of a candidate without images the publication) and the verification summary have to be there,
signed by trusted keys and in an unbroken chain, and nothing may stand against them. An override does
not replace a pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from jenkins_release.errors import IntegrityError
from jenkins_release.records.attestation import (
    APPROVAL,
    PROMOTION,
    PROVENANCE,
    PUBLICATION,
    SUMMARY,
    WITHDRAWAL,
    Statement,
    TrustedKey,
    read_envelope,
)
from jenkins_release.records.bundle import Bundle
from jenkins_release.records.candidate import Candidate
from jenkins_release.records.release import Promotion, Publication
from jenkins_release.records.summary import (
    ATTESTED,
    FAILED,
    NOT_ATTESTED,
    PASSED,
    Input,
)
from jenkins_release.rules import conditions
from jenkins_release.rules.conditions import Facts
from jenkins_release.rules.evidence import CLOCK_SKEW, Counted, Evidence, collect
from jenkins_release.rules.policy import Policy
from jenkins_release.rules.released import Release, read_promotion, read_publication


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
    publication = next(reversed(evidence.of(PUBLICATION)), None)
    promoted, wrong = read_promotion(promotion, record) if record.images else (None, [])
    published, odd = read_publication(publication, record)
    if published is None and not record.images and not odd:
        odd = ["no publication by a trusted promotion key"]
    problems = [*evidence.altered, *evidence.objections]
    problems += [r.message for r in conditions.sign_offs(evidence, found, Policy(), Facts(now))]
    problems += _withdrawn(evidence, PROMOTION if record.images else PUBLICATION)
    return Release(
        record=record,
        evidence=evidence,
        verdicts=found,
        promotion=promotion,
        promoted=promoted,
        publication=publication,
        published=published,
        approvals=_approvals(evidence, promoted, published),
        summary=summary,
        summary_sha256=sha256(attestations[summary.file]).hexdigest() if summary else "",
        inputs=inputs,
        problems=(*problems, *wrong, *odd),
    )


def summary_problems(release: Release) -> list[str]:
    """Say why the verification summary is none, or does not fit the release."""
    if release.summary is None:
        return ["no verification summary by a trusted promotion key ends the chain of attestations"]
    said = release.summary.statement
    about = release.subjects
    if about is None:
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
    if said.subjects != {"candidate.json": release.digest.removeprefix("sha256:"), **about}:
        what = "images than the promotion" if release.record.images else "files than the publication"
        problems.append(f"the verification summary is about other {what}")
    if not _same_time(said):
        problems.append("the verification summary's timeVerified is not the time when it was signed")
    return problems


def up_to_date(release: Release, *, passed: bool) -> bool:
    """Whether the summary that ends the chain says what a new one would say."""
    if release.summary is None or release.subjects is None:
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


def _withdrawn(evidence: Evidence, released: str) -> list[str]:
    last = evidence.of(WITHDRAWAL)[-1:]
    if not last or evidence.latest(released) > last[0].statement.sequence:
        return []
    own = last[0].statement.extension
    return [f"{own.get('withdrawnBy', '?')} withdrew this release: {own.get('reason', 'no reason given')}"]


def _approvals(
    evidence: Evidence, promoted: Promotion | None, published: Publication | None
) -> tuple[Counted, ...]:
    """Return the approvals that promotion and publication name, as far as they are by trusted keys."""
    named = {approval.sequence for made in (promoted, published) if made for approval in made.approvals}
    return tuple(item for item in evidence.of(APPROVAL) if item.statement.sequence in named)


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
