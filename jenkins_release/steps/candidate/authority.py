"""Whether a candidate was released as the policy requires, for everything that shows or serves a release.

The policy is that of the pinned trust root, or else of ``release.toml``.
"""

from __future__ import annotations

from collections.abc import Collection

from jenkins_release.base.errors import GateRefused, IntegrityError
from jenkins_release.records.attestation import PROMOTION
from jenkins_release.rules.gate.attested_release import read_promotion
from jenkins_release.rules.gate.authority import RELEASING, refusals, workspace_refusals
from jenkins_release.rules.release.consumer import examine
from jenkins_release.steps.candidate.opened import OpenCandidate


def release_refusals(opened: OpenCandidate, kinds: Collection[str] = RELEASING) -> tuple[str, ...]:
    """Say why a candidate was not released as the policy asks for; nothing if it was, or never was released.

    Args:
        opened: The candidate.
        kinds: Predicate types that are looked at, of promotion and publication.

    Raises:
        ConfigurationError: A key of the trust document cannot be used.
    """
    chain, services = opened.dated, opened.services
    trusted = services.trusted_keys
    try:
        release = examine(chain, trusted, services.now())
    except IntegrityError as error:
        return (error.message,)
    named = release.promotion if release.record.images and PROMOTION in kinds else None
    other = read_promotion(named, release.record)[1] if named is not None else []
    if services.trust.version is None:
        return (*other, *workspace_refusals(release, chain, services.policy, trusted, kinds))
    return (*other, *refusals(release, chain, services.authorities, kinds))


def require_allowed(opened: OpenCandidate, kinds: Collection[str] = RELEASING) -> None:
    """Refuse a candidate that was not released as the policy asks for.

    Args:
        opened: The candidate.
        kinds: Predicate types that are looked at, of promotion and publication.

    Raises:
        GateRefused: ``reasons`` has what the policy requires and the chain lacks.
    """
    refused = release_refusals(opened, kinds)
    if refused:
        raise GateRefused(
            f"{opened.ref} was not released as the policy requires: {refused[0]}",
            hint="find out who signed it; to release it, have it approved and run 'promote run' or "
            "'release publish' again",
            reasons=refused,
        )
