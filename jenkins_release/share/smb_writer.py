"""A new file on an SMB share, which exists only once it is complete."""

from __future__ import annotations

import logging

from smbprotocol.exceptions import DeletePending, ObjectNameCollision
from smbprotocol.file_info import FileStandardInformation
from smbprotocol.open import Open

from jenkins_release.errors import IntegrityError
from jenkins_release.share.protocol import PathExists, Writer
from jenkins_release.share.smb_connection import (
    DELETE,
    READ_ATTRIBUTES,
    WRITE_DATA,
    SmbConnection,
    deletion,
)
from jenkins_release.share.smb_errors import FOREIGN, status_text
from jenkins_release.share.smb_transfer import Upload

_log = logging.getLogger(__name__)
_FLUSH_S = 900.0
"""Longest wait for the server's disk at the end of a file, in seconds, while the server is alive."""


class SmbWriter:
    """A file on its way to the share, as :class:`~jenkins_release.share.protocol.Writer` promises.

    The file is created exclusively, nobody else can open it meanwhile, and it is marked for removal
    until it is complete: whatever ends this process or its connection, the server leaves no partial
    file behind.

    Args:
        connection: A connection for this file alone.
        path: Where the file goes, below the root.
    """

    def __init__(self, connection: SmbConnection, path: str) -> None:
        self._connection = connection
        self._path = path
        self._count = 0
        with connection.doing("create", path):
            self._handle = self._create()
            self._upload = Upload(connection, self._handle)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *exc: object) -> None:
        if exc[0] is not None:
            self._abandon()
            return
        try:
            self._finish()
        except BaseException:
            self._abandon()
            raise

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append ``data``; the buffer may be reused when the call returns."""
        view = memoryview(data).cast("B")
        with self._connection.doing("write", self._path):
            self._upload.write(view)
        self._count += len(view)

    def _create(self) -> Open:
        connection, path = self._connection, self._path
        try:
            return connection.create_marked(path, WRITE_DATA | READ_ATTRIBUTES | DELETE)
        except ObjectNameCollision as error:
            try:
                with connection.opened(path, READ_ATTRIBUTES):
                    raise
            except DeletePending:
                raise self._unfinished(error) from error
        except DeletePending as error:
            raise self._unfinished(error) from error

    def _unfinished(self, error: ObjectNameCollision | DeletePending) -> PathExists:
        return PathExists(
            f"cannot create {self._connection.shown.path(self._path)}: another session is writing it, "
            f"or lost its connection a moment ago: {status_text(error.status)}",
            hint="the server removes what is not finished as soon as it notices: try again",
            retryable=True,
        )

    def _finish(self) -> None:
        connection = self._connection
        with connection.doing("finish", self._path):
            acknowledged = self._upload.finish()
            # CLOSE alone leaves the bytes in the server's memory; FLUSH puts them on its disk.
            message, _ = self._handle.flush(send=False)
            connection.wire.receive_slow(connection.send(message), _FLUSH_S)
            size = connection.query(self._handle, FileStandardInformation)["end_of_file"].get_value()
            if not size == acknowledged == self._count:
                raise IntegrityError(
                    f"{connection.shown.path(self._path)}: {self._count} bytes were written, the server "
                    f"acknowledged {acknowledged} and shows a file of {size}"
                )
            connection.change(self._handle, deletion(deleted=False))
            self._handle.close()

    def _abandon(self) -> None:
        try:
            if self._connection.alive:
                self._upload.abandon()
                self._handle.close()
        except FOREIGN as error:
            _log.debug("abandoning %s: %s", self._connection.shown.path(self._path), error)
            # Without its connection the server closes the file, and with that removes it.
            self._connection.drop()
