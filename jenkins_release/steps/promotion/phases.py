"""The three phases of a promotion: push and prove, set the release tags, remove the temporary ones."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace

from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.records.plan import Plan, PlannedImage
from jenkins_release.records.scan import Scan
from jenkins_release.registry.protocol import Repository, RepositoryNotFound, TagConflict
from jenkins_release.rules.gate.clearance import Clearance, ProvenImage, described, difference, is_image
from jenkins_release.rules.gate.conditions import Facts, scanned
from jenkins_release.share.protocol import Lease
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.candidate.promotion_journal import PromotionJournal
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.promotion.image_push import ImagePush, ImagePusher, pushes_directly
from jenkins_release.steps.promotion.layer_proof import Promoted, promoted_digests, prove_layers
from jenkins_release.steps.promotion.push_blobs import DirectPusher

_log = logging.getLogger(__name__)


def push_all(
    opened: OpenCandidate, plan: Plan, lease: Lease, journal: PromotionJournal, services: Services
) -> dict[str, ProvenImage]:
    """Phase 1: push every image under the candidate's tag, and read it back.

    An image that is already there and correct is not pushed again, whoever pushed it.
    """
    records = {image.name: image for image in opened.record.images}
    repositories = {planned.name: _repository(planned, services) for planned in plan.images}
    pushes = {
        planned.name: ImagePush(records[planned.name], repositories[planned.name], planned.candidate_tag)
        for planned in plan.images
    }
    promoted = promoted_digests(opened)
    proven: dict[str, ProvenImage] = {}
    with _pusher(opened, plan, services) as pusher:
        pusher.prepare([pushes[planned.name] for planned in plan.images if planned.digest is None])
        for planned in plan.images:
            push = pushes[planned.name]
            if planned.digest is None:
                lease.confirm()
                journal.pushing(planned)
                proven[planned.name] = _push(push, pusher, promoted, services)
                journal.pushed(planned, proven[planned.name].stored)
            else:
                proven[planned.name] = _read_back(push, planned.digest, promoted, services)
                pusher.clean(push)
    return proven


def _pusher(opened: OpenCandidate, plan: Plan, services: Services) -> ImagePusher:
    if not pushes_directly(opened.record.images, services):
        # Only here does a promotion need Docker's client.
        from jenkins_release.steps.promotion.push_docker import DockerPusher

        return DockerPusher(opened, services)
    if services.configuration.promote.engine == "docker":
        _log.info("the candidate fixes its manifests, which Docker would not push: sent without Docker")
    return DirectPusher(opened, [image.repository for image in plan.images], services)


def _repository(planned: PlannedImage, services: Services) -> Repository:
    registry = services.registry
    if planned.repository_exists:
        return services.retry(f"describe {planned.repository}", registry.repository, planned.repository)
    return services.retry(f"create {planned.repository}", registry.create_repository, planned.repository)


def _push(push: ImagePush, pusher: ImagePusher, promoted: Promoted, services: Services) -> ProvenImage:
    name = push.repository.name

    def attempt() -> str:
        try:
            # An earlier attempt may have pushed the image, and only its answer was lost.
            found = services.registry.images(name, [push.tag]).get(push.tag)
            if found is None:
                return pusher.push(push)
        except (RepositoryNotFound, TagConflict) as error:
            # We saw or created the repository, and the tag was not there: the registry shows them late.
            error.retryable = True
            raise
        if told := difference(found, push.record):
            raise IntegrityError(
                f"{push.target} names another image: {told}",
                hint="find out who pushed it, remove this tag, and run the promotion again",
            )
        prove_layers(found, push.record, promoted, services)
        return found.digest

    try:
        digest = services.retry(f"push {push.record.name} to {push.target}", attempt)
        proven = _until_proven(push, digest, services)
    finally:
        pusher.clean(push)
    stored = proven.stored
    _log.info("%s: %s is proven", push.repository.uri, described(stored))
    return proven


def _read_back(push: ImagePush, digest: str, promoted: Promoted, services: Services) -> ProvenImage:
    """Prove an image that is in the registry already by its layers, whoever pushed it."""
    proven = _until_proven(push, digest, services)
    prove_layers(proven.stored, proven.record, promoted, services)
    return proven


def _until_proven(push: ImagePush, digest: str, services: Services) -> ProvenImage:
    """Read an image back until the registry shows all its layers, which may be late after a push."""
    return services.retry(f"read {push.record.name} back", _proven, push, digest, services)


def _proven(push: ImagePush, digest: str, services: Services) -> ProvenImage:
    """Read an image back and prove that it is the validated one, with all its layers."""
    record, repository = push.record, push.repository
    stored = services.registry.images(repository.name, [digest]).get(digest)
    if stored is None:
        raise RemoteError(
            f"{repository.uri}@{digest} was pushed, but the registry does not show it", retryable=True
        )
    if not is_image(stored, record):
        raise IntegrityError(
            f"{repository.uri}@{digest}: {difference(stored, record)}",
            hint="the registry does not hold what QA validated; no release tag was set",
        )
    missing = services.registry.missing_layers(repository.name, stored.blobs)
    if missing:
        raise IntegrityError(
            f"{repository.uri}@{digest}: {len(missing)} of its layers are missing: {sorted(missing)[0]}",
            hint="delete the image in the registry and run the promotion again; no release tag was set",
            retryable=True,
        )
    return ProvenImage(record, stored)


def with_scans(facts: Facts, proven: dict[str, ProvenImage], services: Services) -> Facts:
    """Add the findings of ECR's scans if the policy asks for them, and wait for scans that still run.

    A scan on push takes seconds to minutes. ``ecr.scan_wait_s`` limits the wait for all of them together.
    """
    if not services.policy.scan:
        return facts
    wait = services.configuration.ecr.scan_wait_s
    policy = replace(
        services.retry_policy, attempts=None, deadline_s=wait, max_wait_s=15.0, setting="ecr.scan_wait_s"
    )
    wanted = {
        name: (image.stored.repository, digest)
        for image in proven.values()
        for name, digest in scanned(image.record, image.stored.digest).items()
    }
    found: dict[str, Scan] = {}

    def look() -> None:
        for name, (repository, digest) in wanted.items():
            if name not in found or found[name].coming:
                found[name] = services.registry.scan(repository, digest)
        bad = services.policy.scan
        missing = [
            wanted[name][0]
            for name, scan in found.items()
            if scan.coming and not any(scan.findings.get(severity) for severity in bad)
        ]
        if missing:
            raise _ScanMissing(f"ECR has no completed scan of {', '.join(missing)} yet", retryable=True)

    with suppress(_ScanMissing):  # the gate decides about a missing scan
        services.retry("wait for ECR's scans", look, policy=policy)
    return replace(facts, scans=found)


class _ScanMissing(RemoteError):
    """ECR has no completed scan of an image."""


def set_release_tags(cleared: Clearance, lease: Lease, services: Services) -> bool:
    """Phase 2: set every tag that does not name the image yet, the fixed tags of all images first.

    Only a clearance leads here, so only what the gate decided about gets a tag.

    Raises:
        RemoteError: The lease was lost, and nothing that customers see is changed from then on.
    """
    changed = False
    for moving in (False, True):
        for planned, image in cleared:
            for now in planned.tags:
                if now.moving is not moving or now.digest == image.digest:
                    continue
                lease.confirm()
                if moving and now.digest is not None:
                    _let_move(planned, now.tag, services)
                what = f"set {planned.repository}:{now.tag}"
                services.retry(what, services.registry.set_tag, image, now.tag)
                _log.info("%s to %s", what, image.digest)
                changed = True
    return changed


def _let_move(planned: PlannedImage, tag: str, services: Services) -> None:
    """Exclude a moving tag from the repository's immutability."""
    registry = services.registry
    repository = services.retry(f"describe {planned.repository}", registry.repository, planned.repository)
    if repository.is_immutable(tag):
        services.retry(f"let {planned.repository}:{tag} move", registry.allow_moving, repository, tag)


def remove_candidate_tags(plan: Plan, lease: Lease, services: Services) -> bool:
    """Phase 3: remove the temporary tags. The release tags keep the images."""
    changed = False
    for planned in plan.images:
        if planned.candidate_tag_set or planned.state == "absent":
            lease.confirm()
            what = f"remove {planned.repository}:{planned.candidate_tag}"
            services.retry(what, services.registry.remove_tag, planned.repository, planned.candidate_tag)
            changed = True
    return changed
