"""Whether the policy allows what was released, whoever signed the release.

The holder of the promotion key can sign a promotion of anything. So the key is not trusted for what others
have to say: the gate decides again, as of the time when a promotion or publication was signed, from the
attestations before it. Those who receive a release do so (:mod:`jenkins_release.rules.release.consumer`), and
so does every step that shows or serves one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from pydantic import ValidationError

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.records.attestation import (
    APPROVAL,
    OVERRIDE,
    PROMOTION,
    PUBLICATION,
    Statement,
    TrustedKey,
)
from jenkins_release.records.plan import Plan, PlannedImage, TagNow
from jenkins_release.rules.gate.approvals import approved_plan
from jenkins_release.rules.gate.attested_release import AttestedRelease
from jenkins_release.rules.gate.chain import Chain
from jenkins_release.rules.gate.conditions import Facts
from jenkins_release.rules.gate.decision import decide
from jenkins_release.rules.gate.drift import drift
from jenkins_release.rules.gate.evidence import Counted, collect
from jenkins_release.rules.gate.policy import NOTARY_ROLES, Policy, policy_digest

RELEASING = (PROMOTION, PUBLICATION)
"""What makes a candidate a release."""
LEAST = Policy(accept_notary=NOTARY_ROLES, allow_downgrade=True)
"""What every policy requires: one QA pass."""


@dataclass(frozen=True)
class Authority:
    """A version of a trust document, for those who judge a release.

    Attributes:
        number: Its number.
        digest: Digest of what its root keys signed.
        policy: Its policy.
        policy_digest: Digest of the policy and the keys, which promotions and approvals name.
        trusted: Its keys; keys that a later version revokes are revoked here too.
        expires: When it expires, UTC.
        product: Its product.
    """

    number: int
    digest: str
    policy: Policy
    policy_digest: str
    trusted: tuple[TrustedKey, ...]
    expires: datetime
    product: str


def authority_of(said: Statement, authorities: Sequence[Authority]) -> Authority | None:
    """Return the version that a promotion or publication names; None if it is not a trusted one.

    One from before the trust root names no version, and falls under the newest version with exactly its
    policy and keys. What it names is not trusted: it only selects among trusted versions.
    """
    named = said.predicate.get("trust")
    if named is None:
        policy = said.predicate.get("policy")
        return next((each for each in reversed(authorities) if each.policy_digest == policy), None)
    if not isinstance(named, dict):
        return None
    place = (named.get("version"), named.get("digest"))
    return next((each for each in authorities if (each.number, each.digest) == place), None)


def refusals(
    release: AttestedRelease,
    chain: Chain,
    authorities: Sequence[Authority],
    kinds: Collection[str] = RELEASING,
) -> tuple[str, ...]:
    """Say why the trust document does not allow a release; empty if it does.

    Args:
        release: What its attestations say.
        chain: Those attestations.
        authorities: The trusted versions, from the pinned one to the newest.
        kinds: Predicate types to check.
    """
    found = [line for made in _made(release, kinds) for line in _against(made, release, chain, authorities)]
    return tuple(dict.fromkeys(found))


def workspace_refusals(
    release: AttestedRelease,
    chain: Chain,
    policy: Policy,
    trusted: Sequence[TrustedKey],
    kinds: Collection[str] = RELEASING,
) -> tuple[str, ...]:
    """Say why a policy without a trust root does not allow a release; empty if it does.

    Policies change, and without a trust root nothing shows which one was in force. A release that was made
    under another policy is checked against what every policy requires.

    Args:
        release: What its attestations say.
        chain: Those attestations.
        policy: The policy of ``release.toml``.
        trusted: Its keys.
        kinds: Predicate types to check.
    """
    found = []
    own = policy_digest(policy, trusted)
    for made in _made(release, kinds):
        named = str(made.statement.predicate.get("policy"))
        asked = policy if named == own else LEAST
        found += [
            f"{made.file}: the {made.statement.kind} went past the gate: {line}"
            for line in _unmet(made, release, chain, asked, named, trusted)
        ]
    return tuple(dict.fromkeys(found))


def _made(release: AttestedRelease, kinds: Collection[str]) -> list[Counted]:
    made = (release.promotion, release.publication)
    return [each for each in made if each is not None and each.statement.predicate_type in kinds]


def _against(
    made: Counted, release: AttestedRelease, chain: Chain, authorities: Sequence[Authority]
) -> list[str]:
    said = made.statement
    found = authority_of(said, authorities)
    authority = found or authorities[-1]
    refused = []
    if found is None:
        named = said.predicate.get("trust")
        version = named.get("version") if isinstance(named, dict) else None
        numbers = f"{authorities[0].number} to {authorities[-1].number}"
        refused.append(
            f"{made.file}: the {said.kind} names no trust document: its policy came from a workspace"
            if named is None
            else f"{made.file}: the {said.kind} names version {version!r} of a trust document that is none "
            f"of the versions {numbers} that the trust root leads to"
        )
    elif said.signed_at >= authority.expires:
        refused.append(
            f"{made.file}: the {said.kind} was signed after version {authority.number} had expired"
        )
    if said.predicate.get("policy") != authority.policy_digest:
        refused.append(
            f"{made.file}: the {said.kind} was made under the policy {said.predicate.get('policy')}, version "
            f"{authority.number} of the trust document is {authority.policy_digest}"
        )
    unmet = _unmet(made, release, chain, authority.policy, authority.policy_digest, authority.trusted)
    shown = f"version {authority.number} of the trust document"
    return refused + [f"{shown}: {line}" for line in unmet]


def _unmet(
    made: Counted,
    release: AttestedRelease,
    chain: Chain,
    policy: Policy,
    digest: str,
    trusted: Sequence[TrustedKey],
) -> list[str]:
    """Let the gate decide again, as of the time when a promotion or publication was signed."""
    before = chain.before(made.statement.sequence)
    try:
        plan = _plan_of(made, release, before, digest, trusted)
    except IntegrityError as error:
        return [error.message]
    decision = decide(
        before,
        trusted=trusted,
        policy=policy,
        facts=Facts(made.statement.signed_at),
        plan=plan,
    )
    # If the gate cannot judge a candidate, it has no unmet condition.
    unjudged = [line for line in decision.altered if line not in release.problems]
    return [reason.message for reason in decision.unmet] + unjudged


def _plan_of(
    made: Counted, release: AttestedRelease, before: Chain, policy: str, trusted: Sequence[TrustedKey]
) -> Plan:
    """Return the plan that was carried out, to compare approvals and overrides with."""
    evidence = collect(before, trusted, made.statement.signed_at)
    plans = [plan for item in evidence.of(APPROVAL, OVERRIDE) if (plan := approved_plan(item)) is not None]
    carried = [released_plan(plan, made, release, policy) for plan in reversed(plans)]
    for plan, out in zip(reversed(plans), carried, strict=True):
        if not drift(plan, out):
            return out
    return carried[0] if carried else released_plan(None, made, release, policy)


def released_plan(approved: Plan | None, made: Counted, release: AttestedRelease, policy: str) -> Plan:
    """Return the plan as it was carried out: what the release's records name, and the rest as approved.

    Raises:
        IntegrityError: The records name something that no plan can name.
    """
    try:
        return _released_plan(approved, made, release, policy)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise IntegrityError(
            f"{made.file}: the {made.statement.kind} names what no plan can name, as its {place}"
        ) from error


def _released_plan(approved: Plan | None, made: Counted, release: AttestedRelease, policy: str) -> Plan:
    record, promoted = release.record, release.promoted
    planned = {image.name: image for image in approved.images} if approved else {}
    images = []
    for image in promoted.images if promoted else ():
        known = planned.get(image.name)
        moving = {tag.tag: tag.moving for tag in known.tags} if known else {}
        tags = tuple(
            TagNow(
                tag=tag, moving=moving.get(tag, False), digest=image.digest, config_digest=image.config_digest
            )
            for tag in image.tags
        )
        images.append(
            PlannedImage(
                name=image.name,
                config_digest=image.config_digest,
                index_digest=image.index_digest,
                repository=image.repository,
                repository_exists=True,
                candidate_tag=known.candidate_tag if known else "",
                state="released",
                digest=image.digest,
                tags=tags,
                push_bytes=0,
            )
        )
    own = made.statement.extension
    area = approved.release_area if approved else ""
    registry = promoted.registry if promoted else ""
    if made is release.publication:
        # It releases files; images are part of the promotion, which may come later.
        images, registry = (list(approved.images), approved.registry) if approved else ([], "")
        area = release.published.location if release.published is not None else area
    return Plan(
        product=record.product,
        version=record.version,
        build=record.build,
        candidate=release.digest,
        policy=policy,
        requester=str(own.get("promotedBy") or own.get("publishedBy") or ""),
        registry=registry,
        images=tuple(images),
        installers=tuple(installer.path for installer in record.installers),
        release_area=area,
    )
