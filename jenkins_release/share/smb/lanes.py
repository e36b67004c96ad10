"""The two ways to make READ and WRITE requests: packed by hand, and smbprotocol's own calls."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

from smbprotocol.exceptions import AccessDenied, SMBException, SMBResponseException
from smbprotocol.header import NtStatus, SMB2HeaderResponse
from smbprotocol.open import Open, SMB2ReadResponse, SMB2WriteResponse

from jenkins_release.share.smb.connection import SmbConnection
from jenkins_release.share.smb.packed import messages as smb_messages
from jenkins_release.share.smb.packed.exchange import Done, Protection
from jenkins_release.share.smb.packed.internals import protection
from jenkins_release.share.smb.transfer import SPARE, Lane, charge

_log = logging.getLogger(__name__)


def open_lane(connection: SmbConnection) -> Lane:
    """Return the fastest way that the connection allows; logs it if that is the slower one.

    Args:
        connection: The connection, which must not be used elsewhere meanwhile.
    """
    if not connection.packed:
        return LibraryLane(connection)
    found = protection(connection.wire, connection.session, connection.tree)
    if isinstance(found, Protection):
        return PackedLane(connection, found)
    # Once for a connection: a candidate has many files.
    connection.packed = False
    _log.warning(
        "%s negotiated %s, which the fast data path does not support: using smbprotocol's own calls",
        connection.shown,
        found,
    )
    return LibraryLane(connection)


class PackedLane(Lane):
    """Requests packed with ``struct``, their payload neither copied nor wrapped.

    Args:
        connection: The connection, which must not be used elsewhere meanwhile.
        protected: How messages are signed or encrypted on it.
    """

    def __init__(self, connection: SmbConnection, protected: Protection) -> None:
        wire = connection.wire
        super().__init__(connection, min(wire.max_write_size, wire.max_read_size))
        self._wire = wire
        self._exchange = wire.exchange
        self._session_id = protected.session_id
        self._tree_id = connection.tree.tree_connect_id
        self._signed = protected.signer is not None
        self._exchange.use(protected)

    def __len__(self) -> int:
        """Return how many requests are under way or not yet taken."""
        return len(self._exchange)

    def write(self, handle: Open, data: memoryview, offset: int) -> None:
        """Post a WRITE; ``data`` may be reused when the call returns."""
        body = smb_messages.write_body(handle.file_id, offset, len(data))
        self._post(smb_messages.WRITE, Done(offset, len(data), reading=False), body, data)

    def read(self, handle: Open, offset: int, size: int) -> None:
        """Post a READ."""
        body = smb_messages.read_body(handle.file_id, offset, size)
        self._post(smb_messages.READ, Done(offset, size, reading=True), body, None)

    def take(self) -> Done:
        """Wait for a request to be done, whichever is first."""
        done = self._exchange.take(self._wire.timeout_s, self._wire.waits_for)
        if done.status == NtStatus.STATUS_ACCESS_DENIED:
            self._check_altered()
        if done.status != smb_messages.SUCCESS:
            answer = SMB2HeaderResponse()
            answer.unpack(done.answer)
            raise SMBResponseException(answer)
        return done

    def _post(self, command: int, request: Done, body: bytes, payload: memoryview | None) -> None:
        wanted = self.wanted(request.size)
        cost = charge(request.size) if self._wire.supports_multi_credit else 0
        number = self._wire.reserve(cost, SPARE if len(self) else 0)
        if number is None:
            raise SMBException(f"a request of {request.size} bytes has not the {cost} credits it needs")
        header = smb_messages.request_header(
            command,
            number,
            self._session_id,
            self._tree_id,
            charge=cost,
            wanted=wanted,
            signed=self._signed,
        )
        self._wire.send_parts(self._exchange.pack(number, request, header, body, payload))


class LibraryLane(Lane):
    """Requests made by ``Open.read`` and ``Open.write`` of smbprotocol.

    Args:
        connection: The connection, which must not be used elsewhere meanwhile.
    """

    def __init__(self, connection: SmbConnection) -> None:
        super().__init__(connection, min(connection.wire.max_write_size, connection.wire.max_read_size))
        self._under_way: deque[tuple[Any, Done]] = deque()

    def __len__(self) -> int:
        """Return how many requests are under way."""
        return len(self._under_way)

    def write(self, handle: Open, data: memoryview, offset: int) -> None:
        """Post a WRITE; ``data`` may be reused when the call returns."""
        message, _ = handle.write(bytes(data), offset, send=False)
        self._post(message, Done(offset, len(data), reading=False))

    def read(self, handle: Open, offset: int, size: int) -> None:
        """Post a READ."""
        message, _ = handle.read(offset, size, send=False)
        self._post(message, Done(offset, size, reading=True))

    def take(self) -> Done:
        """Wait for the oldest request."""
        request, done = self._under_way.popleft()
        try:
            body = self._connection.wire.receive(request)["data"].get_value()
        except AccessDenied:
            self._check_altered()
            raise
        answer = SMB2ReadResponse() if done.reading else SMB2WriteResponse()
        answer.unpack(body)
        if done.reading:
            done.data = answer["buffer"].get_value()
            if len(done.data) > done.size:
                raise ValueError(f"{len(done.data)} bytes where {done.size} were asked for")
        else:
            done.count = answer["count"].get_value()
        return done

    def _post(self, message: Any, done: Done) -> None:
        request = self._connection.send(message, credit_request=self.wanted(done.size))
        # smbprotocol keeps the packed request until its answer; the bytes are on their way already.
        request.message["data"] = b""
        self._under_way.append((request, done))
