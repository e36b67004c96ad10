"""Whether a release is validated and in force, judged only by its attestations and trusted keys.

This is the gate for those who receive a release. It does not know the share, and knows the policy only with a
trust root. QA's pass, the promotion (or publication, for a candidate without images) and the verification
summary must be there, signed by trusted keys and in an unbroken chain, and nothing may contradict them. An
override does not replace a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.moments import day, minute
from jenkins_release.records.attestation import (
    APPROVAL,
    PROMOTION,
    PROVENANCE,
    PUBLICATION,
    SUMMARY,
    WITHDRAWAL,
    Statement,
    TrustedKey,
)
from jenkins_release.records.bundle import Bundle
from jenkins_release.records.release import NamedApproval, Promotion, Publication
from jenkins_release.records.summary import (
    ATTESTED,
    FAILED,
    NOT_ATTESTED,
    PASSED,
    Input,
)
from jenkins_release.rules.gate import conditions
from jenkins_release.rules.gate.approvals import approved_plan
from jenkins_release.rules.gate.attested_release import AttestedRelease, read_promotion, read_publication
from jenkins_release.rules.gate.authority import Authority, authority_of, refusals, released_plan
from jenkins_release.rules.gate.chain import Chain
from jenkins_release.rules.gate.conditions import Facts
from jenkins_release.rules.gate.drift import drift
from jenkins_release.rules.gate.evidence import CLOCK_SKEW, Counted, Evidence, collect
from jenkins_release.rules.gate.policy import NOTARY_ROLES, Policy


def judge(
    bundle: Bundle, trusted: Sequence[TrustedKey], now: datetime
) -> tuple[AttestedRelease | None, tuple[str, ...]]:
    """Judge a bundle. Opens nothing and raises nothing.

    Args:
        bundle: The bundle.
        trusted: Trusted keys.
        now: The time, UTC.

    Returns:
        The release, None if the bundle's ``candidate.json`` cannot be read; and every reason why it is not
        validated and in force, empty if it is.
    """
    try:
        release = examine(Chain.of(bundle.candidate, bundle.attestations), trusted, now)
    except IntegrityError as error:
        return None, (error.message, *error.reasons[1:])
    reasons = [*release.problems, *summary_problems(release), *approval_problems(release, trusted)[0]]
    if reasons:
        reasons += [f"not counted: {line}" for line in release.evidence.ignored]
    return release, tuple(dict.fromkeys(reasons))


def examine(chain: Chain, trusted: Sequence[TrustedKey], now: datetime) -> AttestedRelease:
    """Return what a candidate's attestations say about it as a release.

    Args:
        chain: The candidate and its attestations.
        trusted: Trusted keys.
        now: The time, UTC.

    Raises:
        IntegrityError: The candidate cannot be read.
    """
    record = chain.record
    evidence = collect(chain, trusted, now)
    policy = Policy(accept_notary=NOTARY_ROLES)  # whether that suffices is for the releaser to decide
    found = conditions.verdicts(evidence, policy)
    statements, files = chain.statements(), {document.file: document for document in chain.documents}
    last = max(statements, key=lambda name: statements[name].sequence, default="")
    summary = next((item for item in evidence.of(SUMMARY) if item.file == last), None)
    inputs = tuple(
        Input(said.sequence, said.predicate_type, files[name].sha256)
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
    problems += [r.message for r in conditions.sign_offs(evidence, found, policy, Facts(now))]
    problems += _withdrawn(evidence, PROMOTION if record.images else PUBLICATION)
    return AttestedRelease(
        record=record,
        evidence=evidence,
        verdicts=found,
        promotion=promotion,
        promoted=promoted,
        publication=publication,
        published=published,
        approvals=_approvals(evidence, promoted, published),
        summary=summary,
        summary_sha256=files[summary.file].sha256 if summary else "",
        inputs=inputs,
        problems=(*problems, *wrong, *odd),
    )


def summary_problems(release: AttestedRelease) -> list[str]:
    """Say why there is no valid verification summary, or why it does not match the release."""
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
        problems.append(f"the verification summary of {minute(said.signed_at)} says {result}")
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


def up_to_date(release: AttestedRelease, *, passed: bool) -> bool:
    """Whether the summary that ends the chain is the same as a new one would be."""
    if release.summary is None or release.subjects is None:
        return False
    said = release.summary.statement
    expected = release.expected_summary(passed=passed)
    return all(said.predicate.get(name) == value for name, value in expected.items())


def _withdrawn(evidence: Evidence, released: str) -> list[str]:
    last = evidence.of(WITHDRAWAL)[-1:]
    if not last or evidence.latest(released) > last[0].statement.sequence:
        return []
    own = last[0].statement.extension
    return [f"{own.get('withdrawnBy', '?')} withdrew this release: {own.get('reason', 'no reason given')}"]


def _approvals(
    evidence: Evidence, promoted: Promotion | None, published: Publication | None
) -> tuple[Counted, ...]:
    """Return the approvals by trusted keys that promotion and publication name."""
    named = {approval.sequence for made in (promoted, published) if made for approval in made.approvals}
    return tuple(item for item in evidence.of(APPROVAL) if item.statement.sequence in named)


def _credible(levels: Any, release: AttestedRelease) -> bool:
    """Whether the levels may be claimed: without a trusted build key, the verifier's word counts."""
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


