"""A TCP proxy on loopback that does to its connections what networks do.

What passes is cut into pieces: whole messages of SMB (MS-SMB2 2.1: four bytes of length before each) on a
wire of SMB, else whatever a read returns. A trouble sees each piece and says what goes on. Unlike
:class:`tests.fixtures.share.Tap` it treats both ways, connections one by one, and the listener.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterable

from jenkins_release.sandbox.process import LOOPBACK
from tests.fixtures.listener import Listener

SENT, RECEIVED = "sent", "received"
"""From the client to the server, and back."""
_PIECE = 1 << 16
_PENDING, _DISK_FULL = 0x103, 0xC000007F
"""MS-ERREF 2.3.1: STATUS_PENDING and STATUS_DISK_FULL."""
_COMMANDS = {
    0: "NEGOTIATE",
    1: "SESSION_SETUP",
    2: "LOGOFF",
    3: "TREE_CONNECT",
    5: "CREATE",
    6: "CLOSE",
    7: "FLUSH",
    8: "READ",
    9: "WRITE",
    10: "LOCK",
    11: "IOCTL",
    13: "ECHO",
    14: "QUERY_DIRECTORY",
    16: "QUERY_INFO",
    17: "SET_INFO",
}
"""MS-SMB2 2.2.1: the commands."""
_CHANGES = {10: "RENAME", 13: "DELETE", 20: "SET_SIZE"}
"""MS-FSCC 2.4: what a SET_INFO of a file changes, as far as it matters here."""
Labels = tuple[str, ...]
"""What the commands of a message of SMB are about."""


class Dropped(Exception):
    """The connection ends here."""


class Flow:
    """One connection through a wire.

    Attributes:
        number: Which connection of the wire it is, from 1.
        passed: Bytes that passed, each way.
        silent: Ways in which nothing passes any more, although both ends keep their sockets.
    """

    def __init__(self, number: int, client: socket.socket, server: socket.socket) -> None:
        self.number = number
        self.passed = {SENT: 0, RECEIVED: 0}
        self.silent: set[str] = set()
        self._ending = threading.Lock()
        self.ended = threading.Event()
        self._ends = {SENT: server, RECEIVED: client}
        self._labels: dict[int, str] = {}

    def send(self, way: str, data: bytes) -> None:
        """Hand bytes on."""
        self._ends[way].sendall(data)
        self.passed[way] += len(data)

    def die(self, *ways: str) -> None:
        """Let nothing pass any more, without telling either end."""
        self.silent |= {*(ways or (SENT, RECEIVED))}

    def reset(self) -> None:
        """End it with RST at both ends."""
        for each in self._ends.values():
            with contextlib.suppress(OSError):
                # socket(7), SO_LINGER: on with no time, close sends RST.
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Closed while a thread reads from it, a socket would stay open: the thread has to leave first.
        self._end(socket.SHUT_RD)

    def close(self) -> None:
        """End it."""
        self._end(socket.SHUT_RDWR)

    def _end(self, how: int) -> None:
        with self._ending:
            if self.ended.is_set():
                return  # a FIN now would come before the RST
            self.ended.set()
        for each in self._ends.values():
            with contextlib.suppress(OSError):
                each.shutdown(how)
            each.close()

    def finish(self, way: str) -> None:
        """Hand on that one end has no more to say."""
        # One that is being reset must not send FIN before RST.
        if way not in self.silent and not self.ended.is_set():
            with contextlib.suppress(OSError):
                self._ends[way].shutdown(socket.SHUT_WR)

    def labels(self, way: str, message: bytes) -> list[str]:
        """Return what a message of SMB is about, one word for each command of a compound.

        An answer has the words of its request; one that only says that it takes longer has none. What is
        encrypted is ``ENCRYPTED``.
        """
        found, packet = [], message[4:]
        if not packet.startswith(b"\xfeSMB"):
            return ["ENCRYPTED" if packet.startswith(b"\xfdSMB") else "OTHER"]
        while packet.startswith(b"\xfeSMB"):
            command, number = struct.unpack_from("<H", packet, 12)[0], struct.unpack_from("<Q", packet, 24)[0]
            if way == SENT:
                label = _COMMANDS.get(command, str(command))
                if label == "SET_INFO" and packet[66] == 1:
                    label = _CHANGES.get(packet[67], label)
                elif label == "QUERY_INFO" and packet[66] == 2:  # MS-SMB2 2.2.37: of the file system
                    label = "QUERY_SPACE"
                self._labels[number] = label
                found.append(label)
            elif struct.unpack_from("<I", packet, 8)[0] != _PENDING:
                found.append(self._labels.pop(number, _COMMANDS.get(command, str(command))))
            following = struct.unpack_from("<I", packet, 20)[0]
            packet = packet[following:] if following else b""
        return found


class Trouble:
    """What goes wrong on a wire: nothing, unless a method says so."""

    listens = True
    """Whether connections are accepted at all."""

    def opened(self, flow: Flow) -> None:
        """Look at a new connection; Dropped resets it."""

    def passes(self, flow: Flow, way: str, piece: bytes, labels: Labels) -> Iterable[bytes]:
        """Return what is handed on in place of a piece; Dropped resets the connection.

        Args:
            flow: The connection.
            way: Where the piece goes.
            piece: The bytes.
            labels: Of a message of SMB: what its commands are about.
        """
        return (piece,)


class Wire:
    """A proxy before one loopback port.

    Args:
        target: The port behind.
        smb: Whether pieces are messages of SMB.

    Attributes:
        port: Where clients connect to.
        seen: What each message of SMB was about, with its way, in order.
        count: Connections so far.
    """

    def __init__(self, target: int, *, smb: bool = False) -> None:
        self._target = target
        self._smb = smb
        self._trouble = Trouble()
        self._flows: list[Flow] = []
        self._lock = threading.Lock()
        self._closed = False
        self._hearing = threading.Lock()
        self._again: threading.Timer | None = None
        self.count = 0
        self.seen: list[tuple[str, str]] = []
        self._listener: Listener | None = None
        self.port = 0
        self._listen()

    def suffer(self, trouble: Trouble) -> None:
        """Let a trouble begin; connections that are open are in it too."""
        self._trouble = trouble
        if not trouble.listens:
            self._deafen()

    def heal(self) -> None:
        """End the trouble. Connections that passed nothing any more are ended, as their hosts would."""
        self._trouble = Trouble()
        if self._again is not None:
            self._again.cancel()
        self._hear()
        for flow in self.flows():
            if flow.silent:
                flow.reset()

    def refuse(self, seconds: float) -> None:
        """Refuse connections for a while, and end those that there are."""
        self._deafen()
        for flow in self.flows():
            flow.reset()

        self._again = threading.Timer(seconds, self._hear)
        self._again.daemon = True
        self._again.start()

    def flows(self) -> list[Flow]:
        """Return the connections that have not ended."""
        with self._lock:
            self._flows = [flow for flow in self._flows if not flow.ended.is_set()]
            return list(self._flows)

    def forget(self) -> None:
        """End every connection; the next one has the number 1."""
        for flow in self.flows():
            flow.close()
        self.count = 0
        self.seen.clear()

    def close(self) -> None:
        """End it."""
        self._closed = True
        self._trouble = Trouble()
        self._deafen()
        self.forget()

    def _hear(self) -> None:
        """Listen again, unless the trouble is that nothing does."""
        with self._hearing:
            if self._listener is None and self._trouble.listens and not self._closed:
                self._listen()

    def _listen(self) -> None:
        # The same port again after a refusal: addresses are in release.toml.
        self._listener = Listener(self._taken, port=self.port)
        self.port = self._listener.port

    def _deafen(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _taken(self, client: socket.socket) -> None:
        threading.Thread(target=self._open, args=(client,), daemon=True).start()

    def _open(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection((LOOPBACK, self._target))
        except OSError:
            client.close()
            return
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self.count += 1
            flow = Flow(self.count, client, server)
            self._flows.append(flow)
        try:
            self._trouble.opened(flow)
        except Dropped:
            flow.reset()
            return
        for way, source in ((SENT, client), (RECEIVED, server)):
            threading.Thread(target=self._pump, args=(flow, way, source), daemon=True).start()

    def _pump(self, flow: Flow, way: str, source: socket.socket) -> None:
        try:
            while piece := self._read(source):
                labels = tuple(flow.labels(way, piece)) if self._smb else ()
                self.seen += [(way, label) for label in labels]
                for each in self._trouble.passes(flow, way, piece, labels):
                    if way in flow.silent:
                        break
                    flow.send(way, each)
                if way in flow.silent:
                    flow.ended.wait()
                    return
        except Dropped:
            flow.reset()
        except (OSError, ValueError):
            # One end has reset it: so is the other.
            if way not in flow.silent:
                flow.reset()
        else:
            flow.finish(way)
            if way == RECEIVED and way not in flow.silent:
                flow.close()

    def _read(self, source: socket.socket) -> bytes:
        if not self._smb:
            return source.recv(_PIECE)
        head = _exactly(source, 4)
        return head + _exactly(source, int.from_bytes(head, "big")) if len(head) == 4 else b""


def _exactly(source: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        got = source.recv(min(size - len(data), 1 << 20))
        if not got:
            return b""
        data += got
    return bytes(data)


class Delay(Trouble):
    """Every piece takes a time, each way."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def passes(self, flow: Flow, way: str, piece: bytes, labels: Labels) -> Iterable[bytes]:
        flow.ended.wait(self._seconds)
        return (piece,)


