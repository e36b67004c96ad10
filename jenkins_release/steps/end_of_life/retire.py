"""Retire: remove only what is outside the support window from the registry.

What is released is told by the promotion attestations on the share, what stands in the registry by
the registry. A tag goes only if a promotion recorded exactly it: the retirement is signed onto
that candidate first, then its tags are removed, and with the last one ECR deletes the image. What an
index listed is deleted after it, unless another candidate needs it. The candidate stays on the share, so
promoting it again restores the release.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field
from datetime import timedelta
from functools import partial
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError, LeaseHeld, RemoteError
from jenkins_release.base.moments import day
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.records.attestation import RETIREMENT
from jenkins_release.records.candidate import MultiPlatformRecord
from jenkins_release.records.registry_image import HeldImage
from jenkins_release.records.release import Promotion
from jenkins_release.registry.protocol import RepositoryNotFound
from jenkins_release.rules.release.support import (
    Retirement,
    StoredTag,
    TagTemplates,
    Window,
    retirement,
)
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.share.protocol import Lease
from jenkins_release.steps.candidate.attest import Claim, attest
from jenkins_release.steps.candidate.authority import release_refusals
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.support import current_window
from jenkins_release.steps.end_of_life.other_candidates import OtherCandidates
from jenkins_release.steps.portal.page import look_at_portal
from jenkins_release.steps.portal.page import window as portal_window
from jenkins_release.steps.portal.removal import PortalRemoval, PortalRemovalRequest, remove_from_portal
from jenkins_release.steps.publication.standing import pinned_in_registry
from jenkins_release.steps.referrers.leftovers import Leftovers
from jenkins_release.steps.referrers.removal import remove_referrers
from jenkins_release.steps.release.releases import Release, all_releases, release_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetireRequest:
    """What to retire.

    Attributes:
        key: URI of the promotion key; ``signing.promotion_key`` by default; a dry run needs none.
        dry_run: Show what would be removed, change nothing.
        portal: Remove unsupported releases from the download portal too.
    """

    key: str = ""
    dry_run: bool = False
    portal: bool = False


@dataclass(frozen=True)
class KeptManifest:
    """An index that stays, or something that an index listed.

    Attributes:
        repository: Its repository.
        digest: Its digest.
        reason: Why it stays.
    """

    repository: str
    digest: str
    reason: str


@dataclass(frozen=True)
class RetireReport:
    """What lies outside the window.

    Attributes:
        supported: The supported lines, newest first.
        removed: Tags that were removed, or would be.
        kept: Tags outside the window that stay, each with the reason.
        attestations: Candidate to the file name of its retirement; empty after a dry run.
        portal: What was removed from the portal, or would be; nothing if that is not asked for.
        heads: Candidate to the SHA-256 in hex of its retirement's file, to be kept elsewhere.
        kept_listed: What stays of the indexes of retired releases though no tag leads there, and indexes that
            got a tag meanwhile.
    """

    supported: tuple[str, ...]
    removed: tuple[StoredTag, ...]
    kept: tuple[tuple[StoredTag, str], ...]
    attestations: dict[CandidateRef, str]
    portal: tuple[PortalRemoval, ...] = ()
    heads: dict[CandidateRef, str] = field(default_factory=dict)
    kept_listed: tuple[KeptManifest, ...] = ()


def retire_releases(request: RetireRequest, services: Services) -> RetireReport:
    """Remove the tags of releases outside the support window, or finish a retirement that died.

    Raises:
        ConfigurationError: No key to sign with.
        IntegrityError: A candidate that would be retired was altered.
        RemoteError: Share or registry failed, after the retries; or something that refers to an image
            could not be removed: that image keeps its tags, the others are done.
        LeaseHeld: A promotion or withdrawal of one of the candidates that are retired now is running.
    """
    signer = services.promotion_signer(request.key, dry_run=request.dry_run)
    known = services.retry("read the releases", lambda: list(all_releases(services)))
    releases = [each for each in known if each.withdrawal is not None or _allowed(each)]
    pinned = pinned_in_registry([each.opened for each in releases if each.withdrawal is None], services)
    for ref, why in pinned.items():
        _log.warning("%s opens no line: %s", ref, why)
    images = services.configuration.images
    host = services.retry("ask ECR for the registry", lambda: services.registry.host) if images else ""
    window = _window([each for each in releases if each.ref not in pinned], host, services)
    found = _outside(window, services)
    owners, kept = _owners(found.remove, releases, host)
    attestations: dict[CandidateRef, str] = {}
    heads: dict[CandidateRef, str] = {}
    for release, _ in owners:
        release.opened.require_unaltered()
    leftovers = Leftovers()
    listed = _Listed(host, found.remove, services, leftovers)
    if not request.dry_run:
        assert signer is not None
        for release, tags in owners:
            with services.holding_candidate(release.ref) as lease:
                claim = _claim(tags, window, host)
                attestations[release.ref], opened, _ = attest(
                    release.opened, claim, signer, services, there=partial(_recorded, claim)
                )
                heads[release.ref] = opened.head
                gone = _remove(tags, lease, services, leftovers)
                kept += _require_gone(gone, services)
                listed.remove(release, gone, lease)
        done = [release.ref for release, _ in owners]
        listed.finish([each for each in releases if each.retirement is not None and each.ref not in done])
    stay = {each for each, _ in kept}
    removed = tuple(each for _, tags in owners for each in tags if each not in stay)
    portal = _from_portal(request, services) if request.portal else ()
    leftovers.require_none()
    return RetireReport(window.names, removed, (*found.kept, *kept), attestations, portal, heads, listed.kept)


def _from_portal(request: RetireRequest, services: Services) -> tuple[PortalRemoval, ...]:
    """Remove what lies outside the window of those releases that the portal has."""
    return tuple(
        remove_from_portal(PortalRemovalRequest(version, key=request.key, dry_run=request.dry_run), services)
        for version in portal_window(look_at_portal(services), services).outside
    )


def _allowed(release: Release) -> bool:
    """Whether a release was made as the policy asks for: any other opens no line, and is not touched."""
    refused = release_refusals(release.opened)
    if refused:
        _log.warning("%s opens no line: %s", release.ref, refused[0])
    return not refused


def _window(releases: Iterable[Release], host: str, services: Services) -> Window:
    """Return the supported lines: what was promoted to this registry and not withdrawn opens them."""
    released = [
        ReleaseVersion.parse(release.ref.version)
        for release in releases
        if release.withdrawal is None and _promotion(release, host) is not None
    ]
    return current_window(released, services)


def _promotion(release: Release, host: str) -> Promotion | None:
    """Return what the promotion left in this registry; None if it went elsewhere or cannot be read."""
    try:
        promoted = release.promoted()
    except IntegrityError as error:
        _log.warning("%s is ignored: %s", release.ref, error.message)
        return None
    return promoted if promoted.registry == host else None


def _outside(window: Window, services: Services) -> Retirement:
    ecr, days = services.configuration.ecr, services.configuration.support.protect_pulled_days
    since = services.now() - timedelta(days=days)
    tags: list[StoredTag] = []
    children: dict[str, frozenset[str]] = {}
    pulled: dict[tuple[str, str], str] = {}
    for image in services.configuration.images:
        name = image.repository
        for held in _held(name, services):
            tags += [StoredTag(name, tag, held.digest) for tag in held.tags]
            children[held.digest] = held.children
            if days and held.pulled is not None and held.pulled >= since:
                pulled[name, held.digest] = day(held.pulled)
    templates = TagTemplates(ecr.tags, ecr.moving_tags)
    return retirement(tags, window, templates, children=children, pulled=pulled)


def _held(name: str, services: Services) -> list[HeldImage]:
    try:
        return services.retry(f"list {name}", services.registry.inventory, name)
    except RepositoryNotFound:
        return []


def _owners(
    tags: Iterable[StoredTag], releases: list[Release], host: str
) -> tuple[list[tuple[Release, list[StoredTag]]], list[tuple[StoredTag, str]]]:
    """Find for each tag the promotion that recorded exactly it; without one it stays."""
    recorded: dict[StoredTag, Release] = {}
    for release in releases:
        promoted = _promotion(release, host)
        if promoted is not None:
            recorded |= {
                StoredTag(image.repository, tag, image.digest): release
                for image in promoted.images
                for tag in image.tags
            }
    owned: dict[CandidateRef, tuple[Release, list[StoredTag]]] = {}
    kept = []
    for each in tags:
        owner = recorded.get(each)
        if owner is None:
            kept.append((each, "no promotion on the share recorded it"))
        else:
            owned.setdefault(owner.ref, (owner, []))[1].append(each)
    return list(owned.values()), kept


def _claim(tags: list[StoredTag], window: Window, host: str) -> Claim:
    images: dict[tuple[str, str], list[str]] = {}
    for each in tags:
        images.setdefault((each.repository, each.digest), []).append(each.tag)
    predicate = {
        "registry": host,
        "supported": window.shown,
        "images": [
            {"repository": repository, "digest": digest, "tagsRemoved": removed}
            for (repository, digest), removed in images.items()
        ],
    }
    subjects = {f"{host}/{name}": digest.removeprefix("sha256:") for name, digest in images}
    return Claim(RETIREMENT, predicate, {}, subjects, by="retiredBy")


def _recorded(claim: Claim, opened: OpenCandidate) -> str:
    """Return the file name of the retirement that names all of these tags already; empty for none.

    A retirement that died has removed some of what it named. What it named and what was promoted again
    since has to be named again.
    """
    release = release_of(opened)
    if release is None or release.retirement is None:
        return ""
    said = release.retirement.statement.predicate
    same = all(said.get(name) == claim.predicate[name] for name in ("registry", "supported"))
    return release.retirement.file if same and _tags(claim.predicate) <= _tags(said) else ""


def _tags(predicate: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    """Return repository, digest and name of each tag that a retirement names."""
    images = predicate.get("images")
    return {
        (str(image.get("repository")), str(image.get("digest")), str(tag))
        for image in (images if isinstance(images, list) else [])
        if isinstance(image, Mapping) and isinstance(image.get("tagsRemoved"), list)
        for tag in image["tagsRemoved"]
    }


def _remove(tags: list[StoredTag], lease: Lease, services: Services, leftovers: Leftovers) -> list[StoredTag]:
    """Remove tags; each is read once more, and one that names something else by now is left alone.

    What refers to an image that loses its last tag goes first: as long as the image is there, another run
    finishes what one that died has left.

    Returns:
        The tags that were removed: not those of an image that something left over refers to.
    """
    going: dict[tuple[str, str], set[str]] = {}
    for each in tags:
        going.setdefault((each.repository, each.digest), set()).add(each.tag)
    stays: set[tuple[str, str]] = set()
    for name in dict.fromkeys(each.repository for each in tags):
        for held in _held(name, services):
            if held.tags and set(held.tags) <= going.get((name, held.digest), set()):
                lease.confirm()
                if not remove_referrers(name, held.digest, services, leftovers):
                    stays.add((name, held.digest))
    removed = [each for each in tags if (each.repository, each.digest) not in stays]
    for each in removed:
        what = f"{each.repository}:{each.tag}"
        now = services.retry(f"read {what}", services.registry.images, each.repository, [each.tag])
        if each.tag in now and now[each.tag].digest == each.digest:
            lease.confirm()
            services.retry(f"remove {what}", services.registry.remove_tag, each.repository, each.tag)
    return removed


def _indexes(release: Release, host: str) -> dict[str, MultiPlatformRecord]:
    """Return repository to image of each image for several platforms."""
    promoted = _promotion(release, host)
    repositories = {image.name: image.repository for image in promoted.images} if promoted else {}
    return {
        repositories[image.name]: image
        for image in release.opened.record.images
        if isinstance(image, MultiPlatformRecord) and image.name in repositories
    }


class _Listed:
    """Deletes what the indexes of retired releases listed, once they are gone.

    What has a tag, is listed by another index or is needed by another candidate stays.

    Args:
        host: The registry.
        going: All tags that this run removes.
        services: Share and registry.
        leftovers: Collects what refers to them and cannot be removed.
    """

    def __init__(
        self, host: str, going: Collection[StoredTag], services: Services, leftovers: Leftovers
    ) -> None:
        self._host = host
        self._going = frozenset(going)
        self._gone: set[StoredTag] = set()
        self._services = services
        self._leftovers = leftovers
        self._others = OtherCandidates(services)
        self._kept: dict[tuple[str, str], str] = {}

    @property
    def kept(self) -> tuple[KeptManifest, ...]:
        """What stays though no tag and no index names it, and indexes that got a tag meanwhile."""
        return tuple(KeptManifest(*place, reason) for place, reason in self._kept.items())

    def remove(self, release: Release, gone: Iterable[StoredTag], lease: Lease) -> None:
        """Delete what the indexes of a release listed.

        Args:
            release: The release.
            gone: Its tags that were removed.
            lease: Its lease.

        Raises:
            RemoteError: The registry still shows an index as it was, or failed, after the retries.
        """
        self._gone |= {*gone}
        services = self._services
        for name, image in _indexes(release, self._host).items():
            what = f"see the index {name}@{image.index.digest} gone"
            left = services.retry(what, self._without, name, image)
            if not left:
                continue
            with self._others.needing(release.ref, left) as needed:
                # Looked at again: no other candidate changes it now.
                still = _left(image, _held(name, services))
                for digest in left:
                    if digest in needed:
                        self._kept.setdefault((name, digest), needed[digest])
                    elif digest in still:
                        lease.confirm()
                        if not remove_referrers(name, digest, services, self._leftovers):
                            continue
                        lease.confirm()
                        what = f"delete {name}@{digest}"
                        services.retry(what, services.registry.remove_image, name, digest)
                        self._kept.pop((name, digest), None)

    def finish(self, retired: Iterable[Release]) -> None:
        """Delete what runs that died have left of earlier releases: without their index, no tag leads there.

        A release whose lease is held is left to the next run.

        Raises:
            RemoteError: Share or registry failed, after the retries.
        """
        held: dict[str, list[HeldImage]] = {}
        for release in retired:
            found: list[tuple[str, str]] = []
            for name, image in _indexes(release, self._host).items():
                if name not in held:
                    held[name] = _held(name, self._services)
                found += [(name, digest) for digest in _left(image, held[name])]
            if not found:
                continue
            try:
                with self._services.holding_candidate(release.ref) as lease:
                    self.remove(release, (), lease)
            except LeaseHeld as error:
                _log.warning(
                    "what an index of the retired %s listed stays: %s; run 'release retire' again then",
                    release.ref,
                    error.message,
                )
                for place in found:
                    self._kept.setdefault(place, f"someone else works on {release.ref}")

    def _without(self, name: str, image: MultiPlatformRecord) -> list[str]:
        """Return what is left of an index that is gone.

        Raises:
            RemoteError: The registry still shows the index under a tag that was removed.
        """
        index = image.index.digest
        try:
            held = self._services.registry.inventory(name)
        except RepositoryNotFound:
            return []
        shown = next((each for each in held if each.digest == index), None)
        removed = {each.tag for each in self._gone if (each.repository, each.digest) == (name, index)}
        if shown is None or not removed:
            return _left(image, held)
        if shown.tags and removed.issuperset(shown.tags):
            raise RemoteError(
                f"{name}: the last tag of the index {index} was removed, and the registry still shows it",
                hint="run the retirement again: it deletes what the index listed",
                retryable=True,  # or the answer was from before
            )
        others = [tag for tag in shown.tags if StoredTag(name, tag, index) not in self._going]
        if others or not shown.tags:
            named = f"the tag {others[0]} names it by now" if others else "its last tag names another image"
            self._kept[name, index] = f"{named}; what it lists stays with it"
        return []


def _left(image: MultiPlatformRecord, held: Iterable[HeldImage]) -> list[str]:
    """Return what an index listed that is gone, except what has a tag or is listed by another index."""
    found = {each.digest: each for each in held}
    if image.index.digest in found:
        return []
    listed = {digest for each in found.values() for digest in each.children}
    digests = dict.fromkeys(manifest.digest for manifest in image.manifests)
    return [each for each in digests if each in found and not found[each].tags and each not in listed]


def _require_gone(tags: list[StoredTag], services: Services) -> list[tuple[StoredTag, str]]:
    """Read everything back. Returns the tags that name something else by now, each with the reason.

    Raises:
        RemoteError: The registry shows a tag as it was.
    """
    names = dict.fromkeys(each.repository for each in tags)
    wanted = {name: [each for each in tags if each.repository == name] for name in names}

    def attempt() -> list[tuple[StoredTag, str]]:
        other = []
        for name, removed in wanted.items():
            try:
                found = services.registry.images(name, [each.tag for each in removed])
            except RepositoryNotFound:
                continue
            for each in removed:
                if each.tag not in found:
                    continue
                if found[each.tag].digest == each.digest:
                    raise RemoteError(
                        f"{name}: the tag {each.tag} was removed, and the registry still shows it",
                        hint="someone else changes the repository; run the retirement again",
                        retryable=True,  # or the answer was from before
                    )
                other.append((each, f"names {found[each.tag].digest} by now"))
        return other

    return services.retry("see the tags gone", attempt)
