"""Files of this machine that people name."""

from __future__ import annotations

from pathlib import Path

from jenkins_release.base.errors import ConfigurationError


def read_named(path: Path, limit: int, *, hint: str, what: str = "") -> bytes:
    """Read a file, at most one byte more than the limit, so that its parser refuses a longer one.

    Args:
        path: The file.
        limit: Its maximum size in bytes.
        hint: How to get one.
        what: What it is, for the message.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise ConfigurationError(
            f"{what} {path} cannot be read: {error.strerror}".strip(), hint=hint
        ) from error
