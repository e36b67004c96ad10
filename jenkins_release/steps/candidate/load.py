"""Load: a candidate's images from the share into a Docker daemon, checked on the way."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.progress import Task, telling_waits
from jenkins_release.images import LocalImage
from jenkins_release.images.protocol import PullRefused
from jenkins_release.oci.platforms import parse_platform
from jenkins_release.records.candidate import (
    CandidateImage,
    FileRecord,
    ImageRecord,
    ListedPlatform,
    MultiPlatformRecord,
    PlatformRecord,
)
from jenkins_release.records.receipt import ReceivedImage
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.archive_reader import check_manifests, verified_archive
from jenkins_release.steps.candidate.load_by_pull import pull_images
from jenkins_release.steps.candidate.opened import OpenCandidate, check_sizes, open_candidate
from jenkins_release.steps.candidate.platform_archive import platform_archive
from jenkins_release.steps.candidate.receipt import write_receipt
from jenkins_release.steps.candidate.served import manifest_of
from jenkins_release.steps.context.services import Services

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadReport:
    """What was loaded.

    Attributes:
        ref: The candidate.
        images: The images, all of them with the recorded config digest.
        bytes: Bytes read from the share.
        digest: Digest of ``candidate.json``: what is tested from now on.
        receipt: Where the receipt for the sign-off is kept; None if it could not be written.
        platforms: Short name of each image for several platforms, and the platform that was loaded.
    """

    ref: CandidateRef
    images: tuple[CandidateImage, ...]
    bytes: int
    digest: str
    receipt: Path | None
    platforms: Mapping[str, str] = field(default_factory=dict)


def load_candidate(ref: CandidateRef, services: Services, *, platform: str = "") -> LoadReport:
    """Load every image of a candidate into the daemon, without a copy on this machine's disk.

    A receipt is kept for this user's sign-off on this machine.

    Args:
        ref: The candidate.
        services: Share and daemon.
        platform: Which of several platforms to load; by default that of the daemon's machine.

    Raises:
        ConfigurationError: There is no such candidate, it holds no images, or an image is not for the
            platform.
        IntegrityError: An archive or a loaded image is not what was recorded; an archive that
            fails the check is not loaded.
        RemoteError: Share or daemon failed, after the retries.
    """
    opened = open_candidate(ref, services)
    record = opened.record
    if not record.images:
        raise ConfigurationError(
            f"candidate {ref} has no images, so there is nothing to load",
            hint="'jenkins-release candidate fetch' copies its installers",
        )
    check_sizes(opened)
    parts = _parts(record.images, services, platform)
    total, held = load_images(opened, record.images, services, parts)
    images = [
        ReceivedImage(
            reference=image.reference,
            config_digest=parts[image.name].config_digest,
            image_id=held[image.name].image_id,
            platform=parts[image.name].platform if isinstance(image, MultiPlatformRecord) else None,
        )
        for image in record.images
    ]
    receipt = write_receipt(opened, "load", services, images=images, daemon=services.engine.url)
    several = {
        image.name: parts[image.name].platform
        for image in record.images
        if isinstance(image, MultiPlatformRecord)
    }
    return LoadReport(ref, record.images, total, opened.digest, receipt, several)


def _parts(
    images: Sequence[CandidateImage], services: Services, platform: str = ""
) -> dict[str, PlatformRecord]:
    """Choose the image of one platform for each image; those for one platform are loaded on any machine."""
    several = [image for image in images if isinstance(image, MultiPlatformRecord)]
    if not several and not platform:
        return {image.name: image.parts[0] for image in images}
    wanted = parse_platform(platform or services.retry("describe the daemon", services.engine.info).platform)
    found, missing = {}, []
    for image in images:
        fitting = [part for part in image.parts if parse_platform(part.platform) == wanted]
        if not fitting and not platform and len(image.parts) == 1:
            fitting = list(image.parts)
        if fitting:
            found[image.name] = fitting[0]
        else:
            missing.append(f"{image.reference} is for {image.platform}, not for {wanted}")
    if missing:
        whose = "" if platform else f", the platform of the daemon at {services.engine.url}"
        raise ConfigurationError(
            f"{missing[0]}{whose}",
            hint="test on such a machine, or name another platform with --platform",
            reasons=missing,
        )
    return found


def load_images(
    opened: OpenCandidate,
    images: Sequence[CandidateImage],
    services: Services,
    parts: Mapping[str, PlatformRecord] | None = None,
    *,
    whole: bool = False,
) -> tuple[int, dict[str, LocalImage]]:
    """Bring ``images`` into the daemon and compare the daemon's config digests.

    Args:
        opened: The candidate.
        images: Which of its images.
        services: Share and daemon.
        parts: Short name of each image to what is loaded of it; by default for the daemon's machine.
        whole: Read the archives to their ends, also where the daemon could do without.

    Returns:
        The bytes that were read from the share, and short name of each image to what the daemon has now.

    Raises:
        IntegrityError: As :func:`load_candidate`.
    """
    chosen = parts or _parts(images, services)
    for image in images:
        check_manifests(image, opened, services)
    total = None if whole else _by_pull(opened, images, chosen, services)
    if total is None:
        total = _by_archive(opened, images, chosen, services)
    return total, {image.name: _held(image, chosen[image.name], services) for image in images}


def _held(image: CandidateImage, part: PlatformRecord, services: Services) -> LocalImage:
    """Return what the daemon has under the image's name. Raises IntegrityError if that is another image.

    After a pull into containerd's store, the daemon's id is the digest of the manifest that was pulled, and
    that names the config. Such an image cannot always be saved to look at its config: containerd does not
    fetch layers that it has unpacked already, even if it no longer has their files.
    """
    if isinstance(part, ListedPlatform):
        manifest = part.manifest.digest
    else:
        assert isinstance(image, ImageRecord)  # of one platform
        manifest = manifest_of(image).digest
    held = services.retry(f"describe the image {image.reference}", services.engine.inspect, image.reference)
    if held.image_id == manifest:
        return held
    what = f"read the config digest of {image.reference}"
    found = held.config_digest or services.retry(what, services.engine.config_digest, image.reference)
    if found != part.config_digest:
        raise IntegrityError(
            f"image {image.reference} in the daemon: expected config digest {part.config_digest}, "
            f"found {found}",
            hint="another job loads or tags the same name on this machine at the same time",
        )
    return held


def _by_pull(
    opened: OpenCandidate,
    images: Sequence[CandidateImage],
    parts: Mapping[str, PlatformRecord],
    services: Services,
) -> int | None:
    """Let the daemon pull the images; None if their archives have to be loaded."""
    source, url = services.configuration.load.source, services.engine.url
    if source == "load":
        return None
    if source == "auto" and not services.engine.may_share_loopback:
        _log.debug("the daemon at %s is on another machine: the archives are loaded", url)
        return None
    try:
        return pull_images(opened, images, parts, services)
    except PullRefused as error:
        if source == "pull":
            raise
        _log.info(
            "the archives are loaded, since the daemon cannot pull from this machine: %s", error.message
        )
        return None


def _by_archive(
    opened: OpenCandidate,
    images: Sequence[CandidateImage],
    parts: Mapping[str, PlatformRecord],
    services: Services,
) -> int:
    """Send the archives to the daemon."""
    total = 0
    for file in opened.record.archives():
        held = [image for image in images if image.archive == file.path]
        if held and not _is_layout(held[0]):
            services.retry(f"load {file.path}", _load, file, opened, services)
            total += file.size
    for image in images:
        if _is_layout(image):
            part = parts[image.name]
            services.retry(f"load {image.reference}", _load_part, image, part, opened, services)
            total += part.config_size + part.size
    return total


def _is_layout(image: CandidateImage) -> bool:
    """Whether the archive is an OCI layout, of which a new archive is made for the daemon."""
    return isinstance(image, MultiPlatformRecord) or image.layout == "oci"


def _load(file: FileRecord, opened: OpenCandidate, services: Services) -> None:
    with services.progress.task(f"load {file.path}", file.size) as task:
        archive = verified_archive(file, opened, services, advance=task.advance)
        _send(archive, task, services)


def _load_part(
    image: CandidateImage, part: PlatformRecord, opened: OpenCandidate, services: Services
) -> None:
    shown = f"load {image.reference} for {part.platform}"
    with services.progress.task(shown, part.config_size + part.size) as task:
        archive = platform_archive(image, part, opened, task.advance)
        _send(archive, task, services)


def _send(archive: Iterator[bytes], task: Task, services: Services) -> None:
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
