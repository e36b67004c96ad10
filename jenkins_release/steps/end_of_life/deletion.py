"""Delete: the images of a withdrawn release out of the registry for good.

A withdrawal keeps the images under a separate tag. After their deletion, not even a pull by digest works.
Nothing is deleted that another release needs, another index lists or the SaaS stack runs, or while another
candidate that has it is promoted. Of an image that another withdrawn release has too, only this release's own
tags go. The signed record names each image before it is touched. Then the tags go one by one, after a last
look at each image; with its last tag ECR deletes an image. A deletion that died is finished by running it
again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused, RemoteError
from jenkins_release.base.names import check_identifier
from jenkins_release.base.tags import pin_tag
from jenkins_release.records.attestation import DELETION
from jenkins_release.records.registry_image import HeldImage
from jenkins_release.records.release import Promotion, ReleasedImage
from jenkins_release.registry.protocol import RepositoryNotFound
from jenkins_release.rules.gate.evidence import Counted
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.share.protocol import Lease
from jenkins_release.steps.candidate.attest import Claim, attest, named
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidate, reopen
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.end_of_life.other_candidates import OtherCandidates
from jenkins_release.steps.notices.announce import announced, by_version
from jenkins_release.steps.promotion.plan import candidate_tag
from jenkins_release.steps.referrers.leftovers import Leftovers
from jenkins_release.steps.referrers.removal import remove_referrers
from jenkins_release.steps.release.releases import (
    Release,
    all_releases,
    promoted_here,
    release_of,
    releases,
)
from jenkins_release.steps.saas.status import UNKNOWN, stack_status

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeletionRequest:
    """What to delete, and why.

    Attributes:
        version: Version of the withdrawn release.
        reason: Why; recorded.
        build: Build; only needed where several builds of the version were withdrawn.
        confirm: ``version/build``, typed once more; without it nothing is deleted.
        key: URI of the promotion key; ``signing.promotion_key`` by default; a dry run needs none.
        dry_run: Check everything and tell what would be deleted, also with ``confirm``.
    """

    version: str
    reason: str
    build: str = ""
    confirm: str = ""
    key: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class DeletedImage:
    """An image that is deleted, or would be.

    Attributes:
        name: Short name; of a platform of an index, the index's.
        repository: Its repository.
        digest: Digest of its manifest.
        tags: Tags of the release, which go with it.
        pulled: When ECR recorded the last pull; None if it recorded none.
        kept_for: Withdrawn releases that have the image too and keep it; only the tags go then.
        others: What else names it, in words: it is not deleted while there is any.
    """

    name: str
    repository: str
    digest: str
    tags: tuple[str, ...]
    pulled: datetime | None = None
    kept_for: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Its repository and digest."""
        return self.repository, self.digest


@dataclass(frozen=True)
class DeletionReport:
    """What a deletion did, or would do.

    Attributes:
        candidate: The candidate that was released and withdrawn.
        registry: Registry host.
        images: What was deleted, or would be; none where nothing is left.
        changed: Whether anything was deleted.
        confirmed: Whether the deletion was confirmed.
        attestation: File name of the deletion's attestation; empty if there is none.
        head: SHA-256 in hex of the last attestation's file, to be kept elsewhere.
    """

    candidate: CandidateRef
    registry: str
    images: tuple[DeletedImage, ...]
    changed: bool
    confirmed: bool
    attestation: str
    head: str = ""


