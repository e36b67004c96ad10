"""Files that a step leaves on this machine: there whole, or not at all."""

from __future__ import annotations

from pathlib import Path

from jenkins_release.errors import ConfigurationError


def write_file(path: Path, data: bytes, what: str) -> None:
    """Write a file under a temporary name in its folder, and rename it.

    Args:
        path: The file; one that is there is replaced.
        data: Its bytes.
        what: What it is, for the message, such as ``the plan``.

    Raises:
        ConfigurationError: It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{what} {path} cannot be written: {error.strerror}") from error
