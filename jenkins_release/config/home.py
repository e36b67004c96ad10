"""Paths below a home folder, written with ``~``."""

from __future__ import annotations

from pathlib import Path

from jenkins_release.base.errors import ConfigurationError


def expand_home(path: str) -> Path:
    """Return a path with ``~`` or ``~user`` at its beginning replaced by that home folder.

    Raises:
        ConfigurationError: No home folder is known: there is no such user, or no ``HOME`` for a user id
            that no passwd file names, as in some containers.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # what pathlib raises for it
        raise ConfigurationError(
            f"no home folder is known for {path}", hint="write the whole path, or set HOME"
        ) from error
