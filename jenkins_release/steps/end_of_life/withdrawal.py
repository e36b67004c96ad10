"""What a withdrawal has to do, told from the promotion's record and the registry; and doing it."""

from __future__ import annotations

import logging

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused, IntegrityError, RemoteError
from jenkins_release.base.tags import pin_tag, registry_tags
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.records.registry_image import StoredImage
from jenkins_release.records.release import MovedTag, ReleasedImage, WithdrawnImage
from jenkins_release.registry.protocol import Repository, RepositoryNotFound
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.share.protocol import Lease
from jenkins_release.steps.candidate.authority import require_allowed
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.promotion.plan import candidate_tag
from jenkins_release.steps.publication.standing import pinned_in_registry
from jenkins_release.steps.release.releases import (
    CandidateLook,
    Release,
    earlier_candidates,
    promoted_here,
    release_of,
    require_proven,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TagReturn:
    """Where a moving tag goes.

    Attributes:
        tag: The tag.
        release: The release that it returns to.
        images: Repository to image of that release, as the registry holds it.
    """

    tag: str
    release: Release
    images: dict[str, StoredImage]


@dataclass(frozen=True)
class Todo:
    """What is left to do for one image.

    Attributes:
        image: What will have been done to the tags that still name the image.
        stored: The image in the registry, None if the registry holds it no more.
        repository: Its repository, None if that is gone.
        pinned: Whether the pinning tag names it already.
        returns: Tag to where it goes.
    """

    image: WithdrawnImage
    stored: StoredImage | None
    repository: Repository | None
    pinned: bool
    returns: dict[str, TagReturn]


def look(release: Release, seen: CandidateLook, services: Services) -> list[Todo]:
    """Compute what is left to do. Changes nothing.

    Args:
        release: The release.
        seen: The look at the candidates that this is a part of.
        services: Share and registry.

    Raises:
        ConfigurationError: The configuration leads to another registry than the promotion's.
        IntegrityError: A fixed release tag names other content than the promotion recorded.
        RemoteError: Share or registry failed, after the retries.
    """
    promoted = promoted_here(release, services)
    moving = _moving_tags(release, services)
    state = {image.name: _read(image, release, services) for image in promoted.images}
    wanted = {
        tag
        for image in promoted.images
        for tag in image.tags
        if tag in moving and _names(state[image.name][1], tag) == image.digest
    }
    ways = _WaysBack(release, seen, services)
    returns = {tag: ways.of(moving[tag], tag) for tag in sorted(wanted)}
    return [_todo(image, *state[image.name], moving, returns, release) for image in promoted.images]


def prepare(release: Release, todos: list[Todo], lease: Lease, services: Services) -> None:
    """Pin the images, and do all that needs further rights, before anything is recorded or removed.

    With its last tag ECR deletes an image (ECR API reference, BatchDeleteImage): the pinning tag
    comes first. Removing the candidate's temporary tag, which a promotion that died may have left,
    also shows that tags can be removed at all.
    """
    registry, temporary = services.registry, candidate_tag(release.opened)
    for todo in todos:
        name = todo.image.repository
        if todo.stored is not None and not todo.pinned:
            lease.confirm()
            _set(todo.stored, _pin(release, todo.image.digest), services)
        if todo.repository is None:
            continue
        lease.confirm()
        services.retry(f"remove {name}:{temporary}", registry.remove_tag, name, temporary)
        for tag in todo.returns:
            if todo.repository.is_immutable(tag):
                lease.confirm()
                services.retry(f"let {name}:{tag} move", registry.allow_moving, todo.repository, tag)


def take_back(todos: list[Todo], lease: Lease, services: Services) -> None:
    """Move the moving tags of all images back, then remove the release tags.

    Each tag is read once more right before: one that names something else by then is left alone.
    """
    for todo in todos:
        for tag, way in todo.returns.items():
            if _current(todo.image, tag, services) == todo.image.digest:
                lease.confirm()
                _set(way.images[todo.image.repository], tag, services)
    for todo in todos:
        name = todo.image.repository
        for tag in todo.image.tags_removed:
            if _current(todo.image, tag, services) == todo.image.digest:
                lease.confirm()
                services.retry(f"remove {name}:{tag}", services.registry.remove_tag, name, tag)
                _log.info("removed %s:%s", name, tag)


def require_gone(release: Release, services: Services) -> None:
    """Read everything back: no release tag names the images, and the pinning tags do.

    Raises:
        RemoteError: The registry shows something else.
    """

    def attempt() -> None:
        for todo in look(release, CandidateLook(services), services):
            left = [*todo.image.tags_removed, *todo.image.moved_tags]
            if left or (todo.stored is not None and not todo.pinned):
                shown = f"the tag {left[0]}" if left else "no pinning tag"
                raise RemoteError(
                    f"{todo.image.repository}: the tags were removed, but the registry still shows {shown}",
                    hint="someone else changes the repository; run the withdrawal again",
                    retryable=True,  # or the answer was from before
                )

    services.retry(f"see the tags of {release.ref} gone", attempt)


def _pin(release: Release, digest: str) -> str:
    return pin_tag(release.ref.version, release.ref.build, digest)


def _moving_tags(release: Release, services: Services) -> dict[str, str]:
    """Return the moving tags of the release, each with its template."""
    version, section = ReleaseVersion.parse(release.ref.version), services.configuration.ecr
    fixed = registry_tags(section.tags, version, release.ref.build)
    found = {}
    for template in section.moving_tags:
        (tag,) = registry_tags([template], version, release.ref.build)
        if tag not in fixed:
            found[tag] = template
    return found


def _read(
    image: ReleasedImage, release: Release, services: Services
) -> tuple[Repository | None, dict[str, StoredImage]]:
    """Read the repository and what the digest, the pinning tag and every release tag name."""
    registry, name = services.registry, image.repository
    references = [image.digest, _pin(release, image.digest), *image.tags]
    try:
        repository = services.retry(f"describe {name}", registry.repository, name)
        stored = services.retry(f"read {name}", registry.images, name, references)
    except RepositoryNotFound:
        return None, {}
    return repository, stored


def _names(stored: dict[str, StoredImage], tag: str) -> str | None:
    return stored[tag].digest if tag in stored else None


def _todo(
    image: ReleasedImage,
    repository: Repository | None,
    stored: dict[str, StoredImage],
    moving: dict[str, str],
    returns: dict[str, TagReturn | None],
    release: Release,
) -> Todo:
    pin = _pin(release, image.digest)
    if _names(stored, pin) not in {None, image.digest}:
        raise _foreign(image, pin, stored[pin].digest, "it is not a tag of this release")
    removed, ways = [], {}
    for tag in image.tags:
        digest = _names(stored, tag)
        if digest == image.digest:
            way = returns.get(tag)
            if way is None or image.repository not in way.images:
                removed.append(tag)
            elif way.images[image.repository].digest != digest:  # else that release has the same image
                ways[tag] = way
        elif digest is not None and tag not in moving and release.withdrawal is None:
            raise _foreign(
                image, tag, digest, "find out who moved it; a moving tag belongs in ecr.moving_tags"
            )
    done = WithdrawnImage(
        name=image.name,
        repository=image.repository,
        digest=image.digest,
        pinnedBy=pin if image.digest in stored else "",
        tagsRemoved=tuple(removed),
        movedTags={
            tag: MovedTag.model_validate({"from": image.digest, "to": way.images[image.repository].digest})
            for tag, way in ways.items()
        },
    )
    return Todo(done, stored.get(image.digest), repository, pin in stored, ways)


def _foreign(image: ReleasedImage, tag: str, found: str, hint: str) -> IntegrityError:
    return IntegrityError(
        f"the tag {image.repository}:{tag} names {found}, but the promotion recorded {image.digest}",
        hint=f"nothing was changed: {hint}",
    )


class _WaysBack:
    """What moving tags may return to; each release is read once, however many tags it would carry.

    A candidate that was altered, or released against the policy, is passed over: nothing returns to what
    cannot be proven.

    Args:
        bad: The release that the tags leave.
        seen: The candidates.
        services: The registry.
    """

    def __init__(self, bad: Release, seen: CandidateLook, services: Services) -> None:
        self._bad = bad
        self._seen = seen
        self._services = services
        self._read: dict[CandidateRef, tuple[Release, dict[str, StoredImage]] | str] = {}

    def of(self, template: str, tag: str) -> TagReturn | None:
        """Find the newest release in force that would carry a tag, and that the registry still holds."""
        for ref in earlier_candidates(template, tag, self._bad.ref, self._seen.refs):
            if ref not in self._read:
                self._read[ref] = self._look(ref)
            found = self._read[ref]
            if not isinstance(found, str):
                return TagReturn(tag, *found)
            if found:
                _log.warning("%s does not return to %s: %s", tag, ref, found)
        return None

    def _look(self, ref: CandidateRef) -> tuple[Release, dict[str, StoredImage]] | str:
        """Return the release and its images by repository; else why not, empty if nobody has to know."""
        try:
            opened = self._seen.open(ref)
        except (IntegrityError, ConfigurationError) as error:
            return error.message
        release = release_of(opened)
        if release is None or release.withdrawal is not None or release.retirement is not None:
            return ""
        try:
            require_proven(opened)
            require_allowed(opened)
            promoted = release.promoted()
        except (IntegrityError, GateRefused) as error:
            return error.message
        if promoted.registry != self._bad.promoted().registry:
            return ""
        pinned = pinned_in_registry([opened], self._services)
        if pinned:
            return pinned[ref]
        held = {image.repository: _held(image, self._services) for image in promoted.images}
        missing = [repository for repository, stored in held.items() if stored is None]
        if missing:
            return f"ECR lacks its {missing[0]}"
        return release, {repository: stored for repository, stored in held.items() if stored is not None}


def _held(image: ReleasedImage, services: Services) -> StoredImage | None:
    try:
        found = services.retry(
            f"read {image.repository}", services.registry.images, image.repository, [image.digest]
        )
    except RepositoryNotFound:
        return None
    stored = found.get(image.digest)
    if stored is None or image.config_digest not in {None, stored.config_digest}:
        return None
    return stored


def _current(image: WithdrawnImage, tag: str, services: Services) -> str | None:
    found = services.retry(
        f"read {image.repository}:{tag}", services.registry.images, image.repository, [tag]
    )
    return _names(found, tag)


def _set(image: StoredImage, tag: str, services: Services) -> None:
    what = f"set {image.repository}:{tag}"
    services.retry(what, services.registry.set_tag, image, tag)
    _log.info("%s to %s", what, image.digest)
