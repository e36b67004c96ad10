"""The predicates of promotion, publication, portal and withdrawal attestations."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError

from jenkins_release.base.errors import IntegrityError
from jenkins_release.records.attestation import Statement
from jenkins_release.records.base import Part
from jenkins_release.records.candidate import Digest, PublishedKind, Sha256, Size
from jenkins_release.records.identity import IdentifiedImage

Name = Annotated[str, Field(min_length=1)]


class Predicate(Part):
    """The predicate of one of our statements."""

    @classmethod
    def of(cls, statement: Statement, where: str) -> Self:
        """Read the predicate of a statement whose signature was verified.

        Raises:
            IntegrityError: A field is missing or wrong: the key's holder signed something else.
        """
        try:
            return cls.model_validate(statement.predicate)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise IntegrityError(
                f"{where}: the {statement.kind} predicate cannot be read: {place}: {first['msg']}",
                hint="another program or a newer jenkins-release wrote it",
            ) from error


class ReleasedImage(IdentifiedImage):
    """An image as a promotion left it in the registry.

    Attributes:
        name: Short name.
        repository: Repository.
        digest: Manifest digest that customers pull.
        config_digests: Digest of the config for each of several platforms; empty for one.
        tags: Release tags that named it, fixed and moving ones.
    """

    name: Name
    repository: Name
    config_digest: Digest | None = Field(default=None, alias="configDigest")
    index_digest: Digest | None = Field(default=None, alias="indexDigest")
    config_digests: dict[str, Digest] = Field(default_factory=dict, alias="configDigests")
    digest: Digest
    tags: tuple[Name, ...]


class NamedApproval(Part):
    """An approval that counted when the release tags were set.

    Attributes:
        sequence: Its place in the chain of attestations.
        approver: Who approved.
        plan_digest: Digest of the plan.
    """

    sequence: int
    approver: Name
    plan_digest: Digest = Field(alias="planDigest")


class Promotion(Predicate):
    """The predicate of a promotion.

    Attributes:
        registry: Host of the registry.
        images: Every image.
        approvals: The approvals that it relies on.
    """

    registry: Name
    images: tuple[ReleasedImage, ...]
    approvals: tuple[NamedApproval, ...] = ()


class ReleasedFile(Part):
    """A file as a publication left it in the release area: path, kind, bytes, SHA-256 in hex."""

    path: Name
    kind: PublishedKind
    size: Size
    sha256: Sha256


class Publication(Predicate):
    """The predicate of a publication.

    Attributes:
        location: Folder in the release area.
        release: Digest of ``release.json``.
        files: Every file.
        approvals: The approvals that it relies on.
    """

    location: Name
    release: Digest
    files: tuple[ReleasedFile, ...]
    approvals: tuple[NamedApproval, ...] = ()

    @property
    def subjects(self) -> dict[str, str]:
        """The subjects besides ``candidate.json``: each file, and ``release.json``."""
        return {file.path: file.sha256 for file in self.files} | {
            "release.json": self.release.removeprefix("sha256:")
        }


class MovedTag(Part):
    """How a moving tag moves: from the digest of the bad release to that of the release before."""

    origin: Digest = Field(alias="from")
    target: Digest = Field(alias="to")


class WithdrawnImage(Part):
    """What a withdrawal does to one image.

    Attributes:
        name: Short name.
        repository: Repository.
        digest: Manifest digest, which the registry keeps.
        pinned_by: Tag that keeps it; empty if the registry no longer held the image.
        tags_removed: Removed tags: fixed ones, and moving ones without a release to return to.
        moved_tags: Moving tags that return to the release before.
    """

    name: Name
    repository: Name
    digest: Digest
    pinned_by: str = Field(default="", alias="pinnedBy")
    tags_removed: tuple[Name, ...] = Field(default=(), alias="tagsRemoved")
    moved_tags: dict[str, MovedTag] = Field(default_factory=dict, alias="movedTags")

    @property
    def touched(self) -> bool:
        """Whether a tag that customers see is removed or moved."""
        return bool(self.tags_removed or self.moved_tags)

    def covers(self, other: WithdrawnImage) -> bool:
        """Whether this includes everything that ``other`` does to the same image."""
        return (
            (self.repository, self.digest) == (other.repository, other.digest)
            and {*other.tags_removed} <= {*self.tags_removed}
            and other.moved_tags.items() <= self.moved_tags.items()
        )


class WithdrawalRecord(Predicate):
    """The predicate of a withdrawal: registry host and what happens to each image."""

    registry: Name
    images: tuple[WithdrawnImage, ...]


class PortalRecord(Predicate):
    """The predicate of an upload to a download portal, or of a removal from it.

    Attributes:
        action: ``upload`` or ``removal``.
        portal: The portal's name, such as ``s3://downloads/products``.
        release_digest: Digest of ``release.json``; empty for the removal of a release that never had one
            there.
    """

    action: Literal["upload", "removal"]
    portal: Name
    release_digest: Digest | Literal[""] = Field(alias="releaseDigest")
