"""The plan: what releasing a candidate would do, computed from the candidate and the registry."""

from __future__ import annotations

from hashlib import sha256
from typing import ClassVar, Literal

from jenkins_release.records.base import Part, Record
from jenkins_release.records.candidate import Digest, Size
from jenkins_release.records.identity import IdentifiedImage

ImageState = Literal["absent", "pushed", "released"]


class TagNow(Part):
    """What a release tag currently names in the registry.

    Attributes:
        tag: The tag.
        moving: Whether the tag may be moved from one release to the next.
        digest: Manifest digest that it names, None if the tag is free.
        config_digest: Config digest behind it; None behind an index for several platforms.
    """

    tag: str
    moving: bool
    digest: Digest | None = None
    config_digest: Digest | None = None


class PlannedImage(IdentifiedImage):
    """One image of the plan.

    Attributes:
        name: Short name.
        repository: Repository in the registry.
        repository_exists: Whether it exists.
        candidate_tag: Temporary tag that the image is pushed under before the release tags are set.
        state: ``absent``: to be pushed; ``pushed``: verified under the candidate tag, release tags
            not all set; ``released``: every release tag names it.
        digest: Manifest digest in the registry, None while absent.
        candidate_tag_set: Whether the temporary tag currently exists.
        tags: Release tags and what they name now.
        push_bytes: Bytes of layers that may have to be pushed, 0 if the image is in the registry: their size
            in the archive, an upper bound.
        push_exact: Whether ``push_bytes`` is exactly what will be sent, including the config: every digest is
            known, and what the registry holds or can mount is not counted.
    """

    name: str
    repository: str
    repository_exists: bool
    candidate_tag: str
    state: ImageState
    digest: Digest | None = None
    candidate_tag_set: bool = False
    tags: tuple[TagNow, ...]
    push_bytes: Size
    push_exact: bool = False

    def is_named_by(self, tag: TagNow) -> bool:
        """Whether a tag names this image."""
        return self.identity == (tag.config_digest if self.config_digest else tag.digest)


class Plan(Record):
    """What a release of one candidate would do: promote its images, publish its installers.

    Attributes:
        product: Product name.
        version: Version.
        build: Build.
        candidate: Digest of ``candidate.json``.
        policy: Digest of the policy and of the keys that it trusts.
        requester: Who asked for the promotion; never the approver.
        registry: Registry host; empty if there are no images.
        images: Every image of the candidate.
        installers: Every installer of the candidate, by path.
        release_area: Where installers will be published; empty without installers or a release area.
        occupied: Release tags that name other content, each a full sentence with both digests.
        obstacles: What the configuration or the repositories do not allow, each a full sentence.
    """

    SCHEMA: ClassVar[str] = "jenkins-release/plan/v1"

    product: str
    version: str
    build: str
    candidate: Digest
    policy: Digest
    requester: str
    registry: str
    images: tuple[PlannedImage, ...]
    installers: tuple[str, ...] = ()
    release_area: str = ""
    occupied: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The digest that an approval names: SHA-256 of the plan's canonical JSON."""
        return f"sha256:{sha256(self.to_bytes()).hexdigest()}"

    @property
    def done(self) -> bool:
        """Whether nothing is left to do in the registry."""
        return all(image.state == "released" for image in self.images)