class Rate(Trouble):
    """So many bytes each second, each way, from a byte on."""

    def __init__(self, bytes_s: float, *, after: int = 0) -> None:
        self._pause_s = 1 / bytes_s
        self._after = after
        self.came = False

    def passes(self, flow: Flow, way: str, piece: bytes, labels: Labels) -> Iterable[bytes]:
        free = max(0, self._after - flow.passed[way])
        if piece[:free]:
            yield piece[:free]
        self.came = self.came or free < len(piece)
        for at in range(free, len(piece)):
            if flow.ended.wait(self._pause_s):
                raise Dropped
            yield piece[at : at + 1]


class At(Trouble):
    """Something happens once a byte has passed in one way.

    Args:
        what: ``stall`` (nothing passes any more), ``oneway`` (no answer passes any more), ``reset``,
            ``close``, ``change`` (the byte is another one), or ``garbage`` (what follows is no protocol).
        byte: Which byte, counted for each connection.
        way: In which way.
        times: Of how many connections; None for all of them.
        wire: The wire, where every open connection is hit at once.
    """

    def __init__(
        self, what: str, byte: int, way: str = SENT, *, times: int | None = 1, wire: Wire | None = None
    ) -> None:
        self._what, self._byte, self._way = what, byte, way
        self._times, self._wire = times, wire
        self._hit: set[int] = set()
        self._lock = threading.Lock()

    @property
    def came(self) -> bool:
        """Whether it happened."""
        return bool(self._hit)

    def passes(self, flow: Flow, way: str, piece: bytes, labels: Labels) -> Iterable[bytes]:
        at = self._byte - flow.passed[way]
        if way != self._way or not 0 <= at < len(piece) or not self._take(flow):
            return (piece,)
        if self._what == "change":
            return (piece[:at] + bytes([piece[at] ^ 0x20]) + piece[at + 1 :],)
        if self._what == "garbage":
            return (b"\x00\x00\x20\x00" + bytes(range(256)) * 32,)
        flow.send(way, piece[:at])
        flows = self._wire.flows() if self._wire else [flow]
        for each in flows:
            if self._what == "stall":
                each.die()
            elif self._what == "oneway":
                each.die(RECEIVED)
            elif self._what == "reset":
                each.reset()
            else:
                each.close()
        # One way only is lost: the server hears the rest.
        return (piece[at:],) if self._what == "oneway" else ()

    def _take(self, flow: Flow) -> bool:
        with self._lock:
            if flow.number in self._hit or (self._times is not None and len(self._hit) >= self._times):
                return False
            self._hit.add(flow.number)
            return True


