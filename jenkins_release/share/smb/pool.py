"""Connections to one share, each lent to one user at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from jenkins_release.share.smb.address import SmbAddress
from jenkins_release.share.smb.connection import SmbConnection

Connect = Callable[[SmbAddress | None], SmbConnection]
_IDLE = 4
"""Maximum idle connections that are kept open."""


class Slot:
    """A lent connection, which can be exchanged for a new one if it breaks.

    Args:
        connection: The connection.
        connect: Makes another one, and has the server end the lost sessions; to one DFS target and no other,
            if it is given one.
    """

    def __init__(self, connection: SmbConnection, connect: Connect) -> None:
        self.connection = connection
        self._connect = connect

    def renew(self, stay_on: SmbAddress | None = None) -> SmbConnection:
        """Drop the connection and return a new one; the server ends the old session.

        Args:
            stay_on: The DFS target to which to return, and no other; None for any.

        Raises:
            ReleaseError: There is none.
        """
        self.connection.drop()
        self.connection = self._connect(stay_on)
        return self.connection


class SmbPool:
    """Connections that are lent to one user at a time, and reused; failed ones are dropped.

    Args:
        connect: Makes a connection, and has the server end the lost sessions; to one DFS target and no other,
            if it is given one.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        # Reading uses a generator, which the garbage collector may close in the middle of a change.
        self._lock = threading.RLock()
        self._idle: list[SmbConnection] = []

    @contextlib.contextmanager
    def borrow(self) -> Iterator[SmbConnection]:
        """Lend a connection for the block."""
        with self.slot() as slot:
            yield slot.connection

    @contextlib.contextmanager
    def slot(self) -> Iterator[Slot]:
        """Lend a connection that may be exchanged meanwhile."""
        slot = Slot(self._take(), self._connect)
        try:
            yield slot
        finally:
            self._give_back(slot.connection)

    def close(self) -> None:
        """Log off from every idle connection, as long as the server answers."""
        with self._lock:
            idle, self._idle = self._idle, []
        answers = True
        for connection in idle:
            if answers:
                answers = connection.close()
            else:
                connection.drop()

    def _take(self) -> SmbConnection:
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if connection.alive:
                    return connection
                connection.drop()
        return self._connect(None)

    def _give_back(self, connection: SmbConnection) -> None:
        if not connection.alive:
            # Whatever broke one connection has probably broken the idle ones too.
            with self._lock:
                broken, self._idle = self._idle, []
            for other in broken:
                other.drop()
            connection.drop()
            return
        with self._lock:
            if len(self._idle) < _IDLE:
                self._idle.append(connection)
                return
        connection.close()