@announced("release withdraw --delete", by_version)
def delete_images(request: DeletionRequest, services: Services) -> DeletionReport:
    """Delete the images of a withdrawn release, or finish a deletion that died.

    Raises:
        ConfigurationError: No such release, no reason or key, another registry, or the confirmation
            names something else.
        GateRefused: It was not withdrawn, another release needs an image, or the stack runs one.
        IntegrityError: The candidate was altered.
        RemoteError: Share, registry or stack failed, after the retries.
        LeaseHeld: A promotion or withdrawal of this candidate is running, or a promotion of another one that
            has one of the images.
    """
    reason = named("reason", request.reason)
    signer = services.promotion_signer(request.key, dry_run=request.dry_run)
    release = _find(request, services)
    if request.confirm and request.confirm != str(release.ref):
        raise ConfigurationError(
            f"--confirm names {request.confirm!r}, expected {release.ref}, whose images are to be deleted",
            hint=f"--confirm {release.ref} deletes them for good",
        )
    release.opened.require_unaltered()
    promoted = promoted_here(release, services)
    others = _others(release, promoted, services)
    images = _look(release, promoted, others, services)
    _require_unused(release, promoted, images, others, services)
    confirmed = bool(request.confirm) and not request.dry_run
    if not images or not confirmed:
        recorded, head = _recorded(release, ()), release.opened.head
        return DeletionReport(release.ref, promoted.registry, images, False, confirmed, recorded, head)
    assert signer is not None  # a dry run has ended
    others_idle = OtherCandidates(services).none_promoted(release.ref, {image.digest for image in images})
    with services.holding_candidate(release.ref) as lease, others_idle:
        release = _withdrawn(reopen(release.opened))
        release.opened.require_unaltered()
        promoted = promoted_here(release, services)
        others = _others(release, promoted, services)
        images = _look(release, promoted, others, services)
        _require_unused(release, promoted, images, others, services)
        recorded = _recorded(release, images)
        if not recorded:
            claim = _claim(release, promoted, images, reason)
            recorded, opened, _ = attest(
                release.opened,
                claim,
                signer,
                services,
                there=lambda now: _recorded(replace(release, opened=now), images),
            )
            release = replace(release, opened=opened)
        _delete(images, lease, services)
        _require_gone(release, promoted, others, services)
    head = release.opened.head
    return DeletionReport(release.ref, promoted.registry, images, True, True, recorded, head)


def _find(request: DeletionRequest, services: Services) -> Release:
    version = check_identifier("version", request.version)
    if request.build:
        ref = CandidateRef(version, check_identifier("build", request.build))
        return _withdrawn(open_candidate(ref, services))
    found = [each for each in releases(version, services) if each.withdrawal is not None]
    if len(found) > 1:
        builds = ", ".join(each.ref.build for each in found)
        raise ConfigurationError(
            f"several builds of {version} were withdrawn: {builds}", hint="name one with --build"
        )
    if not found:
        raise _not_withdrawn(version)
    return found[0]


def _withdrawn(opened: OpenCandidate) -> Release:
    release = release_of(opened)
    if release is None or release.withdrawal is None:
        raise _not_withdrawn(str(opened.ref))
    return release


def _not_withdrawn(what: str) -> GateRefused:
    return GateRefused(
        f"{what} was not withdrawn: only the images of a withdrawn release are deleted",
        hint="run 'release withdraw' without --delete first",
        reasons=[f"no withdrawal of {what} by a trusted key is on the share"],
    )


def _inventory(name: str, services: Services) -> dict[str, HeldImage]:
    """Return what a repository holds by digest. Nothing is pulled: the time of the last pull has to stay."""
    try:
        held = services.retry(f"list {name}", services.registry.inventory, name)
    except RepositoryNotFound:
        return {}
    return {each.digest: each for each in held}


def _others(release: Release, promoted: Promotion, services: Services) -> list[tuple[Release, Promotion]]:
    """Return the other releases in this registry. Of one that cannot be proven, the tags still count."""
    found = [(each, each.promoted()) for each in all_releases(services, but=release.ref)]
    return [(each, theirs) for each, theirs in found if theirs.registry == promoted.registry]


def _look(
    release: Release, promoted: Promotion, others: Sequence[tuple[Release, Promotion]], services: Services
) -> tuple[DeletedImage, ...]:
    """Return what the registry holds of the release: each index before the images that it lists.

    An image that another withdrawn release keeps, and of which no tag of this release is left, is not named.
    """
    kept_for = _kept_for(others)
    own_digests = {(image.repository, image.digest) for image in promoted.images}
    found: list[DeletedImage] = []
    for image in promoted.images:
        name = image.repository
        held = _inventory(name, services)
        own = held.get(image.digest)
        listed = own.children if own is not None else _recorded_children(release, image)
        for digest in (image.digest, *sorted(listed)):
            if digest in held:
                indexes = [
                    each
                    for each in held.values()
                    if digest in each.children and (name, each.digest) not in own_digests
                ]
                found.append(_held(release, image, held[digest], indexes, kept_for))
    return tuple(each for each in found if each.tags or not each.kept_for or each.others)


