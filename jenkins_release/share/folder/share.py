"""The share as a folder of this machine: local, or a mounted file system."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.base.names import check_path
from jenkins_release.share.checks import check_below_root, check_listed, check_range, too_short
from jenkins_release.share.folder.files import opened_folder, rename_new, translated
from jenkins_release.share.folder.lease import held
from jenkins_release.share.folder.writer import DirectoryWriter
from jenkins_release.share.protocol import AHEAD, HEAD, Entry, Lease, Listed, PathNotFound, Writer

_log = logging.getLogger(__name__)
_PIECE = 1024 * 1024
_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
T = TypeVar("T")


class DirectoryShare:
    """A folder of this machine instead of an SMB share.

    A path is walked name by name from the root without following symbolic links, so nothing outside the root
    can be reached; the root itself may be a link. Files and renames are on disk when a call returns. Several
    threads may use it.

    Args:
        root: The folder; it must exist when it is used.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def __repr__(self) -> str:
        return f"DirectoryShare({self.name})"

    def __enter__(self) -> DirectoryShare:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The root's absolute path."""
        return str(self._root)

    def close(self) -> None:
        """Do nothing: no connection stays open between calls."""

    def list(self, path: str) -> list[Entry]:
        """List a folder, sorted by name; a symbolic link shows as an empty file."""
        found = []
        with self._doing("list", path), self._folder(check_path(path)) as folder, os.scandir(folder) as rows:
            for row in rows:
                # Gone since the folder was read: as if it had never been there.
                with contextlib.suppress(FileNotFoundError):
                    found.append(_entry(row.name, row.stat(follow_symlinks=False)))
                check_listed(self._place(path), len(found))
        return sorted(found, key=lambda entry: entry.name)

    def stat(self, path: str) -> Entry:
        """Describe one file or folder."""
        names = check_path(path)
        with self._doing("find", path):
            if not names:
                with self._folder([]) as folder:
                    return _entry("", os.fstat(folder))
            with self._folder(names[:-1]) as folder:
                return _entry(names[-1], os.stat(names[-1], dir_fd=folder, follow_symlinks=False))

    def read(
        self,
        path: str,
        *,
        offset: int = 0,
        length: int | None = None,
        ahead: int = AHEAD,  # noqa: ARG002 - the kernel reads ahead
    ) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB; it is opened for the first piece."""
        names = check_path(path)
        check_range(offset, length)
        return self._read(path, names, offset, length)

    def read_heads(self, paths: Sequence[str]) -> Sequence[bytes | RemoteError]:
        """Return the first bytes of many files, one after the other."""
        return [self._or_error(self._head, path) for path in paths]

    def list_each(self, paths: Sequence[str]) -> Sequence[Listed]:
        """List many folders, one after the other."""
        return [self._or_error(self.list, path) for path in paths]

    def create(self, path: str, *, resumable: bool = False) -> AbstractContextManager[Writer]:  # noqa: ARG002 - a folder has no connection that could break
        """Create a new file for writing; the kernel refuses an existing name."""
        return self._create(path, check_below_root(path))

    def copy_into(self, writer: Writer, path: str, *, offset: int = 0, length: int | None = None) -> bool:
        """Append a range to a file in this or another folder of the machine; the kernel copies it."""
        names = check_below_root(path)
        check_range(offset, length)
        if not isinstance(writer, DirectoryWriter):
            return False
        with self._doing("copy from", path):
            file = self._open_file(names, os.O_RDONLY)
        try:
            size = os.fstat(file).st_size
            wanted = max(0, size - offset) if length is None else length
            if offset + wanted > size or offset > size:
                raise too_short(self._place(path), offset, wanted, size)
            if writer.copy(file, offset, wanted) < wanted:
                raise too_short(self._place(path), offset, wanted, os.fstat(file).st_size)
        finally:
            os.close(file)
        return True

    def make_folder(self, path: str) -> None:
        """Create a folder and its missing parents, below the root."""
        names = check_path(path)
        with self._doing("make the folder", path):
            for depth in range(1, len(names) + 1):
                with self._folder(names[: depth - 1]) as folder:
                    try:
                        os.mkdir(names[depth - 1], dir_fd=folder)
                    except FileExistsError:
                        continue
                    os.fsync(folder)
            with self._folder(names):
                return

    def rename(self, source: str, target: str) -> None:
        """Rename a file or folder in one step of the file system, never onto an existing name."""
        old, new = check_below_root(source), check_below_root(target)
        with (
            self._doing(f"rename {self._place(source)} to", target),
            self._folder(old[:-1]) as old_folder,
            self._folder(new[:-1]) as new_folder,
        ):
            rename_new(old_folder, old[-1], new_folder, new[-1])
            os.fsync(new_folder)
            os.fsync(old_folder)

    def remove(self, path: str) -> None:
        """Remove a file, a folder with everything in it, or a symbolic link itself."""
        names = check_below_root(path)
        with (
            contextlib.suppress(PathNotFound),
            self._doing("remove", path),
            self._folder(names[:-1]) as folder,
        ):
            found = os.stat(names[-1], dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                try:
                    shutil.rmtree(names[-1], dir_fd=folder)
                except RecursionError as error:
                    raise RemoteError(
                        f"{self._place(path)} is nested too deeply to be removed",
                        hint="remove it by hand, and find out who created it",
                    ) from error
            else:
                os.unlink(names[-1], dir_fd=folder)
            os.fsync(folder)

    def protect(self, path: str) -> bool:
        """Remove write permission for everyone; False if this user may not."""
        names = check_below_root(path)
        with self._doing("protect", path):
            file = self._open_file(names, os.O_RDONLY)
            try:
                os.fchmod(file, stat.S_IMODE(os.fstat(file).st_mode) & ~0o222)
            except PermissionError:
                return False
            finally:
                os.close(file)
        return True

    def free_space(self) -> int | None:
        """Bytes that an ordinary user may still write, according to ``statvfs``."""
        with self._doing("ask for the room on", ""), self._folder([]) as folder:
            room = os.fstatvfs(folder)
        return room.f_bavail * room.f_frsize

    def held_files(self, path: str) -> Sequence[str]:
        """Return nothing: an open file does not keep anyone from renaming it here."""
        check_below_root(path)
        return []

    def lists_all(self) -> bool:
        """Return True: the kernel hides nothing, and does not tell what a mounted server does."""
        return True

    def lease(self, path: str, holder: str) -> AbstractContextManager[Lease]:
        """Hold a lease on ``path`` for the length of the block, by ``flock``.

        Raises:
            LeaseHeld: Someone else holds it.
        """
        return self._lease(path, check_below_root(path), holder)

    def _head(self, path: str) -> bytes:
        with self._doing("read", path):
            file = self._open_file(check_path(path), os.O_RDONLY)
            try:
                return os.pread(file, HEAD, 0)
            finally:
                os.close(file)

    def _or_error(self, action: Callable[[str], T], path: str) -> T | RemoteError:
        try:
            return action(path)
        except RemoteError as error:
            return error
        except IntegrityError as error:
            return RemoteError(error.message, hint=error.hint)

    def _place(self, path: str) -> str:
        return str(self._root / path)

    def _doing(self, what: str, path: str) -> AbstractContextManager[None]:
        return translated(f"cannot {what} {self._place(path)}")

    def _folder(self, names: Sequence[str]) -> AbstractContextManager[int]:
        return opened_folder(self._root, names)

    def _read(self, path: str, names: Sequence[str], offset: int, length: int | None) -> Iterator[bytes]:
        with self._doing("read", path):
            file = self._open_file(names, os.O_RDONLY)
        try:
            with self._doing("read", path):
                size = os.fstat(file).st_size
            wanted = max(0, size - offset) if length is None else length
            if offset + wanted > size or offset > size:
                raise too_short(self._place(path), offset, wanted, size)
            got = 0
            while got < wanted:
                with self._doing("read", path):
                    piece = os.pread(file, min(_PIECE, wanted - got), offset + got)
                if not piece:
                    raise too_short(self._place(path), offset, wanted, offset + got)
                got += len(piece)
                yield piece
        finally:
            os.close(file)

    @contextlib.contextmanager
    def _create(self, path: str, names: Sequence[str]) -> Iterator[Writer]:
        with contextlib.ExitStack() as stack:
            with self._doing("create", path):
                folder = stack.enter_context(self._folder(names[:-1]))
                how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                file = os.open(names[-1], how, 0o666, dir_fd=folder)
                stack.callback(os.close, file)
            yield stack.enter_context(DirectoryWriter(file, folder, names[-1], self._place(path)))

    @contextlib.contextmanager
    def _lease(self, path: str, names: Sequence[str], holder: str) -> Iterator[Lease]:
        with contextlib.ExitStack() as stack:
            with self._doing("take the lease on", path):
                folder = stack.enter_context(self._folder(names[:-1]))
            yield stack.enter_context(held(folder, names[-1], self._place(path), holder))

    def _open_file(self, names: Sequence[str], how: int) -> int:
        if not names:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with self._folder(names[:-1]) as folder:
            # Without waiting: a named pipe in the share must not block us.
            file = os.open(names[-1], how | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        mode = os.fstat(file).st_mode
        if not stat.S_ISREG(mode):
            os.close(file)
            number = errno.EISDIR if stat.S_ISDIR(mode) else errno.ENXIO
            raise OSError(number, os.strerror(number))
        return file


def _entry(name: str, found: os.stat_result) -> Entry:
    regular = stat.S_ISREG(found.st_mode)
    locked = regular and not found.st_mode & _WRITE
    return Entry(name, stat.S_ISDIR(found.st_mode), found.st_size if regular else 0, found.st_mtime, locked)
