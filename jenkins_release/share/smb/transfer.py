"""The bytes of one file over one connection, several requests under way at once.

A round trip per request would bound the rate by the distance to the server; with sixteen requests of
1 MiB outstanding the wire stays full. :class:`FileUpload` and :func:`download` know nothing of paths or
errors of this package, nor how a request is made: that is the affair of a :class:`Lane`.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Generator

from isal import isal_zlib
from smbprotocol.exceptions import SMBConnectionClosed, SMBException, SMBResponseException
from smbprotocol.open import Open

from jenkins_release.base.dataclass import dataclass
from jenkins_release.share.smb.connection import SmbConnection
from jenkins_release.share.smb.errors import FOREIGN
from jenkins_release.share.smb.packed.exchange import Done

PIECE = 1024 * 1024
"""Bytes of one request, if the server allows as many."""
DEPTH = 16
"""Requests under way at most: at 10 ms of latency eight bound the rate, sixteen do not. Memory for one
transfer stays below about 3 x DEPTH x PIECE bytes."""

_CREDIT_SIZE = 65536
"""Bytes that one credit pays for (MS-SMB2 section 3.1.5.2)."""
SPARE = 1
"""Credits left unused, for an echo of the receiving thread."""


class Lane(abc.ABC):
    """One way to make READ and WRITE requests on a connection that nobody else uses meanwhile.

    Args:
        connection: The connection.
        limit: Most bytes that the server takes or gives in one request.

    Attributes:
        piece: Bytes of a full request.
    """

    def __init__(self, connection: SmbConnection, limit: int) -> None:
        self._connection = connection
        multi_credit = connection.wire.supports_multi_credit
        self.piece = min(PIECE, limit if multi_credit else min(limit, _CREDIT_SIZE))

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return how many requests are under way or not taken yet."""

    @abc.abstractmethod
    def write(self, handle: Open, data: memoryview, offset: int) -> None:
        """Post a WRITE, of as many bytes as :meth:`room` said at most."""

    @abc.abstractmethod
    def read(self, handle: Open, offset: int, size: int) -> None:
        """Post a READ, of as many bytes as :meth:`room` said at most."""

    @abc.abstractmethod
    def take(self) -> Done:
        """Wait for a request to be done. Raises one of the errors of smb_errors.FOREIGN."""

    def room(self, length: int) -> int:
        """Return how many bytes the next request may carry now, up to ``length``; 0 to wait first."""
        if len(self) >= DEPTH:
            return 0
        size = min(length, self.piece)
        granted = self._connection.wire.available_credits()
        credit = max(0, granted - SPARE)
        if charge(size) <= credit:
            return size
        if len(self):
            return 0
        # A server under load may grant a single one.
        credit = credit or granted
        if credit == 0:
            raise SMBException("the server grants no credits, nothing more can be sent")
        return min(size, credit * _CREDIT_SIZE)

    def _check_altered(self) -> None:
        # The file was opened with the right to do this, so it is no refusal that is meant.
        if self._connection.wire.may_refuse_altered(self._connection.session.session_id):
            raise SMBConnectionClosed("the server refuses a request, as it does if it was changed on its way")

    def wanted(self, length: int) -> int:
        """Return how many credits a request of ``length`` bytes asks the server for."""
        # A window that has shrunk grows again by asking for more than the request uses.
        short = self._connection.wire.available_credits() < DEPTH * charge(self.piece)
        return (2 if short else 1) * charge(length)


@dataclass(frozen=True)
class Confirmed:
    """How much of an upload the server has acknowledged without a gap.

    Attributes:
        size: Bytes from the beginning of the file.
        since: Those before are on the server's disk; those from here on may be in its memory only.
        checksum: CRC-32 of the bytes from ``since`` to ``size``; without meaning where the upload cannot
            go on after a break.
    """

    size: int
    since: int
    checksum: int


Recover = Callable[[BaseException, Confirmed], tuple[Lane, Open]]
"""Makes another connection after an error, and returns a lane and the file on it; or raises."""


@dataclass
class _Piece:
    offset: int
    data: memoryview
    before: int
    acknowledged: bool = False


