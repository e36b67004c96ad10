"""Folders that appear on a share whole or not at all, and the small files in them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from jenkins_release.errors import IntegrityError, ReleaseError, RemoteError
from jenkins_release.share.protocol import PathNotFound, Share, Writer

_log = logging.getLogger(__name__)
_MAX_SMALL_FILE = 16 * 1024 * 1024


class Staging:
    """A folder on its way: files are created here, :meth:`commit` makes all of them visible.

    Args:
        share: Where it is.
        folder: The staging folder, below the share's root.
        target: Where it will stand.
    """

    def __init__(self, share: Share, folder: str, target: str) -> None:
        self.share = share
        self._folder = folder
        self._target = target
        self.committed = False

    def path(self, path: str) -> str:
        """Where a file of the folder stands below the share's root until the commit."""
        return f"{self._folder}/{path}"

    def create(self, path: str) -> AbstractContextManager[Writer]:
        """Create a file below the folder, through breaks of the connection."""
        parent, _, _ = path.rpartition("/")
        if parent:
            self.share.make_folder(f"{self._folder}/{parent}")
        return self.share.create(self.path(path), resumable=True)

    def remove(self, path: str) -> None:
        """Remove a file that is of no use; a missing one is fine."""
        self.share.remove(self.path(path))

    def write(self, path: str, data: bytes) -> None:
        """Create a small file with the given bytes."""
        with self.create(path) as writer:
            writer.write(data)

    def commit(self) -> None:
        """Rename the whole folder into place in one step. Raises PathExists."""
        rename_whole(self.share, self._folder, self._target)
        self.committed = True


@contextmanager
def stage_folder(share: Share, above: str, name: str, folders: Sequence[str] = ()) -> Iterator[Staging]:
    """Prepare the folder ``above/name`` under a hidden name; what is not committed is removed.

    Only under a lease: left-overs of a writer that died are removed first.

    Args:
        share: Where.
        above: The folder that it will stand in; made where it is missing.
        name: Its name.
        folders: Folders in it to begin with.
    """
    prefix = f".incoming-{name}-"
    share.make_folder(above)
    for entry in share.list(above):
        if entry.name.startswith(prefix):
            _log.warning("removing %s, left by a step that died", entry.name)
            share.remove(f"{above}/{entry.name}")
    folder = f"{above}/{prefix}{secrets.token_hex(4)}"
    for each in folders or [""]:
        share.make_folder(f"{folder}/{each}".rstrip("/"))
    staging = Staging(share, folder, f"{above}/{name}")
    try:
        yield staging
    finally:
        if not staging.committed:
            _discard(share, folder)


def _discard(share: Share, folder: str) -> None:
    try:
        share.remove(folder)
    except ReleaseError as error:
        # The first failure is what the caller has to see; the next attempt removes the folder.
        _log.warning("the unfinished folder %s could not be removed: %s", folder, error)


def read_bounded(share: Share, path: str) -> bytes:
    """Read a small file.

    Raises:
        PathNotFound: It is not there.
        IntegrityError: It is far too large.
    """
    # Bounded by what comes: to ask for the size first would double the way over a slow line.
    data = bytearray()
    for piece in share.read(path):
        data += piece
        if len(data) > _MAX_SMALL_FILE:
            raise IntegrityError(
                f"{shown_path(share, path)} has more than {_MAX_SMALL_FILE} bytes",
                hint="no record is that large: find out who wrote it",
            )
    return bytes(data)


def shown_path(share: Share, path: str) -> str:
    """Return a path below the share's root as a person reads it."""
    root, tail = share.name, path.rstrip("/")
    return root + "\\" + tail.replace("/", "\\") if root.startswith("\\\\") else f"{root}/{tail}"


def write_new(share: Share, folder: str, name: str, data: bytes) -> None:
    """Write a small file under a hidden name and rename it: it is there whole, or not at all.

    Raises:
        PathExists: The name is taken; what was written stays until :func:`remove_unfinished`.
    """
    temporary = f"{folder}/.{name}.{secrets.token_hex(4)}"
    with share.create(temporary) as writer:
        writer.write(data)
    rename_whole(share, temporary, f"{folder}/{name}")


def remove_unfinished(share: Share, folder: str) -> None:
    """Remove what a writer that died left under a hidden name; only under the lease of the writers."""
    for entry in share.list(folder):
        if entry.name.startswith(".") and not entry.is_folder:
            share.remove(f"{folder}/{entry.name}")


def rename_whole(share: Share, source: str, target: str) -> None:
    """Rename, also where the answer was lost: a source that is gone and a target that is there were it."""
    try:
        share.rename(source, target)
    except RemoteError as error:
        if not error.retryable or present(share, source) or not present(share, target):
            raise
        _log.warning("%s was renamed to %s, its answer was lost: %s", source, target, error)


def present(share: Share, path: str) -> bool:
    """Whether there is a file or folder of that path."""
    try:
        share.stat(path)
    except PathNotFound:
        return False
    return True
