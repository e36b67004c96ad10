"""A lease on an SMB share: an exclusive open that the server enforces and releases.

The holder has the lock file open for writing and lets others only read it (MS-SMB2 section 2.2.13,
ShareAccess), so a second holder's open fails with STATUS_SHARING_VIOLATION and the line in the file
says who is first. The server closes the file as soon as the holder's TCP connection ends: at once
when its process dies, after the keep-alive time of the server when its machine vanishes. No durable
handle is asked for, so a lease never outlives its connection.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from smbprotocol.exceptions import SharingViolation
from smbprotocol.file_info import FileEndOfFileInformation
from smbprotocol.open import CreateDisposition, Open

from jenkins_release.errors import LeaseHeld, RemoteError
from jenkins_release.share.checks import holder_line
from jenkins_release.share.smb_connection import (
    A_FILE,
    READ_DATA,
    SHARE_ALL,
    SHARE_READ,
    WRITE_DATA,
    SmbConnection,
)
from jenkins_release.share.smb_errors import FOREIGN

_log = logging.getLogger(__name__)
_MAX_LINE = 4096


class SmbLease:
    """A lease that is held.

    Args:
        connection: The lease's own connection.
        path: The lock file.
        handle: Its exclusive open.
        line: The holder's line in it.
    """

    def __init__(self, connection: SmbConnection, path: str, handle: Open, line: bytes) -> None:
        self._connection = connection
        self._path = path
        self._handle = handle
        self._line = line

    def confirm(self) -> None:
        """Read the holder's line through the open that is the lease. Raises RemoteError."""
        found: Exception | None = None
        try:
            if self._connection.alive and self._handle.read(0, len(self._line)) == self._line:
                return
        except FOREIGN as error:
            found = error
        raise self._lost(found) from found

    def release(self) -> None:
        """Empty the lock file and close it. Raises RemoteError where the lease was lost before."""
        self.confirm()
        try:
            end = FileEndOfFileInformation()
            end["end_of_file"] = 0
            self._connection.change(self._handle, end)
            self._handle.close()
        except FOREIGN as error:
            raise self._lost(error) from error

    def _lost(self, found: Exception | None) -> RemoteError:
        # What is left of the open must not look like a lease to others.
        self._connection.drop()
        return RemoteError(
            f"the lease on {self._connection.shown.path(self._path)} was lost before the work under it "
            f"was done: {found or 'its connection ended'}",
            hint="see whether someone else worked on the same candidate meanwhile, then run it again",
        )


@contextlib.contextmanager
def held(connection: SmbConnection, path: str, holder: str) -> Iterator[SmbLease]:
    """Hold the lease on ``path`` for the length of the block.

    Args:
        connection: A connection for this lease alone, so that a broken transfer does not end it.
        path: The lock file.
        holder: Who holds it, one line.

    Raises:
        LeaseHeld: Someone else holds it.
        RemoteError: It could not be taken, or was lost before the block ended.
    """
    line = holder_line(holder)
    with connection.doing("take the lease on", path):
        handle = _open(connection, path)
        try:
            handle.write(line, 0)
        except FOREIGN:
            # An open file that nobody closes would be a lease that nobody holds.
            connection.drop()
            raise
    lease = SmbLease(connection, path, handle, line)
    try:
        yield lease
    except BaseException:
        # What ended the block matters more than a lease that is lost on top.
        try:
            lease.release()
        except RemoteError as error:
            _log.warning("%s", error)
        raise
    lease.release()


def _open(connection: SmbConnection, path: str) -> Open:
    try:
        # Overwriting empties the file in the same step, so nobody reads the line of an earlier holder.
        return connection.open(
            path,
            READ_DATA | WRITE_DATA,
            share=SHARE_READ,
            disposition=CreateDisposition.FILE_OVERWRITE_IF,
            options=A_FILE,
        )
    except SharingViolation as error:
        raise LeaseHeld(
            f"the lease on {connection.shown.path(path)} is held by {_holder(connection, path)}",
            hint="wait until it is done; the server frees the lease when the holder's process ends",
        ) from error


def _holder(connection: SmbConnection, path: str) -> str:
    try:
        with connection.opened(path, READ_DATA, share=SHARE_ALL, options=A_FILE) as handle:
            line: bytes = handle.read(0, _MAX_LINE) if handle.end_of_file else b""
    except FOREIGN as error:
        _log.debug("reading the holder of %s: %s", path, error)
        line = b""
    return line.decode(errors="replace").strip() or "someone who has not left a name yet"
