"""Files that a step leaves on this machine: written completely or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from jenkins_release.base.errors import ConfigurationError


def write_file(path: Path, data: bytes, what: str, *, private: bool = False) -> None:
    """Write a file under a temporary name in its folder, and rename it.

    Args:
        path: The file; one that is there is replaced.
        data: Its bytes.
        what: What it is, for the message, such as ``the plan``.
        private: Let only this user read it, from the first byte on, even if the file existed before.

    Raises:
        ConfigurationError: It cannot be written.
    """
    try:
        with new_file(path, private=private) as file:
            file.write(data)
    except OSError as error:
        raise ConfigurationError(f"{what} {path} cannot be written: {error.strerror}") from error


def remove_file(path: Path, what: str) -> None:
    """Remove a file that is about to be written: an earlier run's file says nothing about this one.

    Only a regular file is removed; the target may also be a pipe or a device.

    Raises:
        ConfigurationError: It cannot be removed.
    """
    try:
        if path.is_file():
            path.unlink()
    except OSError as error:
        raise ConfigurationError(f"{what} {path} cannot be removed: {error.strerror}") from error


@contextmanager
def new_file(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Open a file for writing that gets its name at the end of the block, or none if the block raises.

    Args:
        path: The file; one that is there is replaced.
        private: Let only this user read it.

    Raises:
        OSError: It cannot be written.
    """
    # In a folder that others can write to, a predictable name may already be a link of theirs.
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(temporary, flags, 0o600 if private else 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
