"""Promote: what QA validated, to the registry that customers pull from, all or nothing.

Phase 1 pushes every image under a tag that belongs to this candidate and reads it back. Only when
all of them are proven, phase 2 sets the release tags, and phase 3 removes the temporary ones. A
promotion that died is finished by running it again: each phase looks first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jenkins_release.errors import ConfigurationError, RemoteError
from jenkins_release.records.attestation import PROMOTION, WITHDRAWAL
from jenkins_release.records.plan import Plan, PlannedImage
from jenkins_release.rules.evidence import collect
from jenkins_release.rules.forecast import PUSHED, pushed_claim
from jenkins_release.rules.gate import Decision
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps._announce import announced
from jenkins_release.steps._attest import Claim, approval_claims, attest, override_claims
from jenkins_release.steps._events import by_candidate, promoted
from jenkins_release.steps._journal import PromotionJournal
from jenkins_release.steps._open import (
    OpenCandidate,
    check_sizes,
    gate_decision,
    open_candidate,
    require_open_gate,
    require_unaltered,
)
from jenkins_release.steps._phases import push_all, remove_candidate_tags, set_release_tags, with_scans
from jenkins_release.steps.plan import gather_facts, make_plan, require_free_way
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
        decision: What the gate said.
        changed: Whether anything had to be done.
        attestation: File name of the promotion attestation.
        seconds: Time from the first request to the last.
    """

    plan: Plan
    images: tuple[PromotedImage, ...]
    decision: Decision
    changed: bool
    attestation: str
    seconds: float


@announced("promote run", by_candidate, promoted)
def promote(request: PromoteRequest, services: Services) -> PromotionReport:
    """Promote a candidate, or finish a promotion that died.

    Raises:
        GateRefused: The gate is shut; ``reasons`` has every unmet condition.
        IntegrityError: The candidate was altered, a release tag names other content, or the
            registry does not hold what QA validated.
        ConfigurationError: No such candidate, no images in it, no key, or a repository that is missing.
        RemoteError: Share, daemon or registry failed, after the retries.
        LeaseHeld: Another promotion of this candidate is running.
    """
    begin = time.monotonic()
    signer = services.signer("promotion", request.key or services.configuration.signing.promotion_key)
    opened = open_candidate(request.candidate, services)
    if not opened.record.images:
        raise ConfigurationError(
            f"candidate {opened.ref} holds no images, there is nothing to promote",
            hint="'jenkins-release release publish' publishes its installers",
        )
    check_sizes(opened, services)
    plan = make_plan(opened, services)
    require_unaltered(opened, services)
    recorded = promotion_attestation(opened, services)
    if plan.done and recorded is not None and not any(i.candidate_tag_set for i in plan.images):
        decision = gate_decision(opened, services, facts=gather_facts(plan, services), plan=plan)
        images = tuple(_promoted(planned, str(planned.digest)) for planned in plan.images)
        return PromotionReport(plan, images, decision, False, recorded, time.monotonic() - begin)
    decision = require_open_gate(opened, gather_facts(plan, services), plan, services)
    require_free_way(plan, "nothing was pushed")
    if request.dry_run:
        return PromotionReport(plan, (), decision, False, "", time.monotonic() - begin)
    with services.candidates.lease(opened.ref, "promote", services.holder()) as lease:
        opened = open_candidate(opened.ref, services)
        plan = make_plan(opened, services)
        require_free_way(plan, "nothing was pushed")
        journal = PromotionJournal(opened, plan, signer, services)
        pushing = time.monotonic()
        stored = push_all(opened, plan, lease, journal, services)
        told = pushed_claim(sum(i.push_bytes for i in plan.images), time.monotonic() - pushing)
        # A revocation, another release or a scan during the push still counts: no tag is set so far.
        opened = open_candidate(opened.ref, services)
        now = make_plan(opened, services)
        facts = with_scans(gather_facts(now, services), stored, services)
        decision = require_open_gate(opened, facts, now, services)
        require_free_way(now, "no release tag was set")
        changed = set_release_tags(now, stored, lease, services)
        changed |= remove_candidate_tags(now, lease, services)
        _require_released(opened, services)
        journal.tagged()
        images = tuple(_promoted(planned, stored[planned.name].digest) for planned in plan.images)
        attestation = promotion_attestation(opened, services)
        if attestation is None:
            changed = True
            claim = _claim(opened, plan, images, told, decision, journal, services)
            lease.confirm()
            attestation = attest(opened, claim, signer, services)
        journal.done(attestation)
    return PromotionReport(plan, images, decision, changed, attestation, time.monotonic() - begin)


def _claim(
    opened: OpenCandidate,
    plan: Plan,
    images: Sequence[PromotedImage],
    pushed: dict[str, Any],
    decision: Decision,
    journal: PromotionJournal,
    services: Services,
) -> Claim:
    found = [
        {
            "name": image.name,
            "repository": image.repository,
            "configDigest": image.config_digest,
            "digest": image.digest,
            "tags": list(image.tags),
            **journal.push_claim(planned, image.digest),
        }
        for planned, image in zip(plan.images, images, strict=True)
    ]
    evidence = collect(opened.manifest, opened.attestations, services.trusted_keys, services.now())
    earlier = evidence.of(PROMOTION, WITHDRAWAL)
    pushers = {str(image["pushedByRun"]) for image in found}
    predicate = {
        "registry": plan.registry,
        "policy": plan.policy,
        "images": found,
        "approvals": approval_claims(decision),
        PUSHED: pushed,
        "runs": journal.runs_claim(pushers, earlier[-1].statement.signed_at if earlier else None),
        "overridden": override_claims(decision),
        "startedOn": journal.run.started_on.isoformat(),
        "finishedOn": services.now().isoformat(),
        "buildUrl": services.environ.get("BUILD_URL", ""),
        "program": PROGRAM,
    }
    subjects = {f"{plan.registry}/{i.repository}": i.digest.removeprefix("sha256:") for i in images}
    return Claim(PROMOTION, predicate, {"promotedBy": services.user()}, subjects)


def _require_released(opened: OpenCandidate, services: Services) -> None:
    """Read every tag once more: the last word is the registry's."""
    left = [image for image in make_plan(opened, services).images if image.state != "released"]
    if left:
        raise RemoteError(
            f"{left[0].repository}: the release tags were set, and the registry does not show them",
            hint="someone else changed the repository meanwhile; run the promotion again",
        )


def _promoted(planned: PlannedImage, digest: str) -> PromotedImage:
    tags = tuple(now.tag for now in planned.tags)
    pushed = planned.state == "absent"
    return PromotedImage(planned.name, planned.repository, digest, planned.config_digest, tags, pushed)
