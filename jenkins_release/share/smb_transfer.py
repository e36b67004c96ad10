"""The bytes of one file over one connection, several requests under way at once.

A round trip per request would bound the rate by the distance to the server; with eight requests of
1 MiB outstanding the wire stays full. Nothing here knows about paths, shares or errors of this
package: :class:`Upload` and :func:`download` are the whole interface, so a faster data path can
take their place.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator
from typing import Any

from smbprotocol.exceptions import SMBException, SMBResponseException
from smbprotocol.open import Open, SMB2ReadResponse, SMB2WriteResponse

from jenkins_release.share.smb_connection import SmbConnection

PIECE = 1024 * 1024
"""Bytes of one request, if the server allows as many."""
DEPTH = 8
"""Requests under way at most. Memory for one transfer stays below about 4 x DEPTH x PIECE bytes:
smbprotocol copies a piece when it packs, signs and encrypts it."""

_CREDIT_SIZE = 65536
"""Bytes that one credit pays for (MS-SMB2 section 3.1.5.2)."""
_RESERVE = 1
"""Credits left unused, for an echo of the receiving thread."""


class _Window:
    """The requests under way, oldest first, never more than the depth and the credits allow."""

    def __init__(self, connection: SmbConnection, limit: int) -> None:
        self._connection = connection
        self._under_way: deque[tuple[Any, int]] = deque()
        multi_credit = connection.wire.supports_multi_credit
        self.piece = min(PIECE, limit if multi_credit else min(limit, _CREDIT_SIZE))

    def __len__(self) -> int:
        return len(self._under_way)

    def room(self, length: int) -> int:
        """Return how many bytes the next request may carry now, up to ``length``; 0 to wait first."""
        if len(self._under_way) >= DEPTH:
            return 0
        size = min(length, self.piece)
        credit = max(0, self._connection.wire.available_credits() - _RESERVE)
        if _charge(size) <= credit:
            return size
        if self._under_way:
            return 0
        if credit == 0:
            raise SMBException("the server grants no credits, nothing more can be sent")
        return min(size, credit * _CREDIT_SIZE)

    def post(self, message: Any, length: int) -> None:
        """Send a READ or WRITE of ``length`` bytes without waiting for its answer."""
        charge = _charge(length)
        # A window that has shrunk grows again by asking for more than the request uses.
        short = self._connection.wire.available_credits() < DEPTH * _charge(self.piece)
        request = self._connection.send(message, credit_request=2 * charge if short else charge)
        # smbprotocol keeps the packed request until its answer; the bytes are on their way already.
        request.message["data"] = b""
        self._under_way.append((request, length))

    def take(self) -> tuple[Any, int]:
        """Wait for the oldest request; return the body of its answer and the request's length."""
        request, length = self._under_way.popleft()
        return self._connection.wire.receive(request)["data"].get_value(), length


class Upload:
    """Bytes appended to an open file.

    Args:
        connection: The connection, which nobody else uses meanwhile.
        handle: The file, opened on it for writing.
    """

    def __init__(self, connection: SmbConnection, handle: Open) -> None:
        self._handle = handle
        self._window = _Window(connection, connection.wire.max_write_size)
        self._partial = bytearray()
        self._offset = 0
        self._acknowledged = 0

    def write(self, data: memoryview) -> None:
        """Append ``data``, which may be reused when the call returns; small pieces are gathered."""
        piece = self._window.piece
        if self._partial:
            missing = piece - len(self._partial)
            self._partial += data[:missing]
            data = data[missing:]
            if len(self._partial) < piece:
                return
            self._send(memoryview(bytes(self._partial)))
            self._partial.clear()
        whole = len(data) - len(data) % piece
        self._send(data[:whole])
        self._partial += data[whole:]

    def finish(self) -> int:
        """Send the rest, wait for every answer, and return the bytes that the server acknowledged."""
        self._send(memoryview(bytes(self._partial)))
        self._partial.clear()
        while self._window:
            self._take()
        return self._acknowledged

    def abandon(self) -> None:
        """Wait until no request is under way, whatever the server answers to those that are."""
        while self._window:
            with contextlib.suppress(SMBResponseException):
                self._window.take()

    def _send(self, data: memoryview) -> None:
        while data:
            size = self._window.room(len(data))
            if size == 0:
                self._take()
                continue
            message, _ = self._handle.write(bytes(data[:size]), self._offset, send=False)
            self._window.post(message, size)
            self._offset += size
            data = data[size:]

    def _take(self) -> None:
        body, length = self._window.take()
        answer = SMB2WriteResponse()
        answer.unpack(body)
        count = answer["count"].get_value()
        if count != length:
            raise SMBException(f"the server took {count} of {length} bytes")
        self._acknowledged += count


def download(connection: SmbConnection, handle: Open, offset: int, length: int) -> Generator[bytes]:
    """Yield the bytes of an open file, reading ahead.

    When the caller stops early, the connection is dropped: answers are still on their way.

    Args:
        connection: The connection, which nobody else uses meanwhile.
        handle: The file, opened on it for reading.
        offset: First byte.
        length: Bytes in all; the file must have them.

    Yields:
        Pieces of at most :data:`PIECE` bytes. A piece shorter than asked for ends the transfer:
        the file has become shorter.
    """
    window = _Window(connection, connection.wire.max_read_size)
    end = offset + length
    try:
        while offset < end or window:
            while offset < end and (size := window.room(end - offset)):
                message, _ = handle.read(offset, size, send=False)
                window.post(message, size)
                offset += size
            body, size = window.take()
            answer = SMB2ReadResponse()
            answer.unpack(body)
            data = answer["buffer"].get_value()
            yield data
            if len(data) != size:
                return
    finally:
        if window:
            connection.drop()


def _charge(length: int) -> int:
    return max(1, -(-length // _CREDIT_SIZE))
