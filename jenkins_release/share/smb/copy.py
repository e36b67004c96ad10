"""Copies between files of one server that do not cross the network (MS-SMB2 section 3.2.4.20.2)."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any

from smbprotocol.exceptions import SMBException, SMBResponseException
from smbprotocol.ioctl import (
    CtlCode,
    IOCTLFlags,
    SMB2IOCTLRequest,
    SMB2IOCTLResponse,
    SMB2SrvCopyChunk,
    SMB2SrvCopyChunkCopy,
    SMB2SrvCopyChunkResponse,
    SMB2SrvRequestResumeKey,
)
from smbprotocol.open import Open
from smbprotocol.tree import TreeConnect

from jenkins_release.share.checks import too_short
from jenkins_release.share.smb.address import SmbAddress
from jenkins_release.share.smb.connection import A_FILE, READ_DATA, SHARE_READ, SmbConnection
from jenkins_release.share.smb.errors import connection_survives, translate

_CHUNK = 1024 * 1024
_CHUNKS = 16
_TOTAL = 16 * 1024 * 1024
"""What Windows and Samba allow in one request by default; a server that allows less says so."""
_LEAST = 4096
"""Copying on the server is not worth it with smaller chunks than this."""
_INVALID_PARAMETER = 0xC000000D
_NOT_OFFERED = frozenset({0xC0000002, 0xC0000010, 0xC00000BB})
"""STATUS_NOT_IMPLEMENTED, STATUS_INVALID_DEVICE_REQUEST and STATUS_NOT_SUPPORTED (MS-ERREF 2.3.1)."""


class ServerCopy:
    """A file that the server copies from; a context manager that closes it.

    Args:
        connection: Connection to the server, with the target's share.
        source: Root of the share that the file is on, a share of the same server.
        shown: The configured location of that share, for messages.
        path: The file below it.
    """

    def __init__(self, connection: SmbConnection, source: SmbAddress, shown: SmbAddress, path: str) -> None:
        self._connection = connection
        self._source = source
        self._shown = shown
        self._path = path
        self._handle: Open | None = None
        self._tree: TreeConnect | None = None
        self._limits = (_CHUNKS, _CHUNK, _TOTAL)

    def __enter__(self) -> ServerCopy:
        here = self._connection
        try:
            return self._open(here)
        except SMBResponseException as error:
            if not connection_survives(error):
                raise
            raise translate(error, "copy from", self._shown.path(self._path)) from error

    def _open(self, here: SmbConnection) -> ServerCopy:
        tree = here.tree
        if self._source.share.lower() != here.target.share.lower():
            # In the same session: a resume key is valid nowhere else.
            tree = TreeConnect(here.session, rf"\\{here.target.server}\{self._source.share}")
            tree.connect()
            self._tree = tree
        reading = SmbConnection(here.wire, here.session, tree, self._source, self._shown)
        self._handle = reading.open(self._path, READ_DATA, share=SHARE_READ, options=A_FILE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        here = self._connection
        if self._handle is not None and here.alive:
            if error is None:
                self._handle.close()
            else:
                here.close_after(self._handle, error)
        if self._tree is not None and here.alive:
            with contextlib.suppress(SMBResponseException):
                self._tree.disconnect()

    def length(self, offset: int, length: int | None) -> int:
        """Return how many bytes a range of the source has.

        Args:
            offset: First byte.
            length: Bytes; None for all that follow.

        Raises:
            IntegrityError: The source has fewer.
        """
        size = int(self._opened.end_of_file)
        wanted = max(0, size - offset) if length is None else length
        if offset + wanted > size or offset > size:
            raise too_short(self._shown.path(self._path), offset, wanted, size)
        return wanted

    def append_to(self, target: Open, at: int, offset: int, length: int) -> int | None:
        """Copy a range into another open file of the same session.

        Args:
            target: The file, opened for writing.
            at: Where in it.
            offset: First byte of the source.
            length: Bytes, no more than :meth:`length` says.

        Returns:
            Bytes copied, None if the server does not support it.

        Raises:
            SMBException: The server copied less than it was told to, or failed.
        """
        done = 0
        try:
            key = self._resume_key(self._opened)
            while done < length:
                done += self._step(target, key, offset + done, at + done, length - done)
        except SMBResponseException as error:
            if error.status in _NOT_OFFERED and not done:
                return None
            raise
        return done

    @property
    def version(self) -> str:
        """What shows whether the source is still the same when it is opened again."""
        return f"{self._opened.end_of_file} bytes of {self._opened.last_write_time}"

    @property
    def _opened(self) -> Open:
        if self._handle is None:
            raise SMBException("the source of a copy is not open")
        return self._handle

    def _resume_key(self, source: Open) -> bytes:
        answer = SMB2SrvRequestResumeKey()
        answer.unpack(_ask(self._connection, source, CtlCode.FSCTL_SRV_REQUEST_RESUME_KEY, None, 32))
        return bytes(answer["resume_key"].get_value())

    def _step(self, target: Open, key: bytes, source_at: int, target_at: int, left: int) -> int:
        while True:
            count, chunk, total = self._limits
            chunks: list[SMB2SrvCopyChunk] = []
            planned = 0
            room = min(left, total)
            while planned < room and len(chunks) < count:
                part = SMB2SrvCopyChunk()
                part["source_offset"] = source_at + planned
                part["target_offset"] = target_at + planned
                part["length"] = min(chunk, room - planned)
                planned += min(chunk, room - planned)
                chunks.append(part)
            order = SMB2SrvCopyChunkCopy()
            order["source_key"] = key
            order["chunks"] = chunks
            try:
                body = _ask(self._connection, target, CtlCode.FSCTL_SRV_COPYCHUNK_WRITE, order, 12)
            except SMBResponseException as error:
                if error.status == _INVALID_PARAMETER and self._learn(error):
                    continue
                raise
            answer = SMB2SrvCopyChunkResponse()
            answer.unpack(body)
            copied = int(answer["total_bytes_written"].get_value())
            if copied != planned:
                raise SMBException(f"the server copied {copied} of {planned} bytes at {target_at}")
            return copied

    def _learn(self, error: SMBResponseException) -> bool:
        # MS-SMB2 section 3.3.5.15.6.2: the answer to a request beyond the limits names them.
        carrier = SMB2IOCTLResponse()
        carrier.unpack(error.header["data"].get_value())
        answer = SMB2SrvCopyChunkResponse()
        answer.unpack(carrier["buffer"].get_value())
        told = tuple(
            int(answer[name].get_value())
            for name in ("chunks_written", "chunk_bytes_written", "total_bytes_written")
        )
        limits = min(told[0], _CHUNKS), min(told[1], _CHUNK), min(told[2], _TOTAL)
        if limits == self._limits or not limits[0] or min(limits[1:]) < _LEAST:
            return False
        self._limits = limits
        return True


def _ask(connection: SmbConnection, handle: Open, code: int, order: Any, room: int) -> bytes:
    message = SMB2IOCTLRequest()
    message["ctl_code"] = code
    message["file_id"] = handle.file_id
    message["max_output_response"] = room
    message["flags"] = IOCTLFlags.SMB2_0_IOCTL_IS_FSCTL
    if order is not None:
        message["buffer"] = order
    wire = connection.wire
    request = wire.send(message, sid=connection.session.session_id, tid=handle.tree_connect.tree_connect_id)
    answer = SMB2IOCTLResponse()
    # Copying may exceed the time limit while the server is otherwise alive.
    answer.unpack(wire.receive_slow(request, _COPY_S)["data"].get_value())
    return bytes(answer["buffer"].get_value())


_COPY_S = 300.0
"""Longest wait for one request of 16 MiB, in seconds, while the server is alive."""
