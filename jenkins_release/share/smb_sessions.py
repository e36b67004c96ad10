"""Sessions whose connection was lost: a server that has not noticed keeps what they have open."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from jenkins_release.share.smb_address import SmbAddress

_MOST = 32
"""Sessions remembered for one server; older ones have long been ended by it."""


@dataclass
class LostSessions:
    """The lost sessions of one user, by server. New logins name them, and the server ends them."""

    # The garbage collector may close a file that is half read in the middle of a change: one more is lost.
    _lock: AbstractContextManager[Any] = field(default_factory=threading.RLock)
    _found: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    _silent: bool = False

    def add(self, target: SmbAddress, *sessions: int, silent: bool = False) -> None:
        """Note sessions.

        Args:
            target: Their server.
            sessions: Their ids.
            silent: Whether the server stopped to answer, and so may not hear that its connection ended.
        """
        with self._lock:
            found = self._found.setdefault(_server(target), [])
            found += [each for each in sessions if each and each not in found]
            del found[:-_MOST]
            self._silent = self._silent or silent

    def take(self, target: SmbAddress) -> list[int]:
        """Return those on a server, the last one first, and forget them."""
        with self._lock:
            self._silent = False
            return self._found.pop(_server(target), [])[::-1]

    @property
    def silent(self) -> bool:
        """Whether a server stopped to answer, and no login named the lost sessions since."""
        with self._lock:
            return self._silent


def _server(target: SmbAddress) -> tuple[str, int]:
    return target.server.casefold(), target.port
