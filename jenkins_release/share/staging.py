"""Folders that appear on a share completely or not at all, and the small files in them."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from jenkins_release.base.errors import IntegrityError, ReleaseError, RemoteError
from jenkins_release.base.retry import RetryPolicy, retry_call
from jenkins_release.share.protocol import AccessRefused, InUse, Lease, PathNotFound, Share, Writer

_log = logging.getLogger(__name__)
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}")
"""The hidden name for a file of :func:`write_new`."""
_MAX_SMALL_FILE = 16 * 1024 * 1024
_WHILE_HELD = RetryPolicy(attempts=None, deadline_s=60.0, first_wait_s=0.25, max_wait_s=5.0, jitter_s=0.0)
"""How long a rename waits while the file is open elsewhere: a virus scanner reads each new file."""


class Staging:
    """A folder in preparation: files are created here, and :meth:`commit` makes all of them visible.

    Args:
        share: Where it is.
        folder: The staging folder, below the share's root.
        target: Its final path.
        lease: What must be held when it becomes visible.
    """

    def __init__(self, share: Share, folder: str, target: str, lease: Lease | None = None) -> None:
        self.share = share
        self.folder = folder
        self._target = target
        self._lease = lease
        self.committed = False

    def path(self, path: str) -> str:
        """Path of a file below the share's root until the commit."""
        return f"{self.folder}/{path}"

    def create(self, path: str) -> AbstractContextManager[Writer]:
        """Create a file below the folder, continuing after breaks of the connection."""
        parent, _, _ = path.rpartition("/")
        if parent:
            self.share.make_folder(f"{self.folder}/{parent}")
        return self.share.create(self.path(path), resumable=True)

    def remove(self, path: str) -> None:
        """Remove a useless file; it may be missing."""
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
    """Prepare the folder ``above/name`` under a hidden name; it is removed if it is not committed.

    Only under a lease: leftovers of a writer that died are removed first.

    Args:
        share: Where.
        above: Its parent folder; created if missing.
        name: Its name.
        folders: Folders to create in it.
        lease: The lease, confirmed before the commit; None if the caller does so.
    """
    prefix = f".incoming-{name}-"
    # Compare the full name: the folder of 42-7 also begins with 42, and its writer may be running.
    own = re.compile(re.escape(prefix) + "[0-9a-f]{8}", re.IGNORECASE)
    share.make_folder(above)
    for entry in share.list(above):
        if own.fullmatch(entry.name):
            _log.warning("removing %s, which a step left when it died", entry.name)
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
        # The caller needs the first failure; the next attempt removes the folder.
        _log.warning("the unfinished folder %s could not be removed: %s", folder, error)


def read_bounded(share: Share, path: str) -> bytes:
    """Read a small file.

    Raises:
        PathNotFound: It does not exist.
        IntegrityError: It is far too large.
    """
    # Bounded while reading: asking for the size first would double the round trips on a slow line.
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
    """Return a path below the share's root for people."""
    root, tail = share.name, path.rstrip("/")
    return root + "\\" + tail.replace("/", "\\") if root.startswith("\\\\") else f"{root}/{tail}"


def write_new(share: Share, folder: str, name: str, data: bytes, lease: Lease | None = None) -> None:
    """Write a small file under a hidden name and rename it: it appears completely or not at all.

    Args:
        share: Where.
        folder: Its folder.
        name: Its name.
        data: Its bytes.
        lease: A lease that must be held when the file gets its name.

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
        # Other hidden files are not ours: one may be a record that someone hid.
        if _TEMPORARY.fullmatch(entry.name) and not entry.is_folder:
            share.remove(f"{folder}/{entry.name}")


def rename_whole(share: Share, source: str, target: str) -> None:
    """Rename what was just written, despite short interruptions.

    Windows refuses to rename an open file, or a folder with one in it, with the same error as for a user
    without permission. A user who could just write is probably waiting for a virus scanner. A lost answer is
    not a failure if the source is gone and the target exists.

    Raises:
        PathExists: The target's name is taken.
        RemoteError: It failed, or it was open elsewhere for a minute.
    """
    what = f"rename {source} to {target}"
    try:
        failure = retry_call(_rename, share, source, target, what=what, policy=_WHILE_HELD)
    except _RenameRefused as error:
        message = error.message + _holding(share, source)
        if error.in_use:
            raise InUse(message, hint=error.hint, retryable=True) from error.__cause__
        raise AccessRefused(message, hint=_HELD_HINT) from error.__cause__
    if failure is None:
        return
    if not failure.retryable or present(share, source) or not present(share, target):
        raise failure
    _log.warning("%s was renamed to %s, but the answer was lost: %s", source, target, failure)


def _holding(share: Share, path: str) -> str:
    """Name the files that kept a folder or file from being renamed, as far as the server tells."""
    try:
        held = share.held_files(path)
    except ReleaseError as error:
        _log.debug("looking for who holds %s: %s", path, error)
        return ""
    return (
        f"; another process has it open: {', '.join(shown_path(share, each) for each in held)}"
        if held
        else ""
    )


_HELD_HINT = (
    "one of its files is open, such as by a virus scanner; or the user may write but not rename: "
    "give it the permission to modify and delete, and exclude the folders .incoming-* from the scan; or a "
    "file screen of the server, such as FSRM of Windows, blocks the new name"
)


class _RenameRefused(RemoteError):
    """A rename was refused, perhaps because the file is open elsewhere."""

    in_use = False


def _rename(share: Share, source: str, target: str) -> RemoteError | None:
    """Rename once; return a failure that is not about open files."""
    try:
        share.rename(source, target)
    except (AccessRefused, InUse) as error:
        held = _RenameRefused(error.message, hint=error.hint, retryable=True)
        held.in_use = isinstance(error, InUse)
        raise held from error
    except RemoteError as error:
        return error
    return None


def existing(share: Share, paths: Sequence[str]) -> list[str]:
    """Return those of many files that are there, whether this account may read them or not."""
    found = []
    for path, head in zip(paths, share.read_heads(paths), strict=True):
        if isinstance(head, bytes | AccessRefused | InUse):
            found.append(path)
        elif not isinstance(head, PathNotFound):
            raise head
    return found


def unlisted(share: Share, folder: str, names: Iterable[str]) -> list[str]:
    """Return those of the names in a folder that exist, but are not listed for this account."""
    if share.lists_all():
        return []
    there = existing(share, [f"{folder}/{name}".lstrip("/") for name in names])
    if not there:
        return []
    # One that was added since the folder was listed is in the next listing.
    listed = {entry.name for entry in share.list(folder)}
    return [name for path in there if (name := path.rpartition("/")[2]) not in listed]


def not_listed(share: Share, path: str) -> IntegrityError:
    """Return the error for what :func:`unlisted` found: nothing may be decided without it."""
    return IntegrityError(
        f"{shown_path(share, path)} exists, but the server does not list it for this account",
        hint="the server lists only what the account may read (access-based enumeration), and what is "
        "missing may be a withdrawal: give the account the permission to read every file there",
    )


def present(share: Share, path: str) -> bool:
    """Whether there is a file or folder of that path."""
    try:
        share.stat(path)
    except PathNotFound:
        return False
    return True
