"""A lease on a folder of this machine: ``flock``, which the kernel releases with the process.

On a local file system, it works between the processes of this machine. NFS passes it on to the server
(nfs(5), ``local_lock``), and so does a mounted SMB share, depending on its mount options (mount.cifs(8),
``nobrl``). Several machines that promote through mounts need one of these, or the SMB share itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator

from jenkins_release.base.errors import LeaseHeld, RemoteError
from jenkins_release.share.checks import holder_line
from jenkins_release.share.folder.files import translated

_log = logging.getLogger(__name__)
_MAX_LINE = 4096


class DirectoryLease:
    """A held lease.

    Args:
        file: Descriptor that has the lock.
        folder: Descriptor of the lock file's folder.
        name: The lock file.
        place: Its path, for messages.
    """

    def __init__(self, file: int, folder: int, name: str, place: str) -> None:
        self._file = file
        self._folder = folder
        self._name = name
        self._place = place

    def confirm(self) -> None:
        """Check that the lock file is still the one that is locked. Raises RemoteError."""
        if not _is_still(self._file, self._folder, self._name):
            raise RemoteError(
                f"the lease on {self._place} was lost before the work under it was done: "
                "its lock file was replaced",
                hint="check whether someone else worked on the same candidate meanwhile, then run it again",
            )


@contextlib.contextmanager
def held(folder: int, name: str, place: str, holder: str) -> Iterator[DirectoryLease]:
    """Hold the lease on a lock file for the block; if it is lost by the end, a warning is logged.

    Args:
        folder: Descriptor of the lock file's folder.
        name: The lock file.
        place: Its path, for messages.
        holder: Who holds it, one line.

    Raises:
        LeaseHeld: Someone else holds it.
        RemoteError: It could not be taken.
    """
    line = holder_line(holder)
    with translated(f"cannot take the lease on {place}"):
        file = _locked(folder, name, place)
    try:
        with translated(f"cannot take the lease on {place}"):
            os.ftruncate(file, 0)
            os.pwrite(file, line, 0)
        lease = DirectoryLease(file, folder, name, place)
        try:
            yield lease
        finally:
            if not _is_still(file, folder, name):
                _log.warning("the lease on %s was lost: the lock file was replaced", place)
    finally:
        with contextlib.suppress(OSError):
            os.ftruncate(file, 0)
        os.close(file)


def _locked(folder: int, name: str, place: str) -> int:
    while True:
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=folder)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Someone may have removed the file between open and lock: then it locks no one out.
            if _is_still(file, folder, name):
                return file
        except BlockingIOError as error:
            line = os.pread(file, _MAX_LINE, 0).decode(errors="replace").strip()
            os.close(file)
            raise LeaseHeld(
                f"the lease on {place} is held by {line or 'an unknown holder'}",
                hint="wait until it is done; the kernel frees the lease when the holder's process ends",
            ) from error
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _is_still(file: int, folder: int, name: str) -> bool:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return os.path.samestat(os.fstat(file), found)
