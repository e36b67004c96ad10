"""``bundle.json``: what a setup zip is made of. It is in the zip, next to the files that it names."""

from __future__ import annotations

from hashlib import sha256
from typing import ClassVar

from pydantic import model_validator

from jenkins_release.records.base import Moment, Part, Record
from jenkins_release.records.candidate import Digest, FileRecord, Identifier

RECORD = "bundle.json"
SUMS = "SHA256SUMS"
ATTESTATIONS = "attestations.jsonl"
NOT_ATTESTED = frozenset({RECORD, SUMS, ATTESTATIONS})
"""Files that no attestation can name: the attestations themselves, and the files with their digest."""
COMPOSE = "docker-compose.yml"
OVERRIDE = "docker-compose.override.yml"
SETTINGS = "settings.txt"
RELEASE = "release.env"


class SetupImage(Part):
    """An image as the Compose file names it.

    Attributes:
        name: Short name.
        repository: Repository.
        digest: Manifest digest, from the promotion's attestation.
    """

    name: str
    repository: str
    digest: Digest


class SetupBundle(Record):
    """A setup zip.

    Attributes:
        product: Product name.
        version: Version.
        build: Build number of the candidate that was promoted.
        candidate_digest: Digest of that candidate's ``candidate.json``, which QA signed.
        registry: Host of the registry that the images are pulled from.
        images: Every image of the release.
        promoted_at: When it was promoted, UTC; the time that files in the zip carry.
        writer: Program that made the zip, with its version.
        files: Every file of the zip except this record and ``SHA256SUMS``, sorted by path.
    """

    SCHEMA: ClassVar[str] = "jenkins-release/setup/v1"

    product: Identifier
    version: Identifier
    build: Identifier
    candidate_digest: Digest
    registry: str
    images: tuple[SetupImage, ...]
    promoted_at: Moment
    writer: str
    files: tuple[FileRecord, ...]

    @property
    def folder(self) -> str:
        """The folder that the zip unpacks to."""
        return setup_folder(self.product, self.version)

    @model_validator(mode="after")
    def _consistent(self) -> SetupBundle:
        if len({file.path.casefold() for file in self.files}) != len(self.files):
            raise ValueError("two files have the same path (upper and lower case are one on Windows)")
        return self


def setup_folder(product: str, version: str) -> str:
    """Return the folder that a setup zip unpacks to, such as ``SkyDRM-setup-8.1.0``."""
    return f"{product}-setup-{version}"


def setup_zip_name(product: str, version: str) -> str:
    """Return the file name of a setup zip, such as ``SkyDRM-setup-8.1.0.zip``."""
    return f"{setup_folder(product, version)}.zip"


def setup_checksum_lines(record: bytes, files: tuple[FileRecord, ...]) -> bytes:
    """Return ``SHA256SUMS`` of a setup zip as ``sha256sum -c`` reads it."""
    lines = [f"{file.sha256}  {file.path}" for file in files]
    lines.append(f"{sha256(record).hexdigest()}  {RECORD}")
    return ("\n".join(lines) + "\n").encode()