class FileUpload:
    """Bytes appended to an open file.

    Args:
        lane: How requests are made.
        handle: The file, opened for writing on the lane's connection.
        recover: Called when the connection fails; what was not acknowledged is then sent again.
            Without it the failure is raised, and no byte is kept.
    """

    def __init__(self, lane: Lane, handle: Open, recover: Recover | None = None) -> None:
        self._lane = lane
        self._handle = handle
        self._recover = recover
        self._partial = bytearray()
        self._offset = 0
        self._since = 0
        self._checksum = 0
        self._pieces: dict[int, _Piece] = {}

    @property
    def handle(self) -> Open:
        """The file on the connection that is in use now."""
        return self._handle

    @property
    def offset(self) -> int:
        """Bytes posted so far."""
        return self._offset

    def confirmed(self) -> Confirmed:
        """Return what the server has acknowledged without a gap."""
        for piece in self._pieces.values():
            return Confirmed(piece.offset, self._since, piece.before)
        return Confirmed(self._offset, self._since, self._checksum)

    def write(self, data: memoryview) -> None:
        """Append ``data``, which may be reused when the call returns; small pieces are gathered."""
        piece = self._lane.piece
        if self._partial:
            missing = max(0, piece - len(self._partial))
            self._partial += data[:missing]
            data = data[missing:]
            if len(self._partial) < piece:
                return
            self.flush()
        whole = len(data) - len(data) % piece
        self._send(data[:whole])
        self._partial += data[whole:]

    def flush(self) -> None:
        """Post what was gathered."""
        gathered = bytes(self._partial)
        self._partial.clear()
        self._send(memoryview(gathered))

    def settle(self) -> int:
        """Send what was gathered, wait for every answer, and return the bytes acknowledged."""
        self.flush()
        while self._pieces:
            self._take()
        return self._offset

    def skip(self, length: int) -> None:
        """Note that the server itself appended ``length`` bytes, and that all is on its disk.

        Everything must be settled.
        """
        self._offset += length
        self._since, self._checksum = self._offset, 0

    def abandon(self) -> None:
        """Wait until no request is under way, whatever the server answers; what it took is confirmed."""
        while len(self._lane):
            with contextlib.suppress(SMBResponseException):
                done = self._lane.take()
                if done.count == done.size:
                    self._acknowledge(done.offset)

    def restore(self, error: BaseException) -> None:
        """Go on with another connection after ``error``, or raise it."""
        if self._recover is None:
            raise error
        self._lane, self._handle = self._recover(error, self.confirmed())
        again = list(self._pieces.values())
        self._pieces.clear()
        if again:
            self._offset, self._checksum = again[0].offset, again[0].before
        for piece in again:
            self._send(piece.data)

    def _send(self, data: memoryview) -> None:
        while data:
            # Pieces acknowledged behind one that is not are kept too, and count here.
            size = 0 if len(self._pieces) >= DEPTH else self._lane.room(len(data))
            if not size:
                self._take()
                continue
            piece = self._keep(data[:size])
            data = data[size:]
            try:
                self._lane.write(self._handle, piece.data, piece.offset)
            except FOREIGN as error:
                self.restore(error)

    def _keep(self, data: memoryview) -> _Piece:
        piece = _Piece(self._offset, data, self._checksum)
        if self._recover is not None:
            # The caller may reuse its buffer, unless nothing can change it.
            piece.data = data if isinstance(data.obj, bytes) else memoryview(bytes(data))
            self._checksum = isal_zlib.crc32(data, self._checksum)
        self._pieces[piece.offset] = piece
        self._offset += len(data)
        return piece

    def _take(self) -> None:
        try:
            done = self._lane.take()
        except FOREIGN as error:
            self.restore(error)
            return
        if done.count != done.size:
            raise SMBException(f"the server took {done.count} of {done.size} bytes at {done.offset}")
        self._acknowledge(done.offset)

    def _acknowledge(self, offset: int) -> None:
        self._pieces[offset].acknowledged = True
        while self._pieces:
            first = next(iter(self._pieces.values()))
            if not first.acknowledged:
                break
            del self._pieces[first.offset]


def download(
    connection: SmbConnection, lane: Lane, handle: Open, offset: int, length: int, ahead: int = DEPTH
) -> Generator[bytes, None, None]:
    """Yield the bytes of an open file, reading ahead; answers may come in any order.

    When the caller stops early, the connection is dropped: answers are still on their way.

    Args:
        connection: The connection, which nobody else uses meanwhile.
        lane: How requests are made on it.
        handle: The file, opened on it for reading.
        offset: First byte.
        length: Bytes in all; the file must have them.
        ahead: Requests under way or answered and not taken yet, at most; :data:`DEPTH` where it is more.

    Yields:
        Pieces of at most :data:`PIECE` bytes. A piece shorter than asked for ends the transfer:
        the file has become shorter.
    """
    ready: dict[int, Done] = {}
    asked, end = offset, offset + length
    depth = max(1, min(ahead, DEPTH))
    try:
        while offset < end:
            while asked < end and len(lane) + len(ready) < depth and (size := lane.room(end - asked)):
                lane.read(handle, asked, size)
                asked += size
            while offset not in ready:
                done = lane.take()
                ready[done.offset] = done
            done = ready.pop(offset)
            offset += done.size
            yield done.data
            if len(done.data) != done.size:
                return
    finally:
        if len(lane):
            connection.drop()


def charge(length: int) -> int:
    """Return the credits that a request of ``length`` bytes uses (MS-SMB2 section 3.1.5.2)."""
    return max(1, -(-length // _CREDIT_SIZE))
