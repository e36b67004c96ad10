"""A blob that is gathered before it is written: an archive states the size of each one before its bytes."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from types import TracebackType

from jenkins_release.base.errors import RemoteError

IN_MEMORY = 4 << 20
"""Bytes that are held in memory; more go to a temporary file without a name, which ends with the process."""
KEPT_IN_MEMORY = 16 << 20
"""Bytes that all spools of a push hold in memory: a hundred small layers would need more than one large."""
_CHUNK = 1 << 20


class Spool:
    """Takes bytes, and gives them back. A context manager, which closes it."""

    def __init__(self) -> None:
        # Closed by whoever has the spool at its end.
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
        self._size = 0
        self._on_disk = False

    def write(self, piece: bytes | memoryview) -> None:
        """Append bytes. Raises RemoteError if the disk is full."""
        try:
            self._file.write(piece)
        except OSError as error:
            raise _no_room(error) from error
        self._size += len(piece)

    @property
    def held(self) -> int:
        """Bytes of it that are in memory."""
        return 0 if self._on_disk or self._size > IN_MEMORY else self._size

    def leave_memory(self) -> None:
        """Move the bytes to the temporary file. Raises RemoteError if the disk is full."""
        try:
            self._file.rollover()
        except OSError as error:
            raise _no_room(error) from error
        self._on_disk = True

    def pieces(self) -> Iterator[bytes]:
        """Yield everything from the beginning."""
        self._file.seek(0)
        while piece := self._file.read(_CHUNK):
            yield piece

    def close(self) -> None:
        """Forget the bytes."""
        self._file.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SpoolRoom:
    """The memory for spools that are kept until all have come; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = 0

    def keep(self, spool: Spool) -> None:
        """Take in a complete spool: if there is no room for it in memory, it leaves that.

        Raises:
            RemoteError: The disk is full.
        """
        with self._lock:
            fits = self._held + spool.held <= KEPT_IN_MEMORY
            self._held += spool.held if fits else 0
        if not fits:
            spool.leave_memory()


def _no_room(error: OSError) -> RemoteError:
    return RemoteError(
        f"the temporary file for a layer in {tempfile.gettempdir()} cannot be written: {error.strerror}",
        hint='free some space there, set TMPDIR to a larger disk, or set export.layers = "plain"',
    )
