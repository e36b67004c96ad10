"""The share over SMB 2 and 3, by smbprotocol."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from jenkins_release.errors import ConfigurationError
from jenkins_release.rules.names import check_path
from jenkins_release.share import smb_files, smb_lease
from jenkins_release.share.checks import check_below_root, check_range, too_short
from jenkins_release.share.protocol import Entry, Lease, Writer
from jenkins_release.share.smb_address import SmbAddress
from jenkins_release.share.smb_connect import connect
from jenkins_release.share.smb_connection import A_FILE, READ_DATA, SHARE_READ, SmbConnection
from jenkins_release.share.smb_transfer import download
from jenkins_release.share.smb_wire import SmbLogin
from jenkins_release.share.smb_writer import SmbWriter

_IDLE = 4
"""Connections kept open while nobody uses them."""
_AUTH = ("negotiate", "ntlm", "kerberos")


class SmbShare:
    r"""A folder of an SMB share.

    Every operation has a connection for itself while it runs: a call to :meth:`list` for its length,
    a transfer or a lease until its block ends. So one object serves several threads, and a transfer
    whose connection breaks does not end a lease. Connections are reused; one that failed is dropped,
    and the next operation makes a new one. Nothing is tried twice here.

    Args:
        address: Where the share is; ``address.folder`` is the root.
        username: Account, with its domain where needed.
        password: Its password; None only for Kerberos with a ticket.
        encrypt: Whether everything is encrypted (SMB 3). Signed it is in any case. Switched off, a
            server that demands encryption is refused with an error.
        timeout_s: Longest wait for one answer of the server, in seconds; then the connection is dropped.
        auth: ``negotiate`` (Kerberos where there is a ticket library, else NTLM), ``ntlm`` or ``kerberos``.

    Raises:
        ConfigurationError: A user or password is missing, or a value is impossible.
    """

    def __init__(
        self,
        address: SmbAddress,
        username: str | None,
        password: str | None,
        *,
        encrypt: bool = True,
        timeout_s: float = 60.0,
        auth: str = "negotiate",
    ) -> None:
        if auth not in _AUTH:
            raise ConfigurationError(
                f"SMB authentication {auth!r} is unknown", hint=f"use one of {', '.join(_AUTH)}"
            )
        if auth != "kerberos" and not (username and password):
            raise ConfigurationError(
                f"the share {address} needs a user name and a password",
                hint="set JENKINS_RELEASE_SMB_USER and JENKINS_RELEASE_SMB_PASSWORD, or ..._FILE for files",
            )
        if timeout_s < 1:
            raise ConfigurationError(
                f"an SMB time-out of {timeout_s} s is too short", hint="give 1 s or more"
            )
        self._address = address
        login = SmbLogin(username, password, encrypt=encrypt, auth=auth, timeout_s=timeout_s)
        self._pool = _Pool(lambda: connect(address, login))

    def __repr__(self) -> str:
        return f"SmbShare({self.name})"

    def __enter__(self) -> SmbShare:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        r"""The root as people write it: ``\\server\share\folder``."""
        return str(self._address)

    def close(self) -> None:
        """Log off from every connection; the object may be used again and then connects anew."""
        self._pool.close()

    def list(self, path: str) -> list[Entry]:
        """List a folder, sorted by name, with one query."""
        check_path(path)
        with self._pool.borrow() as connection:
            return [*smb_files.list_folder(connection, path)]

    def stat(self, path: str) -> Entry:
        """Describe one file or folder."""
        check_path(path)
        with self._pool.borrow() as connection:
            return smb_files.describe(connection, path)

    def read(self, path: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB, with 8 requests of read-ahead.

        The file is opened when the first piece is asked for, and until the last one nobody can
        change it.
        """
        check_path(path)
        check_range(offset, length)
        return self._read(path, offset, length)

    def create(self, path: str) -> AbstractContextManager[Writer]:
        """Create a new file for writing; it is there for others once the block has ended."""
        check_below_root(path)
        return self._create(path)

    def make_folder(self, path: str) -> None:
        """Create a folder and those above it that are missing, below the root."""
        names = check_path(path)
        if names:
            with self._pool.borrow() as connection:
                smb_files.make_folder(connection, names)

    def rename(self, source: str, target: str) -> None:
        """Rename a file or folder in one server-side step."""
        check_below_root(source)
        check_below_root(target)
        with self._pool.borrow() as connection:
            smb_files.rename(connection, source, target)

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it."""
        check_below_root(path)
        with self._pool.borrow() as connection:
            smb_files.remove(connection, path)

    def free_space(self) -> int | None:
        """Bytes that the user may still write, quotas counted."""
        with self._pool.borrow() as connection:
            return smb_files.free_space(connection)

    def lease(self, path: str, holder: str) -> AbstractContextManager[Lease]:
        """Hold a lease on ``path`` for the length of the block, on a connection of its own.

        Raises:
            LeaseHeld: Someone else holds it.
            RemoteError: At the end of the block too, when the lease was lost meanwhile.
        """
        check_below_root(path)
        return self._lease(path, holder)

    def _read(self, path: str, offset: int, length: int | None) -> Iterator[bytes]:
        with self._pool.borrow() as connection:
            with connection.doing("read", path):
                handle = connection.open(path, READ_DATA, share=SHARE_READ, options=A_FILE)
            size = handle.end_of_file
            wanted = max(0, size - offset) if length is None else length
            if offset + wanted > size or offset > size:
                with connection.doing("read", path):
                    handle.close()
                raise too_short(self._address.path(path), offset, wanted, size)
            pieces = download(connection, handle, offset, wanted)
            got = 0
            try:
                while got < wanted:
                    with connection.doing("read", path):
                        piece = next(pieces, b"")
                    if not piece:
                        break
                    got += len(piece)
                    yield piece
            finally:
                pieces.close()
                if connection.alive:
                    with connection.doing("read", path):
                        handle.close()
            if got != wanted:
                raise too_short(self._address.path(path), offset, wanted, offset + got)

    @contextlib.contextmanager
    def _create(self, path: str) -> Iterator[Writer]:
        with self._pool.borrow() as connection, SmbWriter(connection, path) as writer:
            yield writer

    @contextlib.contextmanager
    def _lease(self, path: str, holder: str) -> Iterator[Lease]:
        with self._pool.borrow() as connection, smb_lease.held(connection, path, holder) as lease:
            yield lease


class _Pool:
    """Connections that are lent to one user at a time."""

    def __init__(self, connect_: Callable[[], SmbConnection]) -> None:
        self._connect = connect_
        self._lock = threading.Lock()
        self._idle: list[SmbConnection] = []

    @contextlib.contextmanager
    def borrow(self) -> Iterator[SmbConnection]:
        connection = self._take()
        try:
            yield connection
        finally:
            self._give_back(connection)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> SmbConnection:
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if connection.alive:
                    return connection
        return self._connect()

    def _give_back(self, connection: SmbConnection) -> None:
        if not connection.alive:
            # What broke one connection has most likely broken the idle ones too.
            with self._lock:
                broken, self._idle = self._idle, []
            for other in broken:
                other.drop()
            return
        with self._lock:
            if len(self._idle) < _IDLE:
                self._idle.append(connection)
                return
        connection.close()
