"""What the release process needs from a share of any kind.

Paths are relative to the share's root, with ``/`` between the parts (``SkyDRM/8.1.0/42``); an
implementation checks every path with :func:`jenkins_release.base.names.check_path` before it
uses it, so a name can never leave the root or mean something else on Windows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, Self

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import RemoteError


class PathNotFound(RemoteError):
    """The file or folder does not exist on the share."""


class PathExists(RemoteError):
    """The name is taken; nothing was changed."""


class AccessRefused(RemoteError):
    """The user lacks the permission; or, on Windows, the file to rename or remove is open somewhere."""


class NameRefused(RemoteError):
    """The server refuses files and folders with that name from any user."""


class InUse(RemoteError):
    """Another process has it open exclusively."""


class HiddenEntries(RemoteError):
    """A folder is not empty, although the server lists nothing in it for this account."""


class ShareFull(RemoteError):
    """The share has no space for the data. Not worth a retry: someone has to free some."""


AHEAD = 16
"""Pieces of a file that :meth:`Share.read` requests in advance. At 10 ms of latency, eight limit the rate of
one transfer and sixteen do not; several transfers at once need fewer each."""
HEAD = 65536
"""Bytes at the beginning of a file that :meth:`Share.read_heads` reads; they cost one SMB credit."""


MAX_LISTED = 10_000
"""Maximum entries of a folder that is listed: ours have fewer, but anyone who can write to the share may put
any number there."""


@dataclass(frozen=True)
class Entry:
    """One name in a folder of the share.

    Attributes:
        name: Name without its folder.
        is_folder: Whether it is a folder.
        size: Bytes; 0 for a folder.
        modified: Seconds since the epoch, UTC, by the server's clock.
        read_only: Whether it is marked read-only.
    """

    name: str
    is_folder: bool
    size: int
    modified: float
    read_only: bool = False


Listed = list[Entry] | RemoteError
"""The entries of one of several folders, or why it cannot be listed."""


class Writer(Protocol):
    """A file that is being written to the share; use it as a context manager.

    Leaving the block normally finishes the file: every byte is acknowledged and flushed to the server's disk,
    and the size is compared. Leaving it with an exception removes what was written.
    """

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append ``data``; the caller may reuse the buffer as soon as the call returns."""

    def __enter__(self) -> Writer: ...

    def __exit__(self, *exc: object) -> None: ...