def _held(
    release: Release,
    image: ReleasedImage,
    held: HeldImage,
    indexes: Sequence[HeldImage],
    kept_for: Mapping[tuple[str, str], str],
) -> DeletedImage:
    """Describe an image of the release, and tell its tags and indexes from those of others."""
    name, kept, others = image.repository, [], []
    own = {candidate_tag(release.opened), pin_tag(release.ref.version, release.ref.build, image.digest)}
    tags = tuple(tag for tag in held.tags if tag in own)
    for tag in held.tags:
        if (name, tag) in kept_for:
            kept.append(kept_for[name, tag])
        elif tag in image.tags:
            # Not taken for ours: a later build of the version may have the image, and be unreadable now.
            others.append(f"{name}:{tag} names it: finish the withdrawal, or find out which release has it")
        elif tag not in own:
            others.append(f"{name}:{tag} names it, but is not a tag of {release.ref}")
    for index in indexes:
        listed = f"{name} {held.digest} is listed by the index {index.digest}"
        if (name, index.digest) not in kept_for:
            tagged = f"tagged {', '.join(index.tags)}" if index.tags else "which has no tag"
            others.append(f"{listed}, {tagged}")
        elif tags and len(tags) == len(held.tags):  # ECR refuses to take the last tag of what an index lists
            others.append(f"{listed} of {kept_for[name, index.digest]}: delete the images of that one first")
        else:
            kept.append(kept_for[name, index.digest])
    return DeletedImage(
        image.name, name, held.digest, tags, held.pulled, tuple(sorted(set(kept))), tuple(others)
    )


def _kept_for(others: Sequence[tuple[Release, Promotion]]) -> dict[tuple[str, str], str]:
    """Return pinning tags and digests of withdrawn releases, each with its repository, to the release.

    ECR remembers a withdrawal by such a tag: another release's deletion does not take that away.
    """
    found: dict[tuple[str, str], str] = {}
    for other, promoted in others:
        for image in promoted.images if other.withdrawal is not None else ():
            pin = pin_tag(other.ref.version, other.ref.build, image.digest)
            found[image.repository, pin] = found[image.repository, image.digest] = str(other.ref)
    return found


def _recorded_children(release: Release, image: ReleasedImage) -> frozenset[str]:
    """Return the images of an index that is deleted already, as the deletion's record names them."""
    deletions = release.opened.evidence.of(DELETION)
    named = {key for item in deletions for key in _named(item)}
    return frozenset(digest for name, digest in named if name == image.repository and digest != image.digest)


def _require_unused(
    release: Release,
    promoted: Promotion,
    images: Sequence[DeletedImage],
    others: Sequence[tuple[Release, Promotion]],
    services: Services,
) -> None:
    """Refuse to delete what another release or index names, or what the SaaS stack runs.

    Raises:
        GateRefused: ``reasons`` has each user of each image.
    """
    wanted = {image.key for image in images}
    reasons = []
    for other, theirs in others:
        standing = "which is retired" if other.retirement else "which is in force"
        reasons += [
            f"{image.repository} {image.digest} is the image {image.name} of {other.ref}, {standing}"
            for image in (theirs.images if other.withdrawal is None else ())
            if (image.repository, image.digest) in wanted
        ]
    reasons += [line for image in images for line in image.others]
    reasons += _running(release, promoted, images, services)
    if reasons:
        raise GateRefused(
            f"an image of {release.ref} is still in use: {reasons[0]}",
            hint="nothing was deleted: remove the other uses first",
            reasons=list(dict.fromkeys(reasons)),
        )


