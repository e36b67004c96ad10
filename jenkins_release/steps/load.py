"""Load: a candidate's images from the share into a Docker daemon, checked on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jenkins_release.errors import ConfigurationError, IntegrityError
from jenkins_release.records.candidate import ImageRecord
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps._archives import verified_archive
from jenkins_release.steps._open import OpenCandidate, check_sizes, open_candidate
from jenkins_release.steps.services import Services


@dataclass(frozen=True)
class LoadReport:
    """What was loaded.

    Attributes:
        ref: The candidate.
        images: The images, all of them with the recorded config digest.
        bytes: Bytes read from the share.
    """

    ref: CandidateRef
    images: tuple[ImageRecord, ...]
    bytes: int


def load_candidate(ref: CandidateRef, services: Services) -> LoadReport:
    """Load every image of a candidate into the daemon, without a copy on this machine.

    Raises:
        ConfigurationError: There is no such candidate, or it holds no images.
        IntegrityError: An archive or a loaded image is not what was recorded; an archive that
            fails the check is not loaded.
        RemoteError: Share or daemon failed, after the retries.
    """
    opened = open_candidate(ref, services)
    if not opened.record.images:
        raise ConfigurationError(
            f"candidate {ref} holds no images, there is nothing to load",
            hint="'jenkins-release candidate fetch' brings its installers",
        )
    check_sizes(opened, services)
    load_images(opened, opened.record.images, services)
    return LoadReport(ref, opened.record.images, sum(file.size for file in opened.record.archives()))


def load_images(opened: OpenCandidate, images: Sequence[ImageRecord], services: Services) -> None:
    """Load the archives that hold ``images`` and compare the daemon's config digests.

    Raises:
        IntegrityError: As :func:`load_candidate`.
    """
    for file in opened.record.archives():
        if not any(image.archive == file.path for image in images):
            continue

        def attempt(file=file) -> None:  # type: ignore[no-untyped-def]
            with services.progress.task(f"load {file.path}", file.size) as task:
                services.engine.load(verified_archive(file, opened, services, advance=task.advance))

        services.retry(f"load {file.path}", attempt)
    for image in images:
        found = services.retry(
            f"read the config digest of {image.reference}",
            lambda image=image: services.engine.config_digest(image.reference),  # type: ignore[misc]
        )
        if found != image.config_digest:
            raise IntegrityError(
                f"image {image.reference} in the daemon: expected config digest {image.config_digest}, "
                f"found {found}",
                hint="another job loads or tags the same name on this machine at the same time",
            )
