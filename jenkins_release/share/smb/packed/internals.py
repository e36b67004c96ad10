"""The only module that relies on how smbprotocol works inside.

smbprotocol negotiates, logs in, connects trees, opens and closes files; its receiving thread passes each
answer to the thread that waits for it. Here that thread reads from our own socket (:class:`BulkTcp` instead
of its ``Tcp``), which passes READ and WRITE answers to an
:class:`~jenkins_release.share.smb.packed.exchange.Exchange` and everything else to smbprotocol. Beyond its
documented calls, this uses of the library:

* ``Connection.connect`` assigns ``self.transport = Tcp(server, port, timeout)``, and its receiving
  thread calls ``transport.recv(seconds)``, which raises ``TimeoutError`` after silence;
* ``Tcp``: ``_sock``, ``_sock_lock`` (held while sending), ``_close_lock`` (held while receiving);
* ``Connection.sequence_window`` under ``sequence_lock``: the credits; ``outstanding_requests``;
* ``Connection._t_worker``, the receiving thread; ``_t_exc``, what ended it; ``_check_worker_running``;
* ``Connection.receive`` returns at once when ``response_event`` of the ``Request`` is set and its
  ``response`` is final; ``_process_message_thread`` sets both, and logs what ends it;
* ``Connection._send``, which :meth:`BulkConnection.send_related` follows, with ``_calculate_credit_charge``,
  ``_generate_signature`` and ``_encrypt``; what it and ``_process_message_thread`` use of a ``Request``;
* the keys and algorithms on ``Connection``, ``Session`` and ``TreeConnect``.

``tests/share/test_smb_internals.py`` holds the fingerprints of that code in the versions that
``setup.cfg`` allows, see docs/adr/0011.
"""

from __future__ import annotations

import logging
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from smbprotocol.connection import Connection, Request
from smbprotocol.exceptions import SMBConnectionClosed, SMBException
from smbprotocol.header import NtStatus, Smb2Flags
from smbprotocol.session import Session
from smbprotocol.transport import Tcp
from smbprotocol.tree import TreeConnect

from jenkins_release.base.waits import LEAST_RATE, Call
from jenkins_release.share.smb.packed import messages
from jenkins_release.share.smb.packed.exchange import PackedExchange, Protection
from jenkins_release.share.smb.packed.messages import FIXED, HEADER, TRANSFORM, UNSOLICITED
from jenkins_release.share.smb.packed.protection import Part, Sealer, Unprotected, sealer, signer, unknown
from jenkins_release.share.smb.packed.related import Answer, Body, RelatedRequest
from jenkins_release.share.smb.patience import POLL_S, Patience

_log = logging.getLogger(__name__)

_BEFORE_LIMITS = 1 << 20
"""Largest packet before the server has announced its limits, in bytes."""
_OVERHEAD = 1 << 16
"""Bytes that a packet may have besides the largest payload."""


