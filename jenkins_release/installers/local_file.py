"""Files of the build's output: selected by a pattern, and read only if they do not change."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError

_PIECE = 1024 * 1024


@dataclass(frozen=True)
class _FileState:
    """What shows whether a file is still the same."""

    device: int
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> _FileState:
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


@dataclass(frozen=True)
class LocalFile:
    """A file as it was when it was found.

    Attributes:
        path: Where it is.
        size: Bytes.
    """

    path: Path
    size: int
    _state: _FileState

    @classmethod
    def at(cls, path: Path) -> LocalFile:
        """Look at a file.

        Raises:
            ConfigurationError: It does not exist, or is not a plain file.
        """
        try:
            found = path.stat()
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(found.st_mode):
            raise ConfigurationError(f"{path} is not a plain file")
        return cls(path, found.st_size, _FileState.of(found))

    def pieces(self) -> Iterator[bytes]:
        """Yield its bytes in pieces of at most 1 MiB.

        Raises:
            IntegrityError: It was changed since it was found, or while it was read.
            ConfigurationError: It can no longer be read.
        """
        try:
            with self.path.open("rb", buffering=0) as file:
                self._same(file.fileno())
                while piece := file.read(_PIECE):
                    yield piece
                self._same(file.fileno())
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror}") from error

    def stretch(self, offset: int, size: int) -> bytes:
        """Return some of its bytes.

        Args:
            offset: Bytes before them.
            size: Their number.

        Raises:
            IntegrityError: The file was changed since it was found.
            ConfigurationError: It can no longer be read.
        """
        try:
            with self.path.open("rb") as file:
                self._same(file.fileno())
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror}") from error

    def _same(self, descriptor: int) -> None:
        if _FileState.of(os.fstat(descriptor)) != self._state:
            raise IntegrityError(
                f"{self.path} was changed while it was exported",
                hint="export after the build has ended, when nothing writes to its output any more",
            )


def find_files(folder: Path, pattern: str) -> list[Path]:
    """Return the files below a folder that match a pattern, sorted; folders are left out.

    Args:
        folder: The build's output.
        pattern: As for :meth:`pathlib.Path.glob`; ``**`` matches folders at any depth.

    Raises:
        ConfigurationError: The folder cannot be read, or a file is a link that leads out of it.
    """
    try:
        root = folder.resolve(strict=True)
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        outside = [path for path in found if not path.resolve().is_relative_to(root)]
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be read: {error.strerror}", hint="give the folder of the build's output"
        ) from error
    if outside:
        raise ConfigurationError(
            f"{outside[0]} is a link that leads out of {folder}",
            hint="only files in the build's own folder are released",
        )
    return found
