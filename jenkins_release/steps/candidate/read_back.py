"""Reads an archive back right after it was written, if ``export.read_back`` is set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.stream import at_most
from jenkins_release.images import ArchiveIndex
from jenkins_release.share.protocol import Share
from jenkins_release.share.staging import Staging
from jenkins_release.steps.candidate.content_store import ContentStore
from jenkins_release.steps.candidate.known_layers import Stretch
from jenkins_release.steps.candidate.layer_reuse import NotReusable
from jenkins_release.steps.context.services import Services


def read_back(
    path: str,
    index: ArchiveIndex,
    copied: Mapping[int, Stretch],
    staging: Staging,
    services: Services,
) -> None:
    """Compare what the share holds with what was written, if the configuration wants that.

    Args:
        path: The archive, below the candidate's folder.
        index: What was written.
        copied: The layers in it that the server copied.
        staging: The candidate being written.
        services: Where to read; configuration and progress.

    Raises:
        NotReusable: A copied layer is not what its candidate recorded, so the archive is unusable.
        IntegrityError: The share has something else than what was written.
        RemoteError: The share failed.
    """
    if not services.configuration.export.read_back:
        return
    with services.progress.task(f"read back {path}", index.size) as task:
        path = staging.path(path)
        found = hash_of(services.share, path, task.advance, expected=index.size)
    if found == (index.size, index.sha256):
        return
    damaged = [
        stretch
        for offset, stretch in copied.items()
        if not ContentStore(services.share).intact(replace(stretch, path=path, offset=offset))
    ]
    if damaged:
        raise NotReusable(
            damaged, f"{damaged[0].path} is damaged: check {damaged[0].origin} with 'candidate verify'"
        )
    raise IntegrityError(
        f"{services.share.name}: {path} was written with {index.size} bytes and SHA-256 {index.sha256}, "
        f"but read back as {found[0]} with {found[1]}",
        hint="the share does not return what was written: have its disk checked; nothing was exported",
    )


def hash_of(
    share: Share,
    path: str,
    advance: Callable[[int], None] = lambda _: None,
    *,
    expected: int | None = None,
) -> tuple[int, str]:
    """Read a file of a share, and return its bytes and their SHA-256 in hex.

    Args:
        share: Where it is.
        path: The file, below the share's root.
        advance: Called with the bytes of each piece.
        expected: Expected bytes; reading ends if there are more.
    """
    digest, size = sha256(), 0
    pieces = share.read(path)
    for piece in pieces if expected is None else at_most(pieces, expected):
        digest.update(piece)
        size += len(piece)
        advance(len(piece))
    return size, digest.hexdigest()
