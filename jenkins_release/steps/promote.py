"""Promote: what QA validated, to the registry that customers pull from, all or nothing.

Phase 1 pushes every image under a tag that belongs to this candidate and reads it back. Only when
all of them are proven, phase 2 sets the release tags, and phase 3 removes the temporary ones. A
promotion that died is finished by running it again: each phase looks first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from securesystemslib.signer import Signer

from jenkins_release.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.records.attestation import PROMOTION, sign_statement
from jenkins_release.records.plan import Plan, PlannedImage
from jenkins_release.registry.protocol import StoredImage
from jenkins_release.share.candidates import MANIFEST, CandidateRef
from jenkins_release.steps._open import OpenCandidate, check_sizes, open_candidate, require_open_gate
from jenkins_release.steps._phases import push_all, remove_candidate_tags, set_release_tags
from jenkins_release.steps.plan import make_plan
from jenkins_release.steps.services import Services
from jenkins_release.steps.status import promotion_attestation
from jenkins_release.version import PROGRAM


@dataclass(frozen=True)
class PromoteRequest:
    """What to promote.

    Attributes:
        candidate: The candidate.
        key: URI of the promotion key; ``signing.promotion_key`` by default.
        dry_run: Check gate and plan, change nothing.
    """

    candidate: CandidateRef
    key: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class PromotedImage:
    """An image in the registry, read back.

    Attributes:
        name: Short name.
        repository: Repository.
        digest: Manifest digest that customers pull.
        config_digest: The identity that QA validated.
        tags: Release tags that name it.
        pushed: Whether this run pushed it.
    """

    name: str
    repository: str
    digest: str
    config_digest: str
    tags: tuple[str, ...]
    pushed: bool


@dataclass(frozen=True)
class PromotionReport:
    """What a promotion did.

    Attributes:
        plan: What it found.
        images: Every image as it stands in the registry; empty after a dry run.
        changed: Whether anything had to be done.
        attestation: File name of the promotion attestation.
        seconds: Time from the first request to the last.
    """

    plan: Plan
    images: tuple[PromotedImage, ...]
    changed: bool
    attestation: str
    seconds: float


def promote(request: PromoteRequest, services: Services) -> PromotionReport:
    """Promote a candidate, or finish a promotion that died.

    Raises:
        GateRefused: The gate is shut; ``reasons`` has every unmet condition.
        IntegrityError: The candidate was altered, a release tag names other content, or the
            registry does not hold what QA validated.
        ConfigurationError: No such candidate, no key, or a repository that is missing.
        RemoteError: Share, daemon or registry failed, after the retries.
        LeaseHeld: Another promotion of this candidate is running.
    """
    begin = time.monotonic()
    signer = services.signer("promotion", request.key or services.configuration.signing.promotion_key)
    opened = open_candidate(request.candidate, services)
    require_open_gate(opened, services)
    check_sizes(opened, services)
    if request.dry_run:
        plan = make_plan(opened, services)
        _require_free_way(plan)
        return PromotionReport(plan, (), False, "", time.monotonic() - begin)
    with services.candidates.lease(opened.ref, "promote", services.holder()):
        started = services.now()
        opened = open_candidate(opened.ref, services)
        plan = make_plan(opened, services)
        _require_free_way(plan)
        stored = push_all(opened, plan, services)
        # A revocation during the push still counts: no release tag has been set so far.
        opened = open_candidate(opened.ref, services)
        require_open_gate(opened, services)
        changed = set_release_tags(plan, stored, services)
        changed |= remove_candidate_tags(plan, services)
        _require_released(opened, services)
        images = tuple(_promoted(planned, stored[planned.name]) for planned in plan.images)
        attestation = promotion_attestation(opened, services)
        if attestation is None:
            changed = True
            attestation = _attest(opened, plan, images, started, signer, services)
    return PromotionReport(plan, images, changed, attestation, time.monotonic() - begin)


def _attest(
    opened: OpenCandidate,
    plan: Plan,
    images: Sequence[PromotedImage],
    started: datetime,
    signer: Signer,
    services: Services,
) -> str:
    predicate = _predicate(plan, images, started, services)
    subjects = {f"{plan.registry}/{i.repository}": i.digest.removeprefix("sha256:") for i in images}
    subjects[MANIFEST] = opened.digest.removeprefix("sha256:")

    def make(sequence: int) -> bytes:
        return sign_statement(
            PROMOTION,
            predicate,
            subjects,
            sequence=sequence,
            signed_at=services.now(),
            signer=signer,
            extension={"candidate": opened.record.ident, "promotedBy": services.user()},
        )

    def attempt() -> str:
        return services.candidates.add_attestation(opened.ref, "promotion", make, services.holder())[0]

    return services.retry("add the promotion attestation", attempt)


def _require_released(opened: OpenCandidate, services: Services) -> None:
    """Read every tag once more: the last word is the registry's."""
    left = [image for image in make_plan(opened, services).images if image.state != "released"]
    if left:
        raise RemoteError(
            f"{left[0].repository}: the release tags were set, and the registry does not show them",
            hint="someone else changed the repository meanwhile; run the promotion again",
        )


def _require_free_way(plan: Plan) -> None:
    if plan.occupied:
        raise IntegrityError(
            f"a release tag is taken by other content: {plan.occupied[0]}",
            hint="a released version never changes: promote under a new version; nothing was pushed",
            reasons=[*plan.occupied, *plan.obstacles],
        )
    if plan.obstacles:
        raise ConfigurationError(
            f"the promotion cannot run: {plan.obstacles[0]}",
            hint="nothing was pushed",
            reasons=plan.obstacles,
        )


def _promoted(planned: PlannedImage, stored: StoredImage) -> PromotedImage:
    tags = tuple(now.tag for now in planned.tags)
    pushed = planned.state == "absent"
    return PromotedImage(planned.name, planned.repository, stored.digest, stored.config_digest, tags, pushed)


def _predicate(
    plan: Plan, images: Sequence[PromotedImage], started: datetime, services: Services
) -> dict[str, Any]:
    return {
        "registry": plan.registry,
        "images": [
            {
                "name": image.name,
                "repository": image.repository,
                "configDigest": image.config_digest,
                "digest": image.digest,
                "tags": list(image.tags),
            }
            for image in images
        ],
        "startedOn": started.isoformat(),
        "finishedOn": services.now().isoformat(),
        "buildUrl": services.environ.get("BUILD_URL", ""),
        "program": PROGRAM,
    }
