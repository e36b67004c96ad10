"""A lease on an SMB share: an exclusive open that the server enforces and releases.

The holder has the lock file open for writing, and lets others only read it (MS-SMB2 section 2.2.13,
ShareAccess), so a second open fails with STATUS_SHARING_VIOLATION, and the first line in the file names the
holder. The server closes the file as soon as the holder's TCP connection ends: at once if its process dies,
or after the server's keep-alive time if its machine disappears. No durable handle is requested, so a lease
never outlives its connection.

If its connection was lost, a lease is taken again when it is confirmed, unless someone else had it meanwhile:
taking a lease overwrites the file, and giving it up empties it. The second line in it is unique.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Iterator
from dataclasses import replace

from smbprotocol.exceptions import AccessDenied, SharingViolation
from smbprotocol.file_info import FileEndOfFileInformation
from smbprotocol.open import CreateDisposition, Open

from jenkins_release.base.errors import LeaseHeld, ReleaseError, RemoteError
from jenkins_release.base.retry import RetryPolicy, retry_call
from jenkins_release.base.waits import stopping
from jenkins_release.share.checks import holder_line
from jenkins_release.share.protocol import AccessRefused, PathNotFound
from jenkins_release.share.smb.connection import (
    A_FILE,
    READ_DATA,
    SHARE_ALL,
    SHARE_READ,
    WRITE_DATA,
    SmbConnection,
)
from jenkins_release.share.smb.errors import FOREIGN, AnswerLost, status_text
from jenkins_release.share.smb.files import clear_mark, is_protected
from jenkins_release.share.smb.pool import Slot

_log = logging.getLogger(__name__)
_MAX_LINE = 4096
_ONCE = RetryPolicy(attempts=1)
_AGAIN_S = 120.0
"""How long to wait for a server to restart before a lease can be taken again, in seconds."""


class SmbLease:
    """A held lease.

    Args:
        slot: The lease's own connection.
        path: The lock file.
        handle: Its exclusive open.
        mark: What the holder wrote to it.
        policy: The waits between attempts to take it again; None for a single attempt.
    """

    def __init__(self, slot: Slot, path: str, handle: Open, mark: bytes, policy: RetryPolicy | None) -> None:
        self._slot = slot
        self._path = path
        self._handle = handle
        self._mark = mark
        # Set once it is lost for good.
        self._policy = replace(policy, attempts=None, deadline_s=_AGAIN_S, setting="") if policy else _ONCE

    def confirm(self) -> None:
        """Read the mark through the handle that is the lease, or take the lease again. Raises RemoteError."""
        self._confirm("before the work under it was done", self._policy)

    def release(self) -> None:
        """Empty the lock file and close it. Raises RemoteError if the lease was lost."""
        self._confirm("after the last step under it", _ONCE)
        try:
            with self._slot.connection.doing("give up the lease on", self._path):
                end = FileEndOfFileInformation()
                end["end_of_file"] = 0
                self._slot.connection.change(self._handle, end)
                self._handle.close()
        except AnswerLost as error:
            # Its session ends with the next login; nothing can be lost now.
            _log.debug("%s", error)
            self._slot.renew()

    def _confirm(self, when: str, policy: RetryPolicy) -> None:
        connection = self._slot.connection
        try:
            with connection.doing("confirm the lease on", self._path):
                if not connection.alive or self._handle.read(0, len(self._mark)) == self._mark:
                    found: ReleaseError | None = None
                else:
                    found = RemoteError("another line is in it")
        except RemoteError as error:
            found = error
        if found is None and connection.alive:
            return
        # The remaining handle must not look like a lease to others.
        connection.drop()
        where = connection.shown.path(self._path)
        try:
            if stopping():
                raise RemoteError("its connection ended")
            retry_call(self._take_again, what=f"take the lease on {where} again", policy=policy)
        except ReleaseError as error:
            raise RemoteError(
                f"the lease on {where} was lost {when}: {error.message}",
                hint="check whether someone else worked on the same candidate meanwhile, then run it again",
            ) from error
        _log.warning(
            "the lease on %s was lost with its connection and taken again: no one else had it meanwhile%s",
            where,
            f" ({found.message})" if found else "",
        )

    def _take_again(self) -> None:
        connection = self._slot.renew()
        with connection.doing("take again the lease on", self._path):
            try:
                handle = connection.open(self._path, READ_DATA | WRITE_DATA, share=SHARE_READ, options=A_FILE)
            except SharingViolation as error:
                raise RemoteError(f"it is held by {_holder(connection, self._path)}") from error
            line = handle.read(0, len(self._mark)) if handle.end_of_file else b""
            if line != self._mark:
                handle.close()
                raise RemoteError("another process held it in the meantime")
        self._handle = handle


@contextlib.contextmanager
def held(slot: Slot, path: str, holder: str, policy: RetryPolicy | None = None) -> Iterator[SmbLease]:
    """Hold the lease on ``path`` for the block.

    If the lease is lost when the block ends, a warning is logged: code that changes something under it
    confirms it first.

    Args:
        slot: A separate connection for this lease, so that a broken transfer does not end it.
        path: The lock file.
        holder: Who holds it, one line.
        policy: The waits between attempts to take a lost lease again; None for a single attempt.

    Raises:
        LeaseHeld: Someone else holds it.
        RemoteError: It could not be taken.
    """
    mark = holder_line(holder) + f"{secrets.token_hex(8)}\n".encode()
    try:
        handle = _take(slot.connection, path, mark)
    except AnswerLost as error:
        # Whether or not it was taken, the next login ends the session that has it.
        _log.warning("%s; taking it again", error)
        handle = _take(slot.renew(), path, mark)
    lease = SmbLease(slot, path, handle, mark, policy)
    try:
        yield lease
    finally:
        try:
            lease.release()
        except ReleaseError as error:
            _log.warning("%s", error)


def _take(connection: SmbConnection, path: str, mark: bytes) -> Open:
    with connection.doing("take the lease on", path):
        handle = _open(connection, path)
        try:
            handle.write(mark, 0)
        except FOREIGN as error:
            # A file that stays open would be a lease without a holder.
            connection.drop(silent=isinstance(error, TimeoutError))
            raise
    return handle


def _open(connection: SmbConnection, path: str) -> Open:
    try:
        try:
            return _overwrite(connection, path)
        except AccessDenied as error:
            _make_writable(connection, path, error)
            return _overwrite(connection, path)
    except SharingViolation as error:
        # Behind DFS, each target has leases of its own.
        on = "" if connection.target == connection.shown else f" (target {connection.target})"
        raise LeaseHeld(
            f"the lease on {connection.shown.path(path)}{on} is held by {_holder(connection, path)}",
            hint="wait until it is done; the server frees the lease when the holder's process ends",
        ) from error


def _overwrite(connection: SmbConnection, path: str) -> Open:
    # Overwriting empties the file in the same step, so the line of an earlier holder is never read.
    return connection.open(
        path,
        READ_DATA | WRITE_DATA,
        share=SHARE_READ,
        disposition=CreateDisposition.FILE_OVERWRITE_IF,
        options=A_FILE,
    )


def _make_writable(connection: SmbConnection, path: str, error: AccessDenied) -> None:
    """Clear the mark ``read-only`` of a lock file, which protects nothing; or say why it is refused."""
    try:
        marked = is_protected(connection, path)
    except PathNotFound:
        raise error from None
    where = connection.shown.path(path)
    if not marked:
        raise AccessRefused(
            f"cannot take the lease on {where}: the lock file exists, and this account may not write to it: "
            f"{status_text(error.status)}",
            hint="every account that runs commands needs the permission to modify the files in that folder",
        ) from error
    clear_mark(connection, path)
    _log.warning("the lock file %s was marked read-only, and is not any more", where)


def _holder(connection: SmbConnection, path: str) -> str:
    try:
        with connection.opened(path, READ_DATA, share=SHARE_ALL, options=A_FILE) as handle:
            line: bytes = handle.read(0, _MAX_LINE) if handle.end_of_file else b""
    except FOREIGN as error:
        _log.debug("reading the holder of %s: %s", path, error)
        line = b""
    return line.decode(errors="replace").strip().partition("\n")[0].strip() or "an unknown holder"
