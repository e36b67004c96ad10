"""Writing a new file in a folder of this machine."""

from __future__ import annotations

import logging
import os

from jenkins_release.base.errors import IntegrityError
from jenkins_release.share.folder.files import copy_part, translated
from jenkins_release.share.protocol import Finished

_log = logging.getLogger(__name__)


class DirectoryWriter(Finished):
    """A new file in an open folder; it is removed if it cannot be finished."""

    def __init__(self, file: int, folder: int, name: str, place: str) -> None:
        self._file = file
        self._folder = folder
        self._name = name
        self._place = place
        self._count = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append ``data``; the kernel has it when the call returns."""
        view = memoryview(data).cast("B")
        with translated(f"cannot write {self._place}"):
            while view:
                count = os.write(self._file, view)
                self._count += count
                view = view[count:]

    def copy(self, source: int, offset: int, length: int) -> int:
        """Append bytes of another open file; return how many.

        Args:
            source: Its descriptor.
            offset: First byte.
            length: Bytes.
        """
        done = 0
        with translated(f"cannot write {self._place}"):
            while done < length:
                count = copy_part(source, self._file, length - done, offset + done)
                if not count:
                    break
                done += count
                self._count += count
        return done

    def _finish(self) -> None:
        with translated(f"cannot finish {self._place}"):
            os.fsync(self._file)
            size = os.fstat(self._file).st_size
            os.fsync(self._folder)
        if size != self._count:
            raise IntegrityError(f"{self._place}: {self._count} bytes were written, but the file has {size}")

    def _abandon(self) -> None:
        try:
            os.unlink(self._name, dir_fd=self._folder)
        except OSError as error:
            _log.warning("the unfinished file %s was not removed: %s", self._place, error)