def _running(
    release: Release, promoted: Promotion, images: Sequence[DeletedImage], services: Services
) -> list[str]:
    """Say what of the SaaS stack runs the images, or would start them; nothing if no stack is configured.

    What nobody knows counts as theirs.
    """
    if not images or services.configuration.saas.strategy == "none":
        return []
    status, ref = stack_status(services), str(release.ref)
    digests = {image.digest for image in promoted.images} | {image.digest for image in images}
    stack, found = f"the stack {status.stack}", []
    for part in status.parts:
        for container in part.containers:
            found += [
                f"{part.name} of {stack} runs {container.image} {digest}"
                for digest in container.digests
                if digest in digests
            ]
            if "" in container.digests:
                found.append(
                    f"it is unknown which image {part.name} of {stack} runs as {container.container}"
                )
        found += [
            f"{part.name} of {stack} starts {digest}, as {part.definition} says"
            for digest in sorted(digests & {*part.starts.values()})
        ]
        if ref in part.verdict.split(" "):
            found.append(f"{part.name} of {stack} runs {ref}")
        if part.verdict == UNKNOWN:
            found.append(f"it is unknown what {part.name} of {stack} runs: its last refresh did not end")
    if status.recorded.release == ref:
        found.append(f"{stack} was refreshed to {ref}")
    return found + [f"of {stack} records were removed: {line}" for line in status.lost]


def _recorded(release: Release, images: Sequence[DeletedImage]) -> str:
    """Return the file name of the last deletion's attestation after the withdrawal.

    Nothing where there is none, or where they do not name all of the images.
    """
    after = release.withdrawal.statement.sequence if release.withdrawal else 0
    deletions = release.opened.evidence.of(DELETION)
    found = [item for item in deletions if item.statement.sequence > after]
    named = {key for item in found for key in _named(item)}
    return found[-1].file if found and {image.key for image in images} <= named else ""


def _named(deletion: Counted) -> set[tuple[str, str]]:
    """Return repository and digest of each image that a deletion's record names."""
    images = deletion.statement.predicate.get("images")
    return {
        (str(each.get("repository")), str(each.get("digest")))
        for each in (images if isinstance(images, list) else [])
        if isinstance(each, Mapping)
    }


def _claim(
    release: Release,
    promoted: Promotion,
    images: Sequence[DeletedImage],
    reason: str,
) -> Claim:
    predicate = {
        "registry": promoted.registry,
        "images": [
            {
                "name": image.name,
                "repository": image.repository,
                "digest": image.digest,
                "tagsRemoved": list(image.tags),
                "lastPulled": image.pulled.isoformat() if image.pulled else "",
            }
            for image in images
        ],
        "withdrawal": release.withdrawal.file if release.withdrawal else "",
    }
    subjects = {
        f"{promoted.registry}/{image.repository}": image.digest.removeprefix("sha256:")
        for image in promoted.images
    }
    return Claim(DELETION, predicate, {"reason": reason}, subjects, by="deletedBy")


def _delete(images: Sequence[DeletedImage], lease: Lease, services: Services) -> None:
    """Remove tag by tag, and with the last one the image; then the platforms of an index.

    A tag that names something else by then is left alone, and so is an image that got another tag or is
    kept for another release. Only what has no tag is deleted by its digest.

    Raises:
        RemoteError: Of what refers to an image, something could not be removed. That image stays.
    """
    registry, left, kept = services.registry, Leftovers(), set()
    for image in images:
        if image.key in kept:
            continue
        name, digest = image.key
        held = _inventory(name, services).get(digest)
        if held is not None and set(held.tags) <= set(image.tags) and not image.kept_for:
            # Before the image: a run that died is finished because the image is still there.
            lease.confirm()
            if not remove_referrers(name, digest, services, left):
                kept |= {(name, each) for each in (digest, *held.children)}
                continue
        for tag in image.tags:
            if held is not None and tag in held.tags:
                lease.confirm()
                what = f"{name}:{tag}"
                services.retry(f"remove {what}", registry.remove_tag, name, tag)
                _log.info("removed %s", what)
        if held is not None and not held.tags and not image.kept_for:
            lease.confirm()
            what = f"delete {name} {digest}"
            services.retry(what, registry.remove_image, name, digest)
            _log.info("%s", what)
    left.require_none()


def _require_gone(
    release: Release, promoted: Promotion, others: Sequence[tuple[Release, Promotion]], services: Services
) -> None:
    def attempt() -> None:
        left = _look(release, promoted, others, services)
        if left:
            raise RemoteError(
                f"{left[0].repository} {left[0].digest} was deleted, but the registry still has it"
                + (f" as {left[0].tags[0]}" if left[0].tags else ""),
                hint="someone else changes the repository; run the deletion again",
                retryable=True,  # or the answer was from before
            )

    services.retry(f"see the images of {release.ref} gone", attempt)
