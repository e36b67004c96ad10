"""READ and WRITE requests under way on a connection, matched with their answers in any order.

One thread posts requests and takes the results; the connection's receiving thread passes in what the server
sends. An answer counts only if its protection is right (MS-SMB2 sections 3.2.5.1.1 and 3.2.5.1.3), it belongs
to a request, and it has no more than was requested. Anything else ends the connection, and with it every
request.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable

from smbprotocol.exceptions import SMBConnectionClosed, SMBException

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.waits import LEAST_RATE
from jenkins_release.share.smb.packed import messages as wire
from jenkins_release.share.smb.packed.protection import Part, Sealer, Signer, Unprotected, new_nonce
from jenkins_release.share.smb.patience import Patience

Rest = Callable[[int], bytes]
"""Receives exactly this many more bytes of the message."""


@dataclass(frozen=True)
class Protection:
    """How messages of a session are protected: at most one of the two is set.

    Attributes:
        session_id: The session.
        signer: Signs and checks; None if it is encrypted.
        sealer: Encrypts and decrypts; None if it is signed only.
    """

    session_id: int
    signer: Signer | None
    sealer: Sealer | None


@dataclass(slots=True)
class Done:
    """A request and its answer.

    Attributes:
        offset: Where in the file.
        size: Bytes asked for.
        reading: Whether it is a READ.
        status: NTSTATUS of the answer.
        count: Bytes that the server wrote.
        data: Bytes that the server read.
        answer: The whole answer, if its status is an error.
    """

    offset: int
    size: int
    reading: bool
    status: int = 0
    count: int = 0
    data: bytes = b""
    answer: bytes = b""


class PackedExchange:
    """The requests under way on one connection.

    Args:
        grant: Called with the credits of each answer.
        clock: Returns the time in seconds, from any starting point.
        least_rate: Bytes a second below which a transfer makes no progress.
    """

    def __init__(
        self,
        grant: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
        least_rate: int = LEAST_RATE,
    ) -> None:
        self._grant = grant
        self._clock = clock
        self._protection: Protection | None = None
        self._under_way: dict[int, Done] = {}
        self._done: deque[Done] = deque()
        # Taken directly, never through the condition: an interrupt inside its methods would leave it locked.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._failure: BaseException | None = None
        self._active = self._advanced = clock()
        self._least_rate = least_rate
        self._largest = 0

    def __len__(self) -> int:
        """Return how many requests are not taken yet."""
        return len(self._under_way) + len(self._done)

    def use(self, protection: Protection) -> None:
        """Set how requests are protected from now on."""
        self._protection = protection

    def pack(
        self, message_id: int, request: Done, header: bytes, body: bytes, payload: Part | None
    ) -> list[Part]:
        """Register a request, and return the parts of its packet; send them before the next call.

        Args:
            message_id: Its number.
            request: The request.
            header: Its header, see :func:`~jenkins_release.share.smb.packed.messages.request_header`.
            body: Its body without the payload.
            payload: The bytes of a WRITE; not copied if they are only signed.
        """
        protection = self._chosen()
        message = header + body
        parts: list[Part] = [message] if payload is None else [message, payload]
        self._active = self._clock()
        if not self._under_way:
            self._advanced = self._active
        self._largest = max(self._largest, request.size)
        self._under_way[message_id] = request
        if protection.sealer is not None:
            nonce = new_nonce(protection.sealer.nonce_size)
            size = sum(len(part) for part in parts)
            transform = wire.transform_header(nonce, size, protection.session_id)
            tag, sealed = protection.sealer.seal(transform, nonce, parts)
            return [wire.with_tag(transform, tag), sealed]
        if protection.signer is not None:
            parts[0] = wire.with_signature(message, protection.signer(message_id, parts, answer=False))
        return parts

    def take(self, timeout_s: float, what: Callable[[], str] = lambda: "the share to answer") -> Done:
        """Wait for a request to be done, whichever is first.

        Args:
            timeout_s: Longest time in which the server sends nothing at all. A request may take longer,
                as long as its bytes need at the least rate.
            what: Says what is being waited for.

        Raises:
            TimeoutError: The server sent nothing for that long, or too little.
            SMBConnectionClosed: The connection ended.
        """
        limit_s = timeout_s + self._largest / self._least_rate
        with self._lock, Patience(math.inf, what, self._clock) as patience:
            while not self._done:
                self.check()
                silent, late = self._active + timeout_s, self._advanced + limit_s
                try:
                    left = patience.step(min(silent, late))
                except TimeoutError as error:
                    if silent <= late:
                        raise TimeoutError(f"the server sent nothing for {timeout_s:.0f} s") from error
                    raise TimeoutError(f"the server did not transfer a piece in {limit_s:.0f} s") from error
                self._changed.wait(left)
            return self._done.popleft()

    def heard(self) -> None:
        """Note that the server sent something, even part of a message."""
        self._active = self._clock()

    def check(self) -> None:
        """Raise SMBConnectionClosed if the connection is lost: nothing sent now is answered."""
        if self._failure is not None:
            raise SMBConnectionClosed(str(self._failure)) from self._failure

    def fail(self, error: BaseException) -> None:
        """End every request: the connection is lost. The first reason counts."""
        with self._lock:
            if self._failure is None:
                self._failure = error
            self._changed.notify_all()

    def accept(self, length: int, rest: Rest) -> bytes | None:
        """Take an incoming message.

        Args:
            length: Its size in bytes.
            rest: Receives them.

        Returns:
            The message if it answers no request of this exchange, else None.

        Raises:
            SMBException: It answers one, but is invalid.
        """
        if not self._under_way:
            return rest(length)
        start = rest(min(length, wire.FIXED))
        try:
            if start.startswith(wire.SEALED_MAGIC):
                return self._sealed(start, rest(length - len(start)))
            return self._plain(start, length, rest)
        except (Unprotected, ValueError) as error:
            raise SMBException(f"the server's answer is invalid: {error}") from error

    def _plain(self, start: bytes, length: int, rest: Rest) -> bytes | None:
        header = wire.parse_header(start)
        request = self._under_way.get(header.message_id)
        protection = self._chosen()
        if request is None or header.next_command:
            return start + rest(length - len(start))
        if protection.sealer is not None:
            raise Unprotected("an answer on an encrypted session came unencrypted")
        _check_size(start, header, request, length)
        data = rest(length - len(start))
        if header.status != wire.PENDING and protection.signer is not None:
            if not header.flags & wire.FLAG_SIGNED:
                raise Unprotected("an answer on a signed session came unsigned")
            unsigned = wire.with_signature(start, bytes(16))
            if protection.signer(header.message_id, (unsigned, data), answer=True) != wire.signature_of(
                start
            ):
                raise Unprotected("the signature of an answer could not be verified")
        self._settle(header, request, start, data)
        return None

    def _sealed(self, packet: bytes, rest: bytes) -> bytes | None:
        protection = self._chosen()
        head = wire.parse_transform(packet)
        if protection.sealer is None or head.session_id != protection.session_id:
            return packet + rest
        if head.flags != 1 or head.size != len(packet) + len(rest) - wire.TRANSFORM:
            raise Unprotected("the header of an encrypted answer makes no sense")
        start, data = protection.sealer.unseal(packet, rest)
        header = wire.parse_header(start)
        request = self._under_way.get(header.message_id)
        if request is None or header.next_command:
            return packet + rest
        if header.session_id != protection.session_id:
            raise Unprotected("an answer belongs to another session")
        _check_size(start, header, request, head.size)
        self._settle(header, request, start, data)
        return None

    def _settle(self, header: wire.MessageHeader, request: Done, start: bytes, data: bytes) -> None:
        if not header.flags & wire.FLAG_ANSWER:
            raise ValueError("it is a request")
        if header.command != (wire.READ if request.reading else wire.WRITE):
            raise ValueError(f"it answers with command {header.command}")
        self._active = self._clock()
        self._grant(header.credits)
        if header.status == wire.PENDING:
            return
        self._advanced = self._active
        request.status = header.status
        if header.status != wire.SUCCESS:
            request.answer = start + data
        elif request.reading:
            offset, length = wire.read_answer(start)
            begin = offset - wire.FIXED
            if length and (begin or len(data) != length):
                data = data[begin : begin + length]
            if len(data) != length:
                raise ValueError(f"it announces {length} bytes, but has {len(data)}")
            request.data = data
        else:
            request.count = wire.write_answer(start)
        with self._lock:
            del self._under_way[header.message_id]
            self._done.append(request)
            self._changed.notify_all()

    def _chosen(self) -> Protection:
        if self._protection is None:
            raise SMBException("no protection has been chosen for this connection")
        return self._protection


def _check_size(start: bytes, header: wire.MessageHeader, request: Done, length: int) -> None:
    # Before the rest is received or copied: a server cannot make this side hold more than it requested.
    most = request.size if request.reading and header.status == wire.SUCCESS else 0
    if length > wire.FIXED + most + _SLACK:
        raise ValueError(f"it has {length} bytes, expected at most {most}")
    if most and header.command == wire.READ:
        told = wire.read_answer(start)[1]
        if told > most:
            raise ValueError(f"it announces {told} bytes, expected at most {most}")


_SLACK = 1024
"""Bytes that an answer may have in addition to its data: padding, or the details of an error."""
