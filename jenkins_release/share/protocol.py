"""What the release process needs of a share, whatever carries it.

Paths are relative to the share's root, with ``/`` between the parts (``SkyDRM/8.1.0/42``); an
implementation checks every path with :func:`jenkins_release.base.names.check_path` before it
uses it, so a name can never leave the root or mean something else on Windows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, Self

from jenkins_release.base.errors import RemoteError


class PathNotFound(RemoteError):
    """There is no such file or folder on the share."""


class PathExists(RemoteError):
    """The name is taken; nothing was changed."""


class AccessRefused(RemoteError):
    """The user may not do that; or, on Windows, somebody has open what is to be renamed or removed."""


class NameRefused(RemoteError):
    """The server takes no file or folder of that name, whoever writes it."""


class InUse(RemoteError):
    """Another process has it open in a way that leaves no room for others."""


class ShareFull(RemoteError):
    """The share has no room for the data. Not worth a retry: somebody has to make room."""


AHEAD = 16
"""Pieces of a file that :meth:`Share.read` asks for in advance. At 10 ms of latency eight bound the rate of
one transfer, sixteen do not; several transfers at once do with fewer each."""
HEAD = 65536
"""Bytes at the beginning of a file that :meth:`Share.read_heads` brings; SMB asks one credit for them."""


MAX_LISTED = 10_000
"""Most entries of a folder that is listed: none of ours has as many, and whoever writes to a share may put
any number there."""


@dataclass(frozen=True)
class Entry:
    """One name in a folder of the share.

    Attributes:
        name: Name without its folder.
        is_folder: Whether it is a folder.
        size: Bytes; 0 for a folder.
        modified: Seconds since the epoch, UTC, as the server tells.
    """

    name: str
    is_folder: bool
    size: int
    modified: float


Listed = list[Entry] | RemoteError
"""The entries of one of several folders, or why it cannot be listed."""


class Writer(Protocol):
    """A file on its way to the share; use it as a context manager.

    Leaving the block normally finishes the file: every byte is acknowledged, flushed to the
    server's disk, and the server's size compared. Leaving it with an exception removes what was
    written.
    """

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append ``data``; the caller may reuse the buffer as soon as the call returns."""

    def __enter__(self) -> Writer: ...

    def __exit__(self, *exc: object) -> None: ...


class Finished(ABC):
    """A writer that finishes its file when the block is left, and else abandons it."""

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Finish the file; abandon it after an error, in the block or in finishing."""
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
        """Make the file whole and durable."""

    @abstractmethod
    def _abandon(self) -> None:
        """Remove what was written."""


class Lease(Protocol):
    """A lease that is held; ask it before a step that only its holder may take."""

    def confirm(self) -> None:
        """Check with the server that the lease is still held.

        One whose connection was lost is taken again, if no other process held it in the meantime.

        Raises:
            RemoteError: It was lost, or the server does not say; never retryable, since someone else
                may hold it by now.
        """


class Share(Protocol):
    """A folder tree that several machines see, over SMB or mounted.

    Every method may raise :class:`RemoteError` (``retryable`` when the same call may succeed
    later) besides the errors that it names.
    """

    @property
    def name(self) -> str:
        r"""The share as people write it, such as ``\\nextlabs.com\share\data``; never with a password."""
        ...

    def list(self, path: str) -> list[Entry]:
        """List a folder, sorted by name.

        Raises:
            PathNotFound: There is no such folder.
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

        At most ``ahead`` pieces, of at most 1 MiB each, are read before they are asked for. Fewer bytes
        than asked for raise :class:`~jenkins_release.base.errors.IntegrityError`. Raises
        :class:`PathNotFound`.
        """
        ...

    def read_heads(self, paths: Sequence[str]) -> Sequence[bytes | RemoteError]:
        """Return the first :data:`HEAD` bytes of many files, in a few round trips for all of them.

        Returns:
            In the order of the paths: the bytes, all of them where they are fewer than :data:`HEAD`, or
            why that file cannot be read.

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
            resumable: Whether writing goes on over a new connection when the one it uses breaks. The
                price: when the process itself dies, the partial file may stay. For folders that
                are staged and cleared, not for final names.

        Raises:
            PathExists: The name is taken.
            ShareFull: There is no room.
        """
        ...

    def copy_into(self, writer: Writer, path: str, *, offset: int = 0, length: int | None = None) -> bool:
        """Append a range of a file of this share to a file being written, without reading it here.

        Args:
            writer: What :meth:`create` gave, of this share or of another one that stands on the same
                server (for folders: the same machine).
            path: The file to copy from.
            offset: First byte.
            length: Bytes; None for all that follow.

        Returns:
            False if it is not possible this way; nothing was appended then, read and write the bytes.

        Raises:
            PathNotFound: There is no such file.
            jenkins_release.base.errors.IntegrityError: It has fewer bytes.
            ShareFull: There is no room.
        """
        ...

    def make_folder(self, path: str) -> None:
        """Create a folder and those above it that are missing; an existing one is fine."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Rename a file or folder in one server-side step.

        Raises :class:`PathExists`, :class:`PathNotFound`.
        """
        ...

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it; a missing one is fine."""
        ...

    def protect(self, path: str) -> bool:
        """Make a file read-only; :meth:`remove` still removes it.

        Returns:
            False if the server does not let this user do so; the file stays as it is.

        Raises:
            PathNotFound: There is no such file.
        """
        ...

    def free_space(self) -> int | None:
        """Bytes that the caller may still write, or None if the server does not tell."""
        ...

    def lease(self, path: str, holder: str) -> AbstractContextManager[Lease]:
        """Hold a lease on ``path`` (a lock file) for the length of the block.

        The server releases it when the holder's process or machine dies. Whoever changes something under it
        calls :meth:`Lease.confirm` first; a lease that is lost after that is a warning in the log.

        Args:
            path: The lock file; made when missing, left in place afterwards.
            holder: Who holds it, one line; shown to whoever comes second.

        Raises:
            LeaseHeld: Someone else holds it; the message has the holder's line.
        """
        ...