class AtCommand(Trouble):
    """Something happens at a command of SMB.

    Args:
        label: Regular expression for the command, as :meth:`Flow.labels` has it.
        what: ``stall`` (the request does not arrive, and nothing passes any more on its connection),
            ``hold`` (nothing passes any more on any connection), ``lose`` (the request is done, its answer is
            lost and the connection reset), ``strand`` (the same, but the server does not learn of it),
            ``strand-all`` (nor of the other connections), or ``answer`` (the answer is replaced).
        skip: So many commands pass first.
        times: How often it happens; None for ever.
        wire: The wire, where all connections are hit.
        status: The status of the answer that replaces the server's, unsigned as of a session that is gone.
    """

    def __init__(
        self,
        label: str,
        what: str,
        *,
        wire: Wire,
        skip: int = 0,
        times: int | None = 1,
        status: int = 0,
    ) -> None:
        self._label, self._what, self._wire = label, what, wire
        self._skip, self._times, self._status = skip, times, status
        self._count = 0
        self._lock = threading.Lock()
        self._waiting: set[int] = set()
        self.came = False

    def passes(self, flow: Flow, way: str, piece: bytes, labels: Labels) -> Iterable[bytes]:
        if way == SENT:
            if not self._take(labels):
                return (piece,)
            if self._what in {"stall", "hold"}:
                self.came = True
                for each in self._wire.flows() if self._what == "hold" else [flow]:
                    each.die()
                return ()
            self._waiting.add(flow.number)
            if self._what == "answer":
                flow.send(RECEIVED, _refusal(piece, self._status))
                self.came = True
                self._waiting.discard(flow.number)
                return ()
            return (piece,)
        if flow.number not in self._waiting or not self._among(labels):
            return (piece,)
        self._waiting.discard(flow.number)
        self.came = True
        if self._what == "lose":
            raise Dropped
        for each in self._wire.flows() if self._what == "strand-all" else [flow]:
            each.die()
        return ()

    def _among(self, labels: Labels) -> bool:
        return any(re.fullmatch(self._label, label) for label in labels)

    def _take(self, labels: Labels) -> bool:
        with self._lock:
            if not self._among(labels):
                return False
            self._count += 1
            over = self._times is not None and self._count > self._skip + self._times
            return self._count > self._skip and not over


