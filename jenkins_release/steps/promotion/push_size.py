"""Counts in advance what a promotion will send."""

from __future__ import annotations

from collections.abc import Sequence

from jenkins_release.records.candidate import CandidateImage
from jenkins_release.records.plan import PlannedImage
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.promotion.blob_source import contents_of
from jenkins_release.steps.promotion.image_push import pushes_directly
from jenkins_release.steps.promotion.missing_blobs import MissingBlobs


def count_push_bytes(
    images: Sequence[PlannedImage], records: Sequence[CandidateImage], services: Services
) -> tuple[PlannedImage, ...]:
    """Return the images with the number of bytes that will be sent for each.

    It is exact if the compressed digest of every layer was recorded at the export: what a repository holds,
    and what can be mounted into it, is not sent. Without recorded digests, or with a Docker daemon, which
    compresses layers itself, it is the size of the layers in the archive.

    Args:
        images: The plan's images.
        records: The candidate's images.
        services: Configuration and registry.

    Raises:
        RemoteError: The registry failed, after the retries.
    """
    absent = [image for image in images if image.state == "absent"]
    if not pushes_directly(records, services) or not absent:
        return tuple(images)
    by_name = {record.name: record for record in records}
    known = {image.name: _known(by_name[image.name]) for image in absent}
    existing = [image.repository for image in images if image.repository_exists]
    missing = MissingBlobs(existing, services)
    missing.look({i.repository: sorted(known[i.name]) for i in absent if i.repository_exists})
    counted: dict[str, PlannedImage] = {}
    sent: set[str] = set()
    several = len(images) > 1
    for image in absent:
        unknown = sum(content.size for content in contents_of(by_name[image.name]) if not content.blob)
        total = unknown
        for digest, size in known[image.name].items():
            if not missing.lacks(image.repository, digest) or missing.lender(image.repository, digest):
                continue
            if digest in sent and several and missing.mounts:
                continue
            sent.add(digest)
            total += size
        exact = not unknown
        counted[image.name] = image.model_copy(update={"push_bytes": total, "push_exact": exact})
    return tuple(counted.get(image.name, image) for image in images)


def _known(record: CandidateImage) -> dict[str, int]:
    """Return the blobs of an image whose digests are known, as a map of digest to size in bytes."""
    return {content.blob: content.blob_size for content in contents_of(record) if content.blob}
