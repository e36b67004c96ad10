"""``release.json``: what a published release is made of; it is next to its files in the release area."""

from __future__ import annotations

from hashlib import sha256
from typing import ClassVar

from pydantic import model_validator

from jenkins_release.records.base import Moment, Record
from jenkins_release.records.candidate import Digest, FileRecord, Identifier, PublishedKind


class PublishedFile(FileRecord):
    """A file that customers download.

    Attributes:
        kind: ``installer``; ``setup`` for the zip with which a customer deploys the images; ``sbom`` or
            ``vex`` for a document that describes an image.
    """

    kind: PublishedKind


class PublishedRelease(Record):
    """A release in the release area.

    Attributes:
        product: Product name.
        version: Version.
        build: Build number of the candidate that it was published from.
        candidate_digest: Digest of that candidate's ``candidate.json``, which QA signed.
        revision: Source revision; empty if unknown.
        published_at: When, UTC.
        published_by: Who started the publication.
        build_url: URL of the Jenkins build that published it; empty outside Jenkins.
        publisher: Program that wrote it, with its version.
        files: Every file that customers download, sorted by path.
    """

    SCHEMA: ClassVar[str] = "jenkins-release/release/v1"

    product: Identifier
    version: Identifier
    build: Identifier
    candidate_digest: Digest
    revision: str
    published_at: Moment
    published_by: str
    build_url: str
    publisher: str
    files: tuple[PublishedFile, ...]

    @property
    def candidate(self) -> str:
        """``version/build`` of the candidate."""
        return f"{self.version}/{self.build}"

    @model_validator(mode="after")
    def _consistent(self) -> PublishedRelease:
        if len({file.path.casefold() for file in self.files}) != len(self.files):
            raise ValueError("two files have the same path (upper and lower case are one on SMB)")
        return self


def release_checksum_lines(record: bytes, files: tuple[PublishedFile, ...]) -> bytes:
    """Return ``SHA256SUMS`` of a published release as ``sha256sum -c`` reads it."""
    lines = [f"{sha256(record).hexdigest()} *release.json"]
    lines += [f"{file.sha256} *{file.path}" for file in files]
    return ("\n".join(lines) + "\n").encode()
