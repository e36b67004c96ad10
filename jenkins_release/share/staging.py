"""Folders that appear on a share whole or not at all, and the small files in them."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from jenkins_release.base.errors import IntegrityError, ReleaseError, RemoteError
from jenkins_release.base.retry import RetryPolicy, retry_call
from jenkins_release.share.protocol import AccessRefused, InUse, Lease, PathNotFound, Share, Writer

_log = logging.getLogger(__name__)
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}")
"""The hidden name under which :func:`write_new` writes a file."""
_MAX_SMALL_FILE = 16 * 1024 * 1024
_WHILE_HELD = RetryPolicy(attempts=None, deadline_s=60.0, first_wait_s=0.25, max_wait_s=5.0, jitter_s=0.0)
"""How long a rename waits for whoever has the file open: a virus scanner looks at each new file."""


class Staging:
    """A folder on its way: files are created here, :meth:`commit` makes all of them visible.

    Args:
        share: Where it is.
        folder: The staging folder, below the share's root.
        target: Where it will stand.
        lease: What has to be held when it becomes visible.
    """

    def __init__(self, share: Share, folder: str, target: str, lease: Lease | None = None) -> None:
        self.share = share
        self.folder = folder
        self._target = target
        self._lease = lease
        self.committed = False

    def path(self, path: str) -> str:
        """Where a file of the folder stands below the share's root until the commit."""
        return f"{self.folder}/{path}"

    def create(self, path: str) -> AbstractContextManager[Writer]:
        """Create a file below the folder, through breaks of the connection."""
        parent, _, _ = path.rpartition("/")
        if parent:
            self.share.make_folder(f"{self.folder}/{parent}")
        return self.share.create(self.path(path), resumable=True)

    def remove(self, path: str) -> None:
        """Remove a file that is of no use; a missing one is fine."""
        self.share.remove(self.path(path))

    def write(self, path: str, data: bytes) -> None:
        """Create a small file with the given bytes."""
        with self.create(path) as writer:
            writer.write(data)

    def commit(self) -> None:
        """Rename the whole folder into place in one step, under the lease. Raises PathExists."""
        if self._lease is not None:
            self._lease.confirm()
        rename_whole(self.share, self.folder, self._target)
        self.committed = True


@contextmanager
def stage_folder(
    share: Share, above: str, name: str, folders: Sequence[str] = (), lease: Lease | None = None
) -> Iterator[Staging]:
    """Prepare the folder ``above/name`` under a hidden name; what is not committed is removed.

    Only under a lease: left-overs of a writer that died are removed first.

    Args:
        share: Where.
        above: The folder that it will stand in; made where it is missing.
        name: Its name.
        folders: Folders in it to begin with.
        lease: The lease, confirmed before the commit; None if the caller does so.
    """
    prefix = f".incoming-{name}-"
    # In full: the folder of 42-7 begins with the name of 42 too, and its writer may be at work.
    own = re.compile(re.escape(prefix) + "[0-9a-f]{8}", re.IGNORECASE)
    share.make_folder(above)
    for entry in share.list(above):
        if own.fullmatch(entry.name):
            _log.warning("removing %s, left by a step that died", entry.name)
            share.remove(f"{above}/{entry.name}")
    folder = f"{above}/{prefix}{secrets.token_hex(4)}"
    for each in folders or [""]:
        share.make_folder(f"{folder}/{each}".rstrip("/"))
    staging = Staging(share, folder, f"{above}/{name}", lease)
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


def write_new(share: Share, folder: str, name: str, data: bytes, lease: Lease | None = None) -> None:
    """Write a small file under a hidden name and rename it: it is there whole, or not at all.

    Args:
        share: Where.
        folder: Its folder.
        name: Its name.
        data: Its bytes.
        lease: A lease that has to be held when the file gets its name.

    Raises:
        PathExists: The name is taken; what was written stays until :func:`remove_unfinished`.
    """
    temporary = f"{folder}/.{name}.{secrets.token_hex(4)}"
    with share.create(temporary) as writer:
        writer.write(data)
    if lease is not None:
        lease.confirm()
    rename_whole(share, temporary, f"{folder}/{name}")


def remove_unfinished(share: Share, folder: str) -> None:
    """Remove what :func:`write_new` left when it died; only under the lease of the writers."""
    for entry in share.list(folder):
        # Another hidden file is not ours: it may be a record that somebody hid.
        if _TEMPORARY.fullmatch(entry.name) and not entry.is_folder:
            share.remove(f"{folder}/{entry.name}")


def rename_whole(share: Share, source: str, target: str) -> None:
    """Rename what was just written, through short interruptions.

    Windows refuses to rename what somebody has open, and a folder with such a file in it, as it does for
    a user without the right. Whoever could write a moment ago waits for a virus scanner. An answer that
    was lost is no failure where the source is gone and the target is there.

    Raises:
        PathExists: The target's name is taken.
        RemoteError: It failed, or somebody had it open for a minute.
    """
    what = f"rename {source} to {target}"
    try:
        failure = retry_call(_rename, share, source, target, what=what, policy=_WHILE_HELD)
    except _RenameRefused as error:
        if error.in_use:
            raise
        raise AccessRefused(error.message, hint=_HELD_HINT) from error.__cause__
    if failure is None:
        return
    if not failure.retryable or present(share, source) or not present(share, target):
        raise failure
    _log.warning("%s was renamed to %s, its answer was lost: %s", source, target, failure)


_HELD_HINT = (
    "somebody, such as a virus scanner, has one of its files open; or the user may write and not rename: "
    "give it the permission to modify and delete, and leave the folders .incoming-* out of the scan; or a "
    "file screen of the server, such as FSRM of Windows, blocks the new name"
)


class _RenameRefused(RemoteError):
    """A rename was refused, perhaps because somebody has the file open."""

    in_use = False


def _rename(share: Share, source: str, target: str) -> RemoteError | None:
    """Rename once; returns a failure that has nothing to do with who has it open."""
    try:
        share.rename(source, target)
    except (AccessRefused, InUse) as error:
        held = _RenameRefused(error.message, hint=error.hint, retryable=True)
        held.in_use = isinstance(error, InUse)
        raise held from error
    except RemoteError as error:
        return error
    return None


def present(share: Share, path: str) -> bool:
    """Whether there is a file or folder of that path."""
    try:
        share.stat(path)
    except PathNotFound:
        return False
    return True