class BulkTcp(Tcp):  # type: ignore[misc]  # smbprotocol publishes no types
    """The socket of a connection: parts are sent without copying, and bulk answers bypass smbprotocol.

    Args:
        other: The ``Tcp`` that it replaces, not connected yet.
        connection: The connection that it carries.
    """

    def __init__(self, other: Tcp, connection: BulkConnection) -> None:
        super().__init__(other.server, other.port, other.timeout)
        self._connection = connection
        # The garbage collector may close a connection in the thread that is sending or receiving on it.
        self._sock_lock, self._close_lock = threading.RLock(), threading.RLock()

    def connect(self) -> None:
        """Connect, and set the limits of the socket."""
        limit_s = self._connection.timeout_s
        with Call(f"{self.server}:{self.port} to take a connection", limit_s):
            super().connect()
        tcp = self._sock
        # In steps: a send or receive that has already moved a part goes on.
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _interval(POLL_S))
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _interval(limit_s / _QUARTERS))
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # An idle connection that holds a lease notices within two minutes that its server is gone.
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)

    def close(self) -> None:
        """Close the socket, and end what waits for it."""
        super().close()
        self._connection.exchange.fail(SMBConnectionClosed("the connection was closed"))

    def send(self, header: Any) -> None:
        """Send a packet of smbprotocol: bytes, or the structure that an encrypted one is."""
        self.send_parts([header if isinstance(header, bytes) else header.pack()])

    def send_parts(self, parts: list[Part]) -> None:
        """Send one packet made of parts, which may be reused when the call returns.

        Raises:
            TimeoutError: The server accepted nothing within the connection's time limit, or less than the
                least rate.
        """
        total = sum(len(part) for part in parts)
        if total > self.MAX_SIZE:
            raise SMBException(f"a packet of {total} bytes is larger than TCP transport allows")
        views = [memoryview(struct.pack(">L", total)), *(memoryview(part) for part in parts)]
        connection = self._connection
        limit_s = connection.timeout_s + total / connection.least_rate
        with self._sock_lock, Patience(limit_s, connection.waits_for) as patience:
            taken = time.monotonic()
            while views:
                try:
                    sent = self._sock.sendmsg(views)
                except BlockingIOError:
                    # The other side may have ended the connection without taking what is on its way.
                    connection.exchange.check()
                    try:
                        patience.step(taken + connection.timeout_s)
                    except TimeoutError as error:
                        raise TimeoutError("the server accepts no more data, or hardly any") from error
                    continue
                taken = time.monotonic()
                while views and sent >= len(views[0]):
                    sent -= len(views.pop(0))
                if sent:
                    views[0] = views[0][sent:]
                    patience.step()

    def recv(self, timeout: float) -> bytes:
        """Return the next packet for smbprotocol itself; empty when the connection has ended.

        Raises:
            TimeoutError: Nothing came within ``timeout`` seconds.
            SMBException: The server sent something invalid.
        """
        exchange = self._connection.exchange
        try:
            while True:
                self._wait(timeout)
                length = int.from_bytes(self._exactly(4), "big")
                if length < HEADER:
                    raise SMBException(f"the server sent a packet of {length} bytes, too few for a header")
                if length > self._connection.largest_packet():
                    raise SMBException(f"the server announces a packet of {length} bytes")
                packet = exchange.accept(length, self._exactly)
                if packet is not None and not self._connection.accept_related(packet):
                    self._check_number(packet)
                    return packet
        except _Ended:
            exchange.fail(SMBConnectionClosed("the server ended the connection"))
            self.close()
            return b""
        except TimeoutError:
            raise
        except BaseException as error:
            exchange.fail(error)
            raise

    def _wait(self, timeout: float) -> None:
        with self._close_lock:
            if not self.connected:
                raise _Ended
            poll = select.poll()
            poll.register(self._sock, select.POLLIN)
            if not poll.poll(max(timeout, 1) * 1000):
                raise TimeoutError(f"nothing came for {timeout:.0f} s")

    def _exactly(self, count: int) -> bytes:
        parts: list[bytes] = []
        waits = 0
        while count:
            try:
                with self._close_lock:
                    if not self.connected:
                        raise _Ended
                    # Usually one call: the kernel waits until everything is there.
                    part = self._sock.recv(count, socket.MSG_WAITALL)
            except BlockingIOError as error:
                waits += 1
                if waits == _QUARTERS:
                    raise SMBConnectionClosed("the server stopped in the middle of a packet") from error
                continue
            except (ConnectionResetError, ConnectionAbortedError) as error:
                raise _Ended from error
            if not part:
                raise _Ended
            waits = 0
            self._connection.exchange.heard()
            if len(part) == count and not parts:
                return bytes(part)
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _check_number(self, packet: bytes) -> None:
        # smbprotocol would end with a bare KeyError.
        number = int.from_bytes(packet[24:32], "little")
        known = self._connection.outstanding_requests
        if packet[:4] == b"\xfeSMB" and number not in known and number != UNSOLICITED:
            raise SMBException(f"the server answers a request {number} that was not made")