class Finished(ABC):
    """A writer that finishes its file at the end of the block, or abandons it after an error."""

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Finish the file; abandon it after an error in the block or while finishing."""
        if exc[0] is not None:
            self._abandon()
            return
        try:
            self._finish()
        except BaseException:
            self._abandon()
            raise

    @abstractmethod
    def _finish(self) -> None:
        """Complete the file and make it durable."""

    @abstractmethod
    def _abandon(self) -> None:
        """Remove what was written."""


class Lease(Protocol):
    """A held lease; confirm it before a step that only its holder may take."""

    def confirm(self) -> None:
        """Check with the server that the lease is still held.

        If its connection was lost, the lease is taken again, unless another process held it in the meantime.

        Raises:
            RemoteError: It was lost, or the server does not say; never retryable, since someone else may hold
                it by now.
        """


class Share(Protocol):
    """A folder tree that several machines see, over SMB or mounted.

    In addition to the errors that it names, every method may raise :class:`RemoteError` (``retryable`` if the
    same call may succeed later).
    """

    @property
    def name(self) -> str:
        r"""The share as people write it, such as ``\\nextlabs.com\share\data``; never with a password."""
        ...

    def list(self, path: str) -> list[Entry]:
        """List a folder, sorted by name.

        Raises:
            PathNotFound: The folder does not exist.
            IntegrityError: It has more than :data:`MAX_LISTED` entries.
        """
        ...

    def stat(self, path: str) -> Entry:
        """Describe one file or folder. Raises :class:`PathNotFound`."""
        ...

    def read(
        self, path: str, *, offset: int = 0, length: int | None = None, ahead: int = AHEAD
    ) -> Iterator[bytes]:
        """Yield a file's bytes from ``offset``, ``length`` of them (or to its end), in pieces.

        At most ``ahead`` pieces, of at most 1 MiB each, are read ahead. Fewer bytes than requested raise
        :class:`~jenkins_release.base.errors.IntegrityError`. Raises :class:`PathNotFound`.
        """
        ...

    def read_heads(self, paths: Sequence[str]) -> Sequence[bytes | RemoteError]:
        """Return the first :data:`HEAD` bytes of many files, in a few round trips for all of them.

        Returns:
            In the order of the paths: the bytes, all of them if fewer than :data:`HEAD`, or why that file
            cannot be read.

        Raises:
            RemoteError: The share as a whole failed.
        """
        ...

    def list_each(self, paths: Sequence[str]) -> Sequence[Listed]:
        """List many folders as :meth:`list` does, in a few round trips for all of them.

        Returns:
            In the order of the paths: the entries, or why that folder cannot be listed.

        Raises:
            RemoteError: The share as a whole failed.
        """
        ...

    def create(self, path: str, *, resumable: bool = False) -> AbstractContextManager[Writer]:
        """Create a new file for writing.

        Args:
            path: The new file.
            resumable: Whether writing continues over a new connection if its connection breaks. The price: if
                the process itself dies, the partial file may stay. For folders that are staged and cleared,
                not for final names.

        Raises:
            PathExists: The name is taken.
            ShareFull: There is no space.
        """
        ...

    def copy_into(self, writer: Writer, path: str, *, offset: int = 0, length: int | None = None) -> bool:
        """Append a range of a file on this share to a file being written, without reading it here.

        Args:
            writer: What :meth:`create` returned, for this share or another one on the same server (for
                folders: on the same machine).
            path: The file to copy from.
            offset: First byte.
            length: Bytes; None for the rest of the file.

        Returns:
            False if that is not possible; nothing was appended then, so read and write the bytes.

        Raises:
            PathNotFound: The file does not exist.
            jenkins_release.base.errors.IntegrityError: It has fewer bytes.
            ShareFull: There is no space.
        """
        ...

    def make_folder(self, path: str) -> None:
        """Create a folder and its missing parents; it may exist already."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Rename a file or folder in one server-side step.

        Raises :class:`PathExists`, :class:`PathNotFound`.
        """
        ...

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with everything in it; it may be missing, or marked read-only.

        Raises:
            HiddenEntries: A folder contains something that the server does not list for this account.
        """
        ...

    def protect(self, path: str) -> bool:
        """Make a file read-only; :meth:`remove` still removes it.

        Returns:
            False if the server does not allow it; the file is unchanged.

        Raises:
            PathNotFound: The file does not exist.
        """
        ...

    def free_space(self) -> int | None:
        """Bytes that the caller may still write, or None if the server does not say."""
        ...

    def held_files(self, path: str) -> Sequence[str]:
        """Return the first files at or below a path that another process has open; none if unknown."""
        ...

    def lists_all(self) -> bool:
        """Whether listings name everything that is there.

        False if the server says that it leaves out what this account may not read. What is left out cannot be
        created, renamed onto or removed, and can be found by its name.
        """
        ...

    def lease(self, path: str, holder: str) -> AbstractContextManager[Lease]:
        """Hold a lease on ``path`` (a lock file) for the block.

        The server releases it when the holder's process or machine dies. Code that changes something under it
        calls :meth:`Lease.confirm` first; if the lease is lost after that, a warning is logged.

        Args:
            path: The lock file; created if missing, and not removed afterwards.
            holder: Who holds it, in one line; shown to others who want the lease.

        Raises:
            LeaseHeld: Someone else holds it; the message has the holder's line.
        """
        ...
