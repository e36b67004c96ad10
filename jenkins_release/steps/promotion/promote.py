"""Promote: brings what QA validated to the registry that customers pull from, all or nothing.

Phase 1 pushes every image under a tag that belongs to this candidate, and reads it back. Once all of them
are proven, phase 2 sets the release tags, and phase 3 removes the temporary ones. To finish a promotion
that died, run it again: each phase first looks at what is done already.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.records.attestation import PROMOTION, WITHDRAWAL
from jenkins_release.records.candidate import config_digests
from jenkins_release.records.plan import Plan, PlannedImage
from jenkins_release.rules.gate.clearance import Clearance
from jenkins_release.rules.gate.decision import Decision
from jenkins_release.rules.gate.policy import policy_digest
from jenkins_release.rules.release.forecast import PUSHED, pushed_claim
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.attest import Claim, approval_claims, attest, override_claims
from jenkins_release.steps.candidate.opened import (
    OpenCandidate,
    check_sizes,
    open_candidate,
    reopen,
)
from jenkins_release.steps.candidate.promotion_journal import PromotionJournal
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.notices.announce import Happened, announced, by_candidate, overridden_facts
from jenkins_release.steps.promotion.layer_proof import Promoted, promoted_digests
from jenkins_release.steps.promotion.phases import (
    push_all,
    remove_candidate_tags,
    set_release_tags,
    with_scans,
)
from jenkins_release.steps.promotion.plan import make_plan, require_free_way
from jenkins_release.steps.promotion.status import promotion_attestation
from jenkins_release.steps.referrers.attach import Attachment, attach_after_promotion


@dataclass(frozen=True)
class PromoteRequest:
    """What to promote.

    Attributes:
        candidate: The candidate.
        key: URI of the promotion key; ``signing.promotion_key`` by default; a dry run needs none.
        dry_run: Check gate and plan, without changing anything.
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
        config_digest: Digest of the config, which identifies the image that QA validated; empty for several
            platforms, where ``digest`` identifies it.
        tags: Release tags that name it.
        pushed: Whether this run pushed it.
        config_digests: Digest of the config for each of several platforms; empty for one.
    """

    name: str
    repository: str
    digest: str
    config_digest: str
    tags: tuple[str, ...]
    pushed: bool
    config_digests: Mapping[str, str] = field(default_factory=dict)

    def identity_claim(self) -> dict[str, Any]:
        """Return what identifies the image, as fields for a record or a result."""
        if self.config_digest:
            return {"configDigest": self.config_digest}
        return {"indexDigest": self.digest, "configDigests": dict(self.config_digests)}


@dataclass(frozen=True)
class PromotionReport:
    """What a promotion did.

    Attributes:
        plan: The plan that it carried out.
        images: Every image as it is in the registry; empty after a dry run.
        decision: What the gate said.
        changed: Whether anything had to be done.
        attestation: File name of the promotion attestation.
        seconds: Seconds from the first request to the last.
        attachment: What was attached to the images, and why not all of it; None if that is not configured.
        head: SHA-256 in hex of the last attestation's file, to be kept elsewhere.
    """

    plan: Plan
    images: tuple[PromotedImage, ...]
    decision: Decision
    changed: bool
    attestation: str
    seconds: float
    head: str = ""
    attachment: Attachment | None = None


def _happened(_: PromoteRequest, report: PromotionReport, __: Services) -> Happened | None:
    """Customers can pull it; nothing to report if it was promoted before."""
    if not report.changed:
        return None
    plan = report.plan
    return Happened(
        "promoted",
        plan.version,
        plan.build,
        location=plan.registry,
        facts=[
            *overridden_facts(report.decision),
            *((image.repository, f"{', '.join(image.tags)}: {image.digest}") for image in report.images),
            ("recorded in", report.attestation),
            *_not_attached(report.attachment),
        ],
        next_step="Customers can pull it. Its whole story:",
        command=f"jenkins-release release history {plan.version}",
    )


def _not_attached(attachment: Attachment | None) -> list[tuple[str, str]]:
    """Return what tells that statements are missing, and how to try again."""
    if attachment is None or not attachment.problem:
        return []
    return [("not attached", attachment.problem), ("to try again", attachment.command)]


@announced("promote run", by_candidate, _happened)
def promote(request: PromoteRequest, services: Services) -> PromotionReport:
    """Promote a candidate, or finish a promotion that died.

    Raises:
        GateRefused: The gate is shut; ``reasons`` has every unmet condition.
        IntegrityError: The candidate was altered, a release tag names other content, or the
            registry does not hold what QA validated.
        ConfigurationError: No such candidate, no images in it, no key, or a missing repository.
        RemoteError: Share, daemon or registry failed, after the retries.
        LeaseHeld: Another promotion of this candidate is running.
    """
    begin = time.monotonic()
    signer = services.promotion_signer(request.key, dry_run=request.dry_run)
    opened = open_candidate(request.candidate, services)
    if not opened.record.images:
        raise ConfigurationError(
            f"candidate {opened.ref} has no images, so there is nothing to promote",
            hint="'jenkins-release release publish' publishes its installers",
        )
    check_sizes(opened)
    plan, facts = make_plan(opened, services)
    opened.require_unaltered()
    recorded = recorded_promotion(opened, plan)
    if recorded:
        decision = opened.decision(facts=facts, plan=plan)
        images = tuple(_promoted(planned, str(planned.digest), opened) for planned in plan.images)
        seconds = time.monotonic() - begin
        # A dry run has a key only if one was given.
        attachment = attach_after_promotion(opened, None if request.dry_run else signer, services)
        return PromotionReport(plan, images, decision, False, recorded, seconds, opened.head, attachment)
    decision = opened.require_open_gate(facts, plan)
    require_free_way(plan, "nothing was pushed")
    if request.dry_run:
        return PromotionReport(plan, (), decision, False, "", time.monotonic() - begin, opened.head)
    assert signer is not None  # a dry run has ended
    with services.holding_candidate(opened.ref) as lease:
        opened = reopen(opened)
        plan, facts = make_plan(opened, services)
        opened.require_open_gate(facts, plan)
        require_free_way(plan, "nothing was pushed")
        journal = PromotionJournal(opened, plan, lease, signer, services)
        pushing = time.monotonic()
        proven = push_all(opened, plan, lease, journal, services)
        told = pushed_claim(sum(i.push_bytes for i in plan.images), time.monotonic() - pushing)
        # No tag is set yet, so a revocation, another release or a scan during the push still counts.
        services.refresh_trust()
        opened = reopen(opened)
        now, facts = make_plan(opened, services)
        decision = opened.require_open_gate(with_scans(facts, proven, services), now)
        require_free_way(now, "no release tag was set")
        cleared = Clearance(opened.manifest, now, decision, proven)
        changed = set_release_tags(cleared, lease, services)
        changed |= remove_candidate_tags(now, lease, services)
        _require_released(cleared, opened, services)
        journal.tagged()
        images = tuple(
            _promoted(planned, proven[planned.name].stored.digest, opened) for planned in plan.images
        )
        attestation = promotion_attestation(opened)
        if attestation is None:
            changed = True
            claim = _claim(opened, plan, images, told, decision, journal, services)
            lease.confirm()
            attestation, opened, _ = attest(
                opened, claim, signer, services, there=lambda now: promotion_attestation(now) or ""
            )
        journal.done(attestation)
    seconds = time.monotonic() - begin
    attachment = attach_after_promotion(opened, signer, services)
    return PromotionReport(plan, images, decision, changed, attestation, seconds, opened.head, attachment)


def recorded_promotion(opened: OpenCandidate, plan: Plan) -> str:
    """Return the file name of the attestation of a complete promotion; empty if something is left to do.

    Args:
        opened: The candidate.
        plan: The current plan.
    """
    recorded = promotion_attestation(opened) if plan.done else None
    return recorded if recorded and _is_recorded(plan, promoted_digests(opened)) else ""


def _is_recorded(plan: Plan, promoted: Promoted) -> bool:
    """Whether every tag names what a promotion recorded, and nothing is left to do."""
    return plan.done and all(
        (image.repository, image.digest) in promoted
        and not image.candidate_tag_set
        and all(tag.digest == image.digest for tag in image.tags)
        for image in plan.images
    )


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
            **image.identity_claim(),
            "digest": image.digest,
            "tags": list(image.tags),
            **journal.push_claim(planned, image.digest),
        }
        for planned, image in zip(plan.images, images, strict=True)
    ]
    evidence = opened.evidence
    earlier = evidence.of(PROMOTION, WITHDRAWAL)
    pushers = {str(image["pushedByRun"]) for image in found}
    predicate = {
        "registry": plan.registry,
        # From the last look, since the trust document may have changed during the push.
        "policy": policy_digest(services.policy, services.trusted_keys),
        **services.trust.claim,
        "images": found,
        "approvals": approval_claims(decision),
        PUSHED: pushed,
        "runs": journal.runs_claim(pushers, earlier[-1].statement.signed_at if earlier else None),
        "overridden": override_claims(decision),
        "startedOn": journal.run.started_on.isoformat(),
        "finishedOn": services.now().isoformat(),
    }
    subjects = {f"{plan.registry}/{i.repository}": i.digest.removeprefix("sha256:") for i in images}
    return Claim(PROMOTION, predicate, {}, subjects, by="promotedBy")


def _require_released(cleared: Clearance, opened: OpenCandidate, services: Services) -> None:
    """Read every tag once more, to see that the registry shows what was set."""
    wanted = {planned.name: stored.digest for planned, stored in cleared}

    def attempt() -> None:
        shown = make_plan(opened, services)[0].images
        left = [image for image in shown if any(tag.digest != wanted[image.name] for tag in image.tags)]
        if left:
            raise RemoteError(
                f"{left[0].repository}: the release tags were set, but the registry does not show them",
                hint="someone else changed the repository meanwhile; run the promotion again",
                retryable=True,  # the answer may be out of date
            )

    services.retry(f"see the release tags of {opened.ref}", attempt)


def _promoted(planned: PlannedImage, digest: str, opened: OpenCandidate) -> PromotedImage:
    tags = tuple(now.tag for now in planned.tags)
    pushed = planned.state == "absent"
    record = next(image for image in opened.record.images if image.name == planned.name)
    return PromotedImage(
        name=planned.name,
        repository=planned.repository,
        digest=digest,
        config_digest=planned.config_digest or "",
        tags=tags,
        pushed=pushed,
        config_digests={} if planned.config_digest else config_digests(record),
    )