def _refusal(piece: bytes, status: int) -> bytes:
    """Return the answer to the first command of a message that refuses it, unsigned (MS-SMB2 2.2.2)."""
    head = bytearray(piece[4:68])
    struct.pack_into("<I", head, 8, status)
    flags = struct.unpack_from("<I", head, 16)[0]
    struct.pack_into("<I", head, 16, (flags | 1) & ~8)
    struct.pack_into("<I", head, 20, 0)
    head[48:64] = bytes(16)
    body = bytes(head) + struct.pack("<HBBI", 9, 0, 0, 0) + b"\0"
    return struct.pack(">I", len(body)) + body


class Moment(Trouble):
    """Something begins once, when a command of SMB has come; the command passes on meanwhile.

    Args:
        label: Regular expression for the command.
        begin: Begins it, and does not wait for its end.
    """

    def __init__(self, label: str, begin: Callable[[], object]) -> None:
        self._label, self._begin = label, begin
        self._lock = threading.Lock()
        self._begun = False

    def passes(self, flow: Flow, way: str, piece: bytes, labels: Labels) -> Iterable[bytes]:
        if way == SENT and any(re.fullmatch(self._label, label) for label in labels):
            with self._lock:
                due, self._begun = not self._begun, True
            if due:
                self._begin()
        return (piece,)


class Space(Trouble):
    """Nothing goes wrong; it notes whether the server told its free space, or that the disk is full."""

    def __init__(self) -> None:
        self.asked = self.full = False

    def passes(self, flow: Flow, way: str, piece: bytes, labels: Labels) -> Iterable[bytes]:
        if way == RECEIVED and piece[4:8] == b"\xfeSMB":
            self.asked = self.asked or "QUERY_SPACE" in labels
            self.full = self.full or struct.unpack_from("<I", piece, 12)[0] == _DISK_FULL
        return (piece,)


class Deaf(Trouble):
    """No connection is accepted."""

    listens = False


class Mute(Trouble):
    """Connections are accepted, and nothing passes."""

    def opened(self, flow: Flow) -> None:
        flow.die()

    def passes(self, flow: Flow, way: str, piece: bytes, labels: Labels) -> Iterable[bytes]:
        flow.die()
        return ()


class Babble(Trouble):
    """The server's every word is replaced by bytes of no protocol."""

    def passes(self, flow: Flow, way: str, piece: bytes, labels: Labels) -> Iterable[bytes]:
        return (piece,) if way == SENT else (b"\x00\x00\x20\x00" + bytes(range(256)) * 32,)


class HangUp(Trouble):
    """Connections are accepted and ended at once."""

    def opened(self, flow: Flow) -> None:
        flow.close()
