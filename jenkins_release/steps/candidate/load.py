"""Load: a candidate's images from the share into a Docker daemon, checked on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.progress import telling_waits
from jenkins_release.records.candidate import FileRecord, ImageRecord
from jenkins_release.records.receipt import ReceivedImage
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.archive_reader import verified_archive
from jenkins_release.steps.candidate.opened import OpenCandidate, check_sizes, open_candidate
from jenkins_release.steps.candidate.receipt import write_receipt
from jenkins_release.steps.context.services import Services


@dataclass(frozen=True)
class LoadReport:
    """What was loaded.

    Attributes:
        ref: The candidate.
        images: The images, all of them with the recorded config digest.
        bytes: Bytes read from the share.
        digest: Digest of ``candidate.json``: what is tested from now on.
        receipt: Where the receipt for the sign-off is kept; None if it could not be written.
    """

    ref: CandidateRef
    images: tuple[ImageRecord, ...]
    bytes: int
    digest: str
    receipt: Path | None


def load_candidate(ref: CandidateRef, services: Services) -> LoadReport:
    """Load every image of a candidate into the daemon, without a copy on this machine's disk.

    A receipt is kept for this user's sign-off on this machine.

    Raises:
        ConfigurationError: There is no such candidate, or it holds no images.
        IntegrityError: An archive or a loaded image is not what was recorded; an archive that
            fails the check is not loaded.
        RemoteError: Share or daemon failed, after the retries.
    """
    opened = open_candidate(ref, services)
    if not opened.record.images:
        raise ConfigurationError(
            f"candidate {ref} has no images, so there is nothing to load",
            hint="'jenkins-release candidate fetch' copies its installers",
        )
    check_sizes(opened)
    load_images(opened, opened.record.images, services)
    images = [_received(image, services) for image in opened.record.images]
    receipt = write_receipt(opened, "load", services, images=images, daemon=services.engine.url)
    total = sum(file.size for file in opened.record.archives())
    return LoadReport(ref, opened.record.images, total, opened.digest, receipt)


def _received(image: ImageRecord, services: Services) -> ReceivedImage:
    what = f"describe the image {image.reference}"
    held = services.retry(what, services.engine.inspect, image.reference)
    return ReceivedImage(reference=image.reference, config_digest=image.config_digest, image_id=held.image_id)


def load_images(opened: OpenCandidate, images: Sequence[ImageRecord], services: Services) -> None:
    """Load the archives that hold ``images`` and compare the daemon's config digests.

    Raises:
        IntegrityError: As :func:`load_candidate`.
    """
    for file in opened.record.archives():
        if any(image.archive == file.path for image in images):
            services.retry(f"load {file.path}", _load, file, opened, services)
    for image in images:
        what = f"read the config digest of {image.reference}"
        found = services.retry(what, services.engine.config_digest, image.reference)
        if found != image.config_digest:
            raise IntegrityError(
                f"image {image.reference} in the daemon: expected config digest {image.config_digest}, "
                f"found {found}",
                hint="another job loads or tags the same name on this machine at the same time",
            )


def _load(file: FileRecord, opened: OpenCandidate, services: Services) -> None:
    with services.progress.task(f"load {file.path}", file.size) as task:
        archive = verified_archive(file, opened, services, advance=task.advance)
        daemon = "the Docker daemon"
        services.engine.load(
            telling_waits(
                archive,
                task,
                source=services.share.name,
                sink=daemon,
                last=f"{daemon} to unpack the images",
            )
        )
