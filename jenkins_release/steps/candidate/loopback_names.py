"""The names that images have in a daemon while it pushes to loopback or pulls from there."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterable

from jenkins_release.base.errors import ReleaseError
from jenkins_release.base.waits import Stopped, ThreadGroup, apart, stopping
from jenkins_release.endpoint.server import LOOPBACK
from jenkins_release.steps.context.services import Services

TAG = "candidate"
_FOLDER = "jenkins-release/"
_STALE = re.compile(rf"{re.escape(LOOPBACK)}:(\d{{1,5}})/{_FOLDER}\d+[:@].+")
_CONNECT_S = 1.0
_REMOVE_S = 0.4
"""Longest time in which names are removed after Ctrl-C, in seconds."""
_log = logging.getLogger(__name__)


def repository_name(number: int) -> str:
    """Return the repository of an image by its number."""
    return f"{_FOLDER}{number}"


def remove_names(names: Iterable[str], services: Services) -> None:
    """Remove such names. One that cannot be removed now is removed by the next push or pull."""
    # Also after Ctrl-C or a failure, when the threads that gave them must not wait any more.
    with apart():
        group = ThreadGroup()
        if stopping():
            # The share has to be cleaned up too.
            group.end(_REMOVE_S)
        for name in names:
            try:
                group.run(services.engine.untag, name)
            except (ReleaseError, Stopped) as error:
                _log.info("%s stays in the daemon for now: %s", name, error)
                return


def remove_stale_names(services: Services) -> None:
    """Remove such names that a command left when it died: they would keep images on the daemon's disk.

    Nobody listens at their ports any more. No failure here is an error.
    """
    try:
        for name in services.engine.names():
            found = _STALE.fullmatch(name)
            if found is not None and not _listening(int(found[1])):
                _log.info("removing the name %s, which a command left when it died", name)
                services.engine.untag(name)
    except ReleaseError as error:
        _log.debug("names of commands that died may be left in the daemon: %s", error.message)


def _listening(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), _CONNECT_S):
            return True
    except (OSError, OverflowError):
        return False
