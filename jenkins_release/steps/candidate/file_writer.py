"""Streams a file of the build's output into a candidate that is being written."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.stream import fan_out
from jenkins_release.installers import LocalFile
from jenkins_release.records.candidate import FileRecord
from jenkins_release.share.staging import Staging
from jenkins_release.steps.candidate.read_back import hash_of
from jenkins_release.steps.context.services import Services


def write_file(local: LocalFile, target: str, staging: Staging, services: Services) -> FileRecord:
    """Write a file into a candidate, and hash it on the way.

    Args:
        local: The file.
        target: Its path in the candidate.
        staging: The candidate.
        services: The share and its configuration.

    Raises:
        IntegrityError: The file was changed meanwhile, or the share returns something else than was written.
        RemoteError: The share failed.
    """
    return write_pieces(local.pieces(), local.size, target, staging, services)


def write_pieces(
    pieces: Iterable[bytes], expected: int, target: str, staging: Staging, services: Services
) -> FileRecord:
    """Write the pieces of a file into a candidate, and hash them on the way.

    Args:
        pieces: Its bytes.
        expected: Their number, for the progress.
        target: Its path in the candidate.
        staging: The candidate.
        services: The share and its configuration.

    Raises:
        IntegrityError: The share returns something else than was written.
        RemoteError: The share failed.
    """
    digest = sha256()
    with (
        staging.create(target) as writer,
        services.progress.task(f"export {target}", expected) as task,
    ):

        def write(piece: bytes) -> None:
            writer.write(piece)
            task.advance(len(piece))

        size = fan_out(pieces, [digest.update, write])
    if services.configuration.export.read_back:
        with services.progress.task(f"read back {target}", size) as task:
            found = hash_of(staging.share, staging.path(target), task.advance, expected=size)
        if found != (size, digest.hexdigest()):
            raise IntegrityError(
                f"{staging.share.name}: {target} was written with {size} bytes and SHA-256 "
                f"{digest.hexdigest()}, but read back as {found[0]} with {found[1]}",
                hint="the share does not return what was written: have its disk checked",
            )
    return FileRecord(path=target, size=size, sha256=digest.hexdigest())
