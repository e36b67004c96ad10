"""Makes an archive that every ``docker load`` takes from the image of one platform in an OCI layout.

Docker's classic image store does not load an OCI layout, and no store loads one platform of several from it.
The new archive has the same config and the same layers, read from the share and proven one by one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.stream import at_most
from jenkins_release.images.docker_archive import BLOCK, END, blob_path, file_header, image_entry, image_list
from jenkins_release.records.candidate import CandidateImage, PlatformRecord
from jenkins_release.steps.candidate.archive_reader import ALTERED
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.services import Services


def platform_archive(
    image: CandidateImage,
    part: PlatformRecord,
    opened: OpenCandidate,
    services: Services,
    advance: Callable[[int], None],
) -> Iterator[bytes]:
    """Yield the archive; ``manifest.json``, without which Docker loads nothing, comes when all is proven.

    Args:
        image: The image.
        part: What it is for the platform.
        opened: The candidate.
        services: The share.
        advance: Called with the bytes of each piece that was read.

    Raises:
        IntegrityError: The share has something else than what was recorded.
        RemoteError: The share failed.
    """
    places = {part.config_digest: (part.config_offset, part.config_size)}
    places |= {layer.digest: (layer.offset, layer.size) for layer in part.layers}
    for digest, (offset, size) in places.items():
        yield file_header(blob_path(digest), size)
        yield from _proven(image.archive, digest, offset, size, opened, services, advance)
        yield bytes(-size % BLOCK)
    listed = image_list(
        [image_entry(part.config_digest, [image.reference], [layer.digest for layer in part.layers])]
    )
    yield listed + bytes(-len(listed) % BLOCK) + END


def _proven(
    archive: str,
    digest: str,
    offset: int,
    size: int,
    opened: OpenCandidate,
    services: Services,
    advance: Callable[[int], None],
) -> Iterator[bytes]:
    sha256 = hashlib.sha256()
    pieces = services.share.read(
        f"{services.candidates.folder(opened.ref)}/{archive}", offset=offset, length=size
    )
    for piece in at_most(pieces, size):
        sha256.update(piece)
        advance(len(piece))
        yield piece
    found = f"sha256:{sha256.hexdigest()}"
    if found != digest:
        raise IntegrityError(
            f"{services.candidates.shown(opened.ref, archive)}: expected {digest} in {size} bytes at byte "
            f"{offset}, found {found}",
            hint=ALTERED,
        )
