"""A blob that is gathered before it is written: an archive states the size of each one before its bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from types import TracebackType

from jenkins_release.base.errors import RemoteError

IN_MEMORY = 4 << 20
"""Bytes that are held in memory; more go to a temporary file without a name, which ends with the process."""
_CHUNK = 1 << 20


class Spool:
    """Takes bytes, and gives them back. A context manager, which closes it."""

    def __init__(self) -> None:
        # Closed by whoever has the spool at its end.
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115

    def write(self, piece: bytes | memoryview) -> None:
        """Append bytes. Raises RemoteError if the disk is full."""
        try:
            self._file.write(piece)
        except OSError as error:
            raise RemoteError(
                f"the temporary file for a layer in {tempfile.gettempdir()} cannot be written: "
                f"{error.strerror}",
                hint='free some space there, set TMPDIR to a larger disk, or set export.layers = "plain"',
            ) from error

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