@dataclass(frozen=True)
class Judgement:
    """What a bundle proves under a trust document.

    Attributes:
        release: The release; None if the bundle's ``candidate.json`` cannot be read.
        authority: The version by which it was judged.
        problems: Why it is not proven, promoted and in force.
        refused: Why the policy does not allow its promotion or publication.
        unchecked: What could not be checked.
    """

    release: AttestedRelease | None
    authority: Authority
    problems: tuple[str, ...]
    refused: tuple[str, ...]
    unchecked: tuple[str, ...]


def judge_under(bundle: Bundle, authorities: Sequence[Authority], now: datetime) -> Judgement:
    """Judge a bundle under the trust document that was in force. Opens nothing and raises nothing.

    The promotion key is not trusted for what others have to say: sign-offs and approvals are counted here,
    under the policy of the version that the promotion names.

    Args:
        bundle: The bundle.
        authorities: The trusted versions, from the pinned one to the newest.
        now: The time, UTC.
    """
    chain = Chain.of(bundle.candidate, bundle.attestations)
    authority = _named_authority(chain, authorities)
    try:
        release = examine(chain, authority.trusted, now)
    except IntegrityError as error:
        return Judgement(None, authority, (error.message, *error.reasons[1:]), (), ())
    problems = [*release.problems, *summary_problems(release)]
    problems += [f"not counted: {line}" for line in release.evidence.ignored] if problems else []
    refused = refusals(release, chain, authorities)
    if release.record.product != authority.product:
        other = (
            f"the bundle is of {release.record.product}, version {authority.number} of the trust document is "
            f"that of {authority.product}"
        )
        refused = (other, *refused)
    unchecked = _unseen(release, authorities)
    newest = authorities[-1]
    if now >= newest.expires:
        unchecked.append(
            f"whether there is a newer trust document: version {newest.number} expired at "
            f"{day(newest.expires)} UTC"
        )
    return Judgement(
        release,
        authority,
        tuple(dict.fromkeys(problems)),
        refused,
        tuple(dict.fromkeys(unchecked)),
    )


def approval_problems(
    release: AttestedRelease, trusted: Sequence[TrustedKey]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Check the approvals that promotion and publication name, without knowing the policy.

    Args:
        release: The release.
        trusted: Trusted keys.

    Returns:
        What is wrong with them, and what could not be checked.
    """
    problems: list[str] = []
    unchecked = ["how many approvals the policy asks for, and from whom: no trust root is given"]
    able = any("approval" in key.roles for key in trusted)
    for made, said in ((release.promotion, release.promoted), (release.publication, release.published)):
        if made is None or said is None:
            continue
        if not said.approvals:
            unchecked.append(f"{made.file}: the {made.statement.kind} rests on no approval")
        if said.approvals and not able:
            unchecked.append("the approvals: no key is trusted with the role 'approval'")
            continue
        for named in said.approvals:
            problems += [
                f"{made.file}: the approval {named.sequence:04d} by {named.approver} {problem}"
                for problem in _approval_problem(named, made, release)
            ]
    return tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(unchecked))


def _approval_problem(named: NamedApproval, made: Counted, release: AttestedRelease) -> list[str]:
    """Say why a named approval does not apply to what was released."""
    item = next((item for item in release.approvals if item.statement.sequence == named.sequence), None)
    if item is None:
        return ["is none by a trusted approval key"]
    if item.statement.sequence > made.statement.sequence:
        return ["was given afterwards"]
    plan = approved_plan(item)
    approver = str(item.statement.extension.get("approver", ""))
    if plan is None or plan.digest != named.plan_digest:
        return ["is of another plan than the one that is named"]
    if approver != named.approver:
        return [f"is by {approver}"]
    policy = str(made.statement.predicate.get("policy"))
    try:
        carried = released_plan(plan, made, release, policy)
    except IntegrityError as error:
        return [f"cannot be held against what was released: {error.message}"]
    return [f"is for another plan: {line}" for line in drift(plan, carried)]


def _named_authority(chain: Chain, authorities: Sequence[Authority]) -> Authority:
    """Return the version that the last promotion or publication names; the newest if it names none."""
    made = [said for said in chain.statements().values() if said.predicate_type in {PROMOTION, PUBLICATION}]
    # The promotion releases a candidate with images.
    made.sort(key=lambda said: (said.predicate_type == PROMOTION, said.sequence))
    found = authority_of(made[-1], authorities) if made else None
    return found or authorities[-1]


def _unseen(release: AttestedRelease, authorities: Sequence[Authority]) -> list[str]:
    """Name the policy's requirements that only the registry can answer."""
    found = []
    for made in (release.promotion, release.publication):
        if made is None:
            continue
        policy = (authority_of(made.statement, authorities) or authorities[-1]).policy
        if policy.scan:
            found.append("image scans, which the policy asks for: only the registry knows them")
        if not policy.allow_downgrade:
            found.append("whether a newer version was released before: only the registry knows them")
    return found