_QUARTERS = 4


def _interval(seconds: float) -> bytes:
    # struct timeval, see socket(7).
    return struct.pack("ll", *divmod(max(1, int(seconds * 1_000_000)), 1_000_000))


class _Ended(Exception):
    """The connection has come to its end."""


class BulkConnection(Connection):  # type: ignore[misc]  # smbprotocol publishes no types
    """A connection of smbprotocol that also carries an exchange.

    Args:
        guid: The client's identifier.
        server: Host name or IP address.
        port: TCP port.
        timeout_s: Longest silence of the server during a wait, in seconds.
        least_rate: Bytes a second below which a transfer does not count as progress.

    Attributes:
        waits_for: Says what this connection is waiting for.
    """

    def __init__(
        self, guid: Any, server: str, port: int, timeout_s: float, least_rate: int = LEAST_RATE
    ) -> None:
        self.timeout_s = timeout_s
        self.least_rate = least_rate
        self.waits_for: Callable[[], str] = lambda: f"{server}:{port} to answer"
        self.exchange = PackedExchange(self._grant, least_rate=least_rate)
        self._transport: BulkTcp | None = None
        self._sealers: dict[int, Sealer] = {}
        super().__init__(guid, server, port, require_signing=True)
        # Reentrant like the socket's locks, because of the garbage collector.
        self.sequence_lock = threading.RLock()

    @property
    def transport(self) -> BulkTcp | None:
        """The socket."""
        return self._transport

    @transport.setter
    def transport(self, other: Tcp | None) -> None:
        self._transport = None if other is None else BulkTcp(other, self)

    def send_parts(self, parts: list[Part]) -> None:
        """Send one packet made of parts; raises SMBConnectionClosed if the connection has ended."""
        self._check_worker_running()
        if self._transport is None:
            raise SMBConnectionClosed("there is no connection")
        self._transport.send_parts(parts)

    def body_of(self, message: Any) -> Body:
        """Return a request of smbprotocol as it is sent, for :meth:`send_related`."""
        return Body(int(message.COMMAND), message.pack(), self._calculate_credit_charge(message))

    def send_related(
        self, bodies: Sequence[Body], session: Session, tree: TreeConnect
    ) -> list[RelatedRequest]:
        """Send requests in one packet, each about the file of the one before.

        It does what ``send_compound`` of smbprotocol does, without an object for each field. Its answers are
        returned by :meth:`await_related`.

        Raises:
            SMBException: The server has not granted enough credits.
            SMBConnectionClosed: The connection has ended.
        """
        signed = bool(session.signing_required and session.signing_key)
        dfs = messages.FLAG_DFS if tree.is_dfs_share else 0
        packet, requests = bytearray(), []
        for place, body in enumerate(bodies):
            size = HEADER + len(body.data)
            padding = -size % 8 if place < len(bodies) - 1 else 0
            number = self.reserve(body.charge, 0)
            if number is None:
                raise SMBException(
                    f"{self.available_credits()} credits are left, of which {body.charge} are needed"
                )
            header = messages.request_header(
                *(body.command, number, session.session_id, tree.tree_connect_id),
                charge=body.charge,
                wanted=body.charge,
                signed=signed,
                flags=dfs | (messages.FLAG_RELATED if place else 0),
                following=size + padding if place < len(bodies) - 1 else 0,
            )
            message = header + body.data + bytes(padding)
            if signed:
                key = session.signing_key
                signature = self._generate_signature(message, key, number, False, body.command)
                message = messages.with_signature(message, signature)
            packet += message
            request = RelatedRequest(number, body.command, session.session_id)
            self.outstanding_requests[number] = request
            requests.append(request)
        sealed = session.encrypt_data or tree.encrypt_data
        self._check_worker_running()
        if self._transport is None:
            raise SMBConnectionClosed("there is no connection")
        if sealed:
            self._note_sealer(session, tree)
        self._transport.send(self._encrypt(bytes(packet), session) if sealed else bytes(packet))
        return requests

    def _note_sealer(self, session: Session, tree: TreeConnect) -> None:
        if session.session_id not in self._sealers:
            found = protection(self, session, tree)
            if isinstance(found, Protection) and found.sealer is not None:
                self._sealers[session.session_id] = found.sealer

    def accept_related(self, packet: bytes) -> bool:
        """Take an encrypted packet if it answers nothing but requests of :meth:`send_related`.

        smbprotocol checks any other answer to them, and sets :attr:`RelatedRequest.response`.

        Raises:
            SMBException: It is invalid.
        """
        if not self._sealers or packet[:4] != messages.SEALED_MAGIC or len(packet) < TRANSFORM + HEADER:
            return False
        head = messages.parse_transform(packet)
        sealer = self._sealers.get(head.session_id)
        if sealer is None or head.flags != 1 or head.size != len(packet) - TRANSFORM:
            return False
        try:
            start, rest = sealer.unseal(packet[:FIXED], packet[FIXED:])
            answers = messages.parse_compound(start + rest)
            requests = [self.outstanding_requests.get(header.message_id) for header, _ in answers]
            if not all(isinstance(request, RelatedRequest) for request in requests):
                return False
            for request, (header, message) in zip(requests, answers, strict=True):
                # Without multi-credit requests, an answer that grants none stands for one.
                self._grant(header.credits or (0 if self.supports_multi_credit else 1))
                request.settle(header, message)
        except (Unprotected, ValueError) as error:
            raise SMBException(f"the server's answer is invalid: {error}") from error
        return True

    def await_related(self, request: RelatedRequest, limit_s: float) -> Answer:
        """Wait for the answer to one of the requests of :meth:`send_related`.

        Args:
            request: The request.
            limit_s: Longest time, in seconds.

        Raises:
            TimeoutError: Nothing came in time.
            SMBConnectionClosed: The connection has ended.
        """
        with Patience(limit_s, self.waits_for) as patience:
            while True:
                while not request.response_event.wait(patience.step()):
                    # Its end wakes only the threads that were waiting at that time.
                    self._check_worker_running()
                with request.response_event_lock:
                    answer = request.taken()
                    if answer is not None:
                        self.outstanding_requests.pop(request.number, None)
                        return answer
                    self._check_worker_running()
                    request.response_event.clear()

    def await_answer(self, request: Request, limit_s: float, *, wait: bool) -> None:
        """Wait until :meth:`receive` has something to return.

        Args:
            request: The request.
            limit_s: Longest time, in seconds.
            wait: Whether to wait beyond an interim answer (``STATUS_PENDING``).

        Raises:
            TimeoutError: Nothing came in time.
        """
        with Patience(limit_s, self.waits_for) as patience:
            while True:
                while not request.response_event.wait(patience.step()):
                    # Its end wakes only the threads that were waiting at that time.
                    self._check_worker_running()
                with request.response_event_lock:
                    found = request.response
                    if found is not None:
                        _check_command(request, found)
                    pending = found is not None and found["status"].get_value() == NtStatus.STATUS_PENDING
                    if not (wait and pending):
                        return
                    request.response_event.clear()

    def largest_packet(self) -> int:
        """Return the bytes of the largest packet that the server may send."""
        told = max(self.max_read_size or 0, self.max_transact_size or 0)
        return min(told + _OVERHEAD, BulkTcp.MAX_SIZE) if told else _BEFORE_LIMITS

    def reserve(self, charge: int, spare: int) -> int | None:
        """Take credits for a request; None if fewer than ``charge`` plus ``spare`` are left.

        Args:
            charge: Credits that it uses; it takes one number at least (MS-SMB2 section 3.2.4.1.6).
            spare: Credits that must be left.

        Returns:
            The request's message id.
        """
        with self.sequence_lock:
            window = self.sequence_window
            if window["high"] - window["low"] < max(1, charge) + spare:
                return None
            number = int(window["low"])
            window["low"] += max(1, charge)
            return number

    def _grant(self, count: int) -> None:
        with self.sequence_lock:
            self.sequence_window["high"] += count

    def available_credits(self) -> int:
        """Return how many credits the server has granted that no request uses."""
        with self.sequence_lock:
            return int(self.sequence_window["high"] - self.sequence_window["low"])

    @property
    def receives_here(self) -> bool:
        """Whether this is the thread that receives its answers, which cannot wait for one."""
        return self._t_worker is not None and self._t_worker.ident == threading.get_ident()

    @property
    def alive(self) -> bool:
        """Whether the connection is up as far as this side knows."""
        return self.transport is not None and self.transport.connected and self._t_exc is None

    def _process_message_thread(self) -> None:
        # The waiting threads get the error that ends this one: nothing belongs on stderr.
        _keep_quiet()
        try:
            super()._process_message_thread()
        except BaseException as error:  # noqa: BLE001 - whatever it is, threading.excepthook would print it
            self._t_exc = error
            self.exchange.fail(error)
            _log.debug("the receiving thread of %s ended: %s", self.server_name, error)

    def _check_worker_running(self) -> None:
        if self._t_exc is not None:
            self.disconnect(False)
            raise SMBConnectionClosed(_reason(self._t_exc)) from self._t_exc
        super()._check_worker_running()


