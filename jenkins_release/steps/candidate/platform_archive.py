"""Makes an archive that every ``docker load`` takes from the image of one platform in an OCI layout.

Docker's classic image store does not load an OCI layout, and no store loads one platform of several from it.
The new archive has the same config and the same layers, read from the share and proven one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jenkins_release.images.docker_archive import BLOCK, END, blob_path, file_header, image_entry, image_list
from jenkins_release.records.candidate import CandidateImage, PlatformRecord
from jenkins_release.steps.candidate.content_store import platform_blobs
from jenkins_release.steps.candidate.opened import OpenCandidate


def platform_archive(
    image: CandidateImage, part: PlatformRecord, opened: OpenCandidate, advance: Callable[[int], None]
) -> Iterator[bytes]:
    """Yield the archive; ``manifest.json``, without which Docker loads nothing, comes when all is proven.

    Args:
        image: The image.
        part: What it is for the platform.
        opened: The candidate.
        advance: Called with the bytes of each piece that was read.

    Raises:
        IntegrityError: The share has something else than what was recorded.
        RemoteError: The share failed.
    """
    blobs = {blob.digest: blob for blob in platform_blobs(image, part)}
    for blob in blobs.values():
        yield file_header(blob_path(blob.digest), blob.size)
        for piece in opened.content.read(blob):
            advance(len(piece))
            yield piece
        yield bytes(-blob.size % BLOCK)
    listed = image_list(
        [image_entry(part.config_digest, [image.reference], [layer.digest for layer in part.layers])]
    )
    yield listed + bytes(-len(listed) % BLOCK) + END
