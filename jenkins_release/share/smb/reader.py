"""Reading a file of an SMB share, through breaks of the connection."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Iterator
from datetime import datetime

from smbprotocol.open import Open

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.base.waits import Stopped
from jenkins_release.share.checks import too_short
from jenkins_release.share.protocol import PathNotFound
from jenkins_release.share.smb.address import SmbAddress
from jenkins_release.share.smb.connection import A_FILE, READ_DATA, SHARE_READ, SmbConnection
from jenkins_release.share.smb.lanes import open_lane
from jenkins_release.share.smb.pool import Slot
from jenkins_release.share.smb.resume import Resumption
from jenkins_release.share.smb.transfer import download

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Version:
    """What shows whether a reopened file is still the same."""

    size: int
    written: datetime

    @classmethod
    def of(cls, handle: Open) -> _Version:
        return cls(int(handle.end_of_file), handle.last_write_time)


def read_file(
    slot: Slot, path: str, offset: int, length: int | None, ahead: int, resumption: Resumption | None
) -> Generator[bytes, None, None]:
    """Yield a file's bytes; until the last one, no one can change it while the connection holds.

    Args:
        slot: The connection.
        path: The file.
        offset: First byte.
        length: Bytes, None for all that follow.
        ahead: Maximum pieces requested in advance.
        resumption: Continues after a break; None to raise it.

    Raises:
        PathNotFound: There is no such file.
        IntegrityError: It is shorter, or was changed between a break and the new connection.
    """
    handle = _open(slot.connection, path)
    version = _Version.of(handle)
    began_on = slot.connection.target
    stay_on: SmbAddress | None = None
    where = slot.connection.shown.path(path)
    wanted = max(0, version.size - offset) if length is None else length
    if offset + wanted > version.size or offset > version.size:
        _close(slot.connection, handle, path)
        raise too_short(where, offset, wanted, version.size)
    got = 0
    forgotten = False

    def reopen() -> Open:
        nonlocal stay_on
        connection = slot.renew(stay_on)
        elsewhere = connection.target != began_on
        try:
            new = _open(connection, path)
        except PathNotFound:
            if not elsewhere:
                raise
        else:
            if _Version.of(new) == version:
                return new
            _close(connection, new, path)
        if elsewhere:
            # Another DFS target, which may be behind.
            stay_on = began_on
            raise RemoteError(
                f"cannot go on with {where}: {connection.target} has another file or none, so {began_on} is "
                "needed",
                hint="see whether that server is up, and whether the targets of the DFS link hold the same",
                retryable=True,
            )
        raise IntegrityError(
            f"{where} was changed while it was read: it had {version.size} bytes of {version.written}, "
            f"now {new.end_of_file} of {new.last_write_time}",
            hint="find out who writes to the share; what was read is discarded",
        )

    while True:
        connection = slot.connection
        pieces = download(connection, open_lane(connection), handle, offset + got, wanted - got, ahead)
        try:
            while got < wanted:
                with connection.doing("read", path):
                    piece = next(pieces, b"")
                if not piece:
                    break
                got += len(piece)
                yield piece
            break
        except RemoteError as error:
            if resumption is None or connection.alive:
                raise
            handle = resumption.go_on(error, got, reopen)
        except GeneratorExit:
            forgotten = True
            raise
        finally:
            pieces.close()
            if connection.wire.receives_here:
                # Closed by the garbage collector: nothing reads on, and no answer would come meanwhile.
                connection.drop()
            elif connection.alive and connection is slot.connection:
                with _reported(connection, whole=got == wanted, forgotten=forgotten):
                    _close(connection, handle, path)
    if got != wanted:
        raise too_short(where, offset, wanted, offset + got)


def _open(connection: SmbConnection, path: str) -> Open:
    with connection.doing("read", path):
        return connection.open(path, READ_DATA, share=SHARE_READ, options=A_FILE)


@contextlib.contextmanager
def _reported(connection: SmbConnection, *, whole: bool, forgotten: bool) -> Iterator[None]:
    """Report that a file cannot be closed, unless nobody needs to know."""
    try:
        yield
    except RemoteError as error:
        if not forgotten and (not whole or connection.alive):
            raise
        _log.debug("after the last byte that was read: %s", error)
    except Stopped:
        # This thread must not wait. The answer is outstanding, so nobody else may use the connection.
        connection.drop()
        if not forgotten:
            raise


def _close(connection: SmbConnection, handle: Open, path: str) -> None:
    with connection.doing("read", path):
        handle.close()
