"""The three phases of a promotion: push and prove, set the release tags, remove the temporary ones."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace

from jenkins_release.errors import IntegrityError, RemoteError
from jenkins_release.records.plan import Plan, PlannedImage
from jenkins_release.registry.protocol import Repository, Scan, StoredImage
from jenkins_release.rules.conditions import Facts
from jenkins_release.share.protocol import Lease
from jenkins_release.steps._direct_push import DirectPusher
from jenkins_release.steps._docker_push import DockerPusher
from jenkins_release.steps._journal import PromotionJournal
from jenkins_release.steps._open import OpenCandidate
from jenkins_release.steps._pushing import ImagePush, ImagePusher
from jenkins_release.steps.plan import holds
from jenkins_release.steps.services import Services

_log = logging.getLogger(__name__)


def push_all(
    opened: OpenCandidate, plan: Plan, lease: Lease, journal: PromotionJournal, services: Services
) -> dict[str, StoredImage]:
    """Phase 1: bring every image into the registry and read it back, under the candidate's tag.

    An image that is there and right is not pushed again, whoever pushed it.
    """
    records = {image.name: image for image in opened.record.images}
    repositories = {planned.name: _repository(planned, services) for planned in plan.images}
    pushes = {
        planned.name: ImagePush(records[planned.name], repositories[planned.name], planned.candidate_tag)
        for planned in plan.images
    }
    stored: dict[str, StoredImage] = {}
    with _pusher(opened, plan, services) as pusher:
        pusher.prepare([pushes[planned.name] for planned in plan.images if planned.digest is None])
        for planned in plan.images:
            push = pushes[planned.name]
            if planned.digest is None:
                lease.confirm()
                journal.pushing(planned)
                stored[planned.name] = _push(push, pusher, services)
                journal.pushed(planned, stored[planned.name])
            else:
                stored[planned.name] = _read_back(push, planned.digest, services)
                _require_fixed_manifest(push, planned, services)
                pusher.clean(push)
    return stored


def _pusher(opened: OpenCandidate, plan: Plan, services: Services) -> ImagePusher:
    if services.configuration.promote.engine == "docker":
        return DockerPusher(opened, services)
    return DirectPusher(opened, [image.repository for image in plan.images], services)


def _repository(planned: PlannedImage, services: Services) -> Repository:
    registry = services.registry
    if planned.repository_exists:
        return services.retry(
            f"describe {planned.repository}", lambda: registry.repository(planned.repository)
        )
    return services.retry(
        f"create {planned.repository}", lambda: registry.create_repository(planned.repository)
    )


def _push(push: ImagePush, pusher: ImagePusher, services: Services) -> StoredImage:
    name = push.repository.name

    def attempt() -> StoredImage:
        # The answer to an earlier attempt may have been lost after the registry took the image.
        found = services.registry.images(name, [push.tag])
        digest = found[push.tag].digest if push.tag in found else pusher.push(push)
        return _proven(push, digest, services)

    try:
        stored = services.retry(f"push {push.record.name} to {push.target}", attempt)
    finally:
        pusher.clean(push)
    _log.info("%s@%s names config %s: proven", push.repository.uri, stored.digest, stored.config_digest)
    return stored


def _read_back(push: ImagePush, digest: str, services: Services) -> StoredImage:
    return services.retry(f"read {push.record.name} back", lambda: _proven(push, digest, services))


def _require_fixed_manifest(push: ImagePush, planned: PlannedImage, services: Services) -> None:
    """Hold a promotion to the manifest that was fixed at the export, unless another one is out already."""
    fixed = push.record.manifest
    if fixed is None or planned.digest == fixed.digest:
        return
    told = f"{push.repository.uri}: QA signed the manifest {fixed.digest}, the registry has {planned.digest}"
    released = any(tag.digest == planned.digest for tag in planned.tags)
    if services.configuration.promote.engine == "docker" or released:
        _log.warning("%s, around the same config", told)
        return
    raise IntegrityError(
        told,
        hint=f"the Docker engine pushed it: remove the tag {push.tag} there and run the promotion again, or "
        'finish it with promote.engine = "docker"',
    )


def _proven(push: ImagePush, digest: str, services: Services) -> StoredImage:
    """Read an image back and prove that it is the validated one, with all its layers."""
    record, repository = push.record, push.repository
    stored = services.registry.images(repository.name, [digest]).get(digest)
    if stored is None:
        raise RemoteError(
            f"{repository.uri}@{digest} was pushed, and the registry does not show it", retryable=True
        )
    if not holds(stored, record):
        raise IntegrityError(
            f"{repository.uri}@{digest}: expected config {record.config_digest} with {len(record.layers)} "
            f"layers, found {stored.config_digest} with {len(stored.layers)}",
            hint="the registry does not hold what QA validated; no release tag was set",
        )
    missing = services.registry.missing_layers(repository.name, stored.layers)
    if missing:
        raise IntegrityError(
            f"{repository.uri}@{digest}: {len(missing)} of its layers are missing: {sorted(missing)[0]}",
            hint="delete the image in the registry and run the promotion again; no release tag was set",
        )
    return stored


def with_scans(facts: Facts, stored: dict[str, StoredImage], services: Services) -> Facts:
    """Add what ECR's scans found, where the policy asks for them; waits for scans that still run.

    A scan on push takes from seconds to minutes; ``ecr.scan_wait_s`` bounds the wait for all of them.
    """
    if not services.policy.scan:
        return facts
    wait = services.configuration.ecr.scan_wait_s
    policy = replace(services.retry_policy, attempts=1000, deadline_s=wait, max_wait_s=15.0)
    found: dict[str, Scan] = {}

    def look() -> None:
        for name, image in stored.items():
            if name not in found or found[name].coming:
                found[name] = services.registry.scan(image.repository, image.digest)
        missing = [stored[name].repository for name, scan in found.items() if scan.coming]
        if missing:
            raise _ScanMissing(f"ECR has no completed scan of {', '.join(missing)} yet", retryable=True)

    with suppress(_ScanMissing):  # the gate says what that means
        services.retry("wait for ECR's scans", look, policy=policy)
    return replace(facts, scans=found)


class _ScanMissing(RemoteError):
    """ECR has no completed scan of an image."""


def set_release_tags(plan: Plan, stored: dict[str, StoredImage], lease: Lease, services: Services) -> bool:
    """Phase 2: set every tag that does not name the image yet; fixed tags of all images first.

    Raises:
        RemoteError: The lease was lost: nothing that customers see is changed from then on.
    """
    changed = False
    for moving in (False, True):
        for planned in plan.images:
            image = stored[planned.name]
            for now in planned.tags:
                if now.moving is not moving or now.digest == image.digest:
                    continue
                if not moving and now.digest is not None:
                    continue  # names the same content through another manifest: never replaced
                lease.confirm()
                if moving and now.digest is not None:
                    _let_move(planned, now.tag, services)
                what = f"set {planned.repository}:{now.tag}"
                services.retry(what, lambda image=image, tag=now.tag: services.registry.set_tag(image, tag))  # type: ignore[misc]
                _log.info("%s to %s", what, image.digest)
                changed = True
    return changed


def _let_move(planned: PlannedImage, tag: str, services: Services) -> None:
    """A tag that moves on is excluded from the repository's immutability first."""
    registry = services.registry
    repository = services.retry(
        f"describe {planned.repository}", lambda: registry.repository(planned.repository)
    )
    if repository.is_immutable(tag):
        services.retry(f"let {planned.repository}:{tag} move", lambda: registry.allow_moving(repository, tag))


def remove_candidate_tags(plan: Plan, lease: Lease, services: Services) -> bool:
    """Phase 3: remove the temporary tags. The release tags keep the images."""
    changed = False
    for planned in plan.images:
        if planned.candidate_tag_set or planned.state == "absent":
            lease.confirm()
            services.retry(
                f"remove {planned.repository}:{planned.candidate_tag}",
                lambda p=planned: services.registry.remove_tag(p.repository, p.candidate_tag),  # type: ignore[misc]
            )
            changed = True
    return changed
