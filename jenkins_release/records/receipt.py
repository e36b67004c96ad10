"""A receipt: what a user loaded or fetched on a machine, so that a sign-off can say what was tested."""

from __future__ import annotations

from typing import ClassVar, Literal

from jenkins_release.records.base import Moment, Part, Record
from jenkins_release.records.candidate import Digest, FileRecord, Identifier


class ReceivedImage(Part):
    """An image that the Docker daemon held after the load.

    Attributes:
        reference: Its name there.
        config_digest: Its config digest, as in the candidate.
        image_id: The daemon's id for its content.
        platform: Which of several platforms it is for; None if it has one.
    """

    reference: str
    config_digest: Digest
    image_id: str = ""
    platform: str | None = None


class Receipt(Record):
    """What one user got of one candidate on one machine. It is not signed: only that user can write it.

    Attributes:
        product: Product.
        version: Version.
        build: Build.
        share: The share that the candidate came from.
        candidate: Digest of ``candidate.json``.
        verb: What was done.
        images: What was loaded; empty after a fetch.
        daemon: URL of the Docker daemon; empty after a fetch.
        files: What was fetched; empty after a load.
        folder: Where to; empty after a load.
        host: The machine.
        by: Who did it: the Jenkins user, or the login name.
        build_url: URL of the Jenkins build, or an empty string.
        received_at: When it was complete, UTC.
    """

    SCHEMA: ClassVar[str] = "jenkins-release/receipt/v1"

    product: Identifier
    version: Identifier
    build: Identifier
    share: str
    candidate: Digest
    verb: Literal["load", "fetch"]
    images: tuple[ReceivedImage, ...] = ()
    daemon: str = ""
    files: tuple[FileRecord, ...] = ()
    folder: str = ""
    host: str
    by: str
    build_url: str = ""
    received_at: Moment
