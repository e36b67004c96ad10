"""Paths below a home folder, written with ``~``."""

from __future__ import annotations

from pathlib import Path

from jenkins_release.base.errors import ConfigurationError


def expand_home(path: str) -> Path:
    """Return a path with ``~`` or ``~user`` at its beginning replaced by that home folder.

    Raises:
        ConfigurationError: The home folder is unknown: the user does not exist, or, as in some containers,
            ``HOME`` is not set and the user id is in no passwd file.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # what pathlib raises for it
        raise ConfigurationError(
            f"the home folder of {path} is unknown", hint="write the full path, or set HOME"
        ) from error