def _check_command(request: Request, answer: Any) -> None:
    """Raise SMBException if an answer is to another command: smbprotocol would read it as if it was not."""
    made, answered = (each["command"].get_value() for each in (request.message, answer))
    if made != answered or not answer["flags"].has_flag(Smb2Flags.SMB2_FLAGS_SERVER_TO_REDIR):
        number = request.message["message_id"].get_value()
        raise SMBException(
            f"the server's answer is invalid: request {number} is answered with command {answered}"
        )


def _reason(error: BaseException) -> str:
    """Return what ended the receiving thread of smbprotocol, some of whose errors have no message."""
    if isinstance(error, InvalidTag):
        return "an encrypted answer does not match its authentication tag"
    if isinstance(error, KeyError):
        return f"the server answers a request {error} that was not made"
    return str(error) or type(error).__name__


class _NoTracebacks(logging.Filter):
    """Drops what the receiving thread logs about its own end: the waiting threads get it as an error."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info is None:
            return True
        _log.debug("smbprotocol: %s: %s", record.getMessage(), record.exc_info[1])
        return False


_no_tracebacks = _NoTracebacks()


def _keep_quiet() -> None:
    # Adding it again changes nothing.
    logging.getLogger(Connection.__module__).addFilter(_no_tracebacks)


def protection(connection: BulkConnection, session: Session, tree: TreeConnect) -> Protection | str:
    """Return how READ and WRITE on a tree are protected; if that is not supported here, its name.

    Args:
        connection: The connection, negotiated.
        session: The session on it.
        tree: The connected share.
    """
    sealed = bool(session.encrypt_data or tree.encrypt_data)
    dialect = int(connection.dialect)
    signing, cipher = connection.signing_algorithm_id, connection.cipher_id
    gap = unknown(dialect, signing, cipher, sealed=sealed)
    if gap is not None:
        return gap
    if sealed:
        keys = session.encryption_key, session.decryption_key
        return Protection(session.session_id, None, sealer(dialect, cipher, *keys))
    if not (session.signing_required and session.signing_key):
        return "a session that is neither signed nor encrypted"
    return Protection(session.session_id, signer(dialect, signing, session.signing_key), None)
