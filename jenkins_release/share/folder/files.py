"""What :class:`~jenkins_release.share.DirectoryShare` needs from the kernel: walking, renaming, errors."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from jenkins_release.base.errors import ReleaseError, RemoteError
from jenkins_release.share.protocol import AccessRefused, PathExists, PathNotFound, ShareFull

_RENAME_NOREPLACE = 1
"""linux/fs.h; see rename(2)."""
_NOT_OFFERED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""What renameat2 answers if the file system, such as NFS, has no RENAME_NOREPLACE."""
_COPY = 1 << 30
_PIECE = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_MEANINGS: dict[int, tuple[type[RemoteError], str, str]] = {
    errno.ENOENT: (PathNotFound, "the file or folder does not exist", ""),
    errno.ENOTDIR: (PathNotFound, "a name in the path is a file, not a folder", ""),
    errno.EISDIR: (PathNotFound, "it is a folder, not a file", ""),
    errno.EEXIST: (PathExists, "the name is taken", ""),
    errno.ENOTEMPTY: (PathExists, "the name is taken by a folder that is not empty", ""),
    errno.ENOSPC: (ShareFull, "the file system is full", "free some space, or use a larger volume"),
    errno.EDQUOT: (ShareFull, "the quota is used up", "free some space, or have the quota raised"),
    errno.EFBIG: (ShareFull, "the file is larger than the file system or a limit allows", "raise the limit"),
    errno.EROFS: (RemoteError, "the file system is read-only", "mount it for writing"),
    errno.EACCES: (AccessRefused, "permission is missing", "give this user access to the folder"),
    errno.EPERM: (AccessRefused, "permission is missing", "give this user access to the folder"),
    errno.ELOOP: (RemoteError, "the path contains a symbolic link", "use the path that the link leads to"),
    errno.ENXIO: (RemoteError, "it is neither a file nor a folder", "remove it from the share"),
}
_PASSING = frozenset(
    {errno.EAGAIN, errno.EBUSY, errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN}
)
"""Failures of a mounted file system that may have passed by the next attempt."""


@contextlib.contextmanager
def translated(tried: str) -> Iterator[None]:
    """Turn the ``OSError`` of the block into an error of this package.

    Args:
        tried: What was tried, for the beginning of the message.
    """
    try:
        yield
    except ReleaseError:
        raise
    except OSError as error:
        kind, text, hint = _MEANINGS.get(error.errno or 0, (RemoteError, error.strerror or str(error), ""))
        code = errno.errorcode.get(error.errno or 0, "OSError")
        raise kind(f"{tried}: {text} ({code})", hint=hint, retryable=error.errno in _PASSING) from error


@contextlib.contextmanager
def opened_folder(root: Path, names: Sequence[str]) -> Iterator[int]:
    """Open a folder below ``root`` name by name, without following symbolic links.

    Each step starts from the previous open folder, so renaming or replacing a folder meanwhile cannot lead
    out of the root.

    Args:
        root: Where to start; may itself be a symbolic link.
        names: The folders below it.

    Yields:
        A file descriptor for calls with ``dir_fd``.

    Raises:
        RemoteError: The root does not exist.
    """
    try:
        folder = os.open(root, _FOLDER)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RemoteError(
            f"share {root} does not exist: {error.strerror}", hint="mount it, or correct its location"
        ) from error
    try:
        for name in names:
            try:
                below = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            except NotADirectoryError as error:
                # The kernel gives the same error for a file and for a link that must not be followed.
                if _is_link(name, folder):
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
                raise
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)


def rename_new(old_folder: int, old: str, new_folder: int, new: str) -> None:
    """Rename to a name that must not exist, in one step that cannot replace anything.

    Args:
        old_folder: Descriptor of the source's folder.
        old: The source's name.
        new_folder: Descriptor of the target's folder.
        new: The target's name.

    Raises:
        OSError: As ``rename`` does; ``EEXIST`` or ``ENOTEMPTY`` if the name is taken.
    """
    renameat2 = _find_renameat2()
    if renameat2 is not None:
        number = renameat2(old_folder, old, new_folder, new)
        if number == 0:
            return
        if number not in _NOT_OFFERED:
            raise OSError(number, os.strerror(number))
    rename_by_reservation(old_folder, old, new_folder, new)


def copy_part(source: int, target: int, length: int, offset: int) -> int:
    """Copy bytes between open files within the kernel, and return how many; 0 at the source's end.

    Args:
        source: Descriptor to read from.
        target: Descriptor to append to.
        length: Maximum bytes.
        offset: Where in the source.
    """
    try:
        return os.copy_file_range(source, target, min(length, _COPY), offset)
    except OSError as error:
        # Between file systems before Linux 5.19, and on some network file systems.
        if error.errno not in _NOT_OFFERED | {errno.EXDEV}:
            raise
    piece = memoryview(os.pread(source, min(length, _PIECE), offset))
    count = len(piece)
    while piece:
        piece = piece[os.write(target, piece) :]
    return count


def rename_by_reservation(old_folder: int, old: str, new_folder: int, new: str) -> None:
    """Rename as :func:`rename_new` does, on file systems without RENAME_NOREPLACE.

    A file gets its new name by ``link``, which never replaces a file, and then loses the old one. For a
    folder, ``mkdir``, which never replaces anything either, reserves the name, and the rename replaces that
    empty folder; it fails if something was put into it meanwhile.
    """
    if not _is_folder(old, old_folder):
        os.link(old, new, src_dir_fd=old_folder, dst_dir_fd=new_folder, follow_symlinks=False)
        os.unlink(old, dir_fd=old_folder)
        return
    os.mkdir(new, dir_fd=new_folder)
    try:
        os.rename(old, new, src_dir_fd=old_folder, dst_dir_fd=new_folder)
    except OSError:
        # rmdir removes only the empty reservation.
        with contextlib.suppress(OSError):
            os.rmdir(new, dir_fd=new_folder)
        raise


def _find_renameat2() -> Callable[[int, str, int, str], int] | None:
    library = ctypes.CDLL(None, use_errno=True)
    function = getattr(library, "renameat2", None)
    if function is None:
        return None

    def call(old_folder: int, old: str, new_folder: int, new: str) -> int:
        names = os.fsencode(old), os.fsencode(new)
        status = function(old_folder, names[0], new_folder, names[1], ctypes.c_uint(_RENAME_NOREPLACE))
        return 0 if status == 0 else ctypes.get_errno()

    return call


def _is_folder(name: str, folder: int) -> bool:
    try:
        os.close(os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder))
    except NotADirectoryError:
        return False
    return True


def _is_link(name: str, folder: int) -> bool:
    try:
        os.readlink(name, dir_fd=folder)
    except OSError:
        return False
    return True
