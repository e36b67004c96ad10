"""Sessions whose connection was lost: a server that has not noticed keeps what they have open."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from jenkins_release.share.smb.address import SmbAddress

_MOST = 32
"""Sessions remembered for one server; older ones have long been ended by it."""


@dataclass
class LostSessions:
    """The lost sessions of one user, by server. New logins name them, and the server ends them."""

    # The garbage collector may close a file that is half read in the middle of a change: one more is lost.
    _lock: AbstractContextManager[Any] = field(default_factory=threading.RLock)
    _found: dict[tuple[str, int], dict[int, bool]] = field(default_factory=dict)

    def add(self, target: SmbAddress, session: int, *, silent: bool = False) -> None:
        """Note a session.

        Args:
            target: Its server.
            session: Its id; 0 if it never had one.
            silent: Whether the server stopped to answer, and so may not hear that its connection ended.
        """
        if session:
            self.give_back(target, {session: silent})

    def take(self, target: SmbAddress) -> dict[int, bool]:
        """Forget those on a server, and return their ids, the last one first, with whether it was silent."""
        with self._lock:
            return dict(reversed(self._found.pop(_server(target), {}).items()))

    def give_back(self, target: SmbAddress, taken: dict[int, bool]) -> None:
        """Note again what :meth:`take` returned, after a login that failed."""
        with self._lock:
            found = self._found.setdefault(_server(target), {})
            for session, silent in reversed(taken.items()):
                found[session] = silent or found.get(session, False)
            for oldest in list(found)[:-_MOST]:
                found.pop(oldest, None)

    @property
    def silent(self) -> bool:
        """Whether a server stopped to answer, and no login named the sessions lost there since."""
        with self._lock:
            return any(True in found.values() for found in list(self._found.values()))


def _server(target: SmbAddress) -> tuple[str, int]:
    return target.server.casefold(), target.port
