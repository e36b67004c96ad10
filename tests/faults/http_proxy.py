"""An HTTP proxy before one server of AWS or of a registry, which can answer in the server's place.

It hands requests on and the answers back, and writes its own port where the server names itself. An
:class:`Order` picks requests and says what happens to them.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jenkins_release.sandbox.process import LOOPBACK

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect"})
"""RFC 9110 7.6.1: what is for one connection only."""
ENOUGH = 800 << 20
"""Bytes that an endless body has."""
_PLACES = re.compile(r"/(manifests|blobs/uploads|blobs)/")


@dataclass
class Answer:
    """An answer.

    Attributes:
        status: HTTP status.
        headers: Its headers; the length is added.
        body: Its body.
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str:
        """Return a header; empty without one."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def replace(self, name: str, value: str) -> None:
        """Set a header."""
        self.headers = [(k, v) for k, v in self.headers if k.lower() != name.lower()] + [(name, value)]


class Gone(Exception):
    """The connection is of no further use."""


class Exchange:
    """One request, and the ways to answer it.

    Attributes:
        method: HTTP method.
        path: Path without the query.
        query: The query.
        headers: Headers by lower-case name.
        body: The body.
        label: What it is about: the action of an API, or method and place, such as ``PATCH blobs/uploads``.
    """

    def __init__(self, handler: _Handler, proxy: HttpProxy) -> None:
        self._handler, self._proxy = handler, proxy
        self.method = handler.command
        parts = urlsplit(handler.path)
        self.path, self.query = parts.path, parts.query
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body = self._read()
        self.label = self._label()

    def forward(self) -> Answer:
        """Have the server answer."""
        if self._proxy.check is not None and (refusal := self._proxy.check(self)) is not None:
            return refusal
        connection = http.client.HTTPConnection(LOOPBACK, self._proxy.target, timeout=60)
        try:
            headers = {k: v for k, v in self._handler.headers.items() if k.lower() not in _HOP}
            headers.pop("Content-Length", None)
            if self.body or self.method in {"POST", "PUT", "PATCH"}:
                headers["Content-Length"] = str(len(self.body))
            connection.request(self.method, self._handler.path, self.body or None, headers)
            got = connection.getresponse()
            body = got.read()
        except (OSError, http.client.HTTPException) as error:
            raise Gone from error
        finally:
            connection.close()
        here, there = (f"{LOOPBACK}:{port}" for port in (self._proxy.shown_port, self._proxy.target))
        told = [(k, v.replace(there, here)) for k, v in got.getheaders() if k.lower() not in _HOP]
        if "json" in (got.getheader("Content-Type") or "") and "/blobs/" not in self.path:
            body = body.replace(there.encode(), here.encode())
        return Answer(got.status, told, body)

    def send(self, answer: Answer) -> None:
        """Send an answer."""
        headers = [(k, v) for k, v in answer.headers if k.lower() not in {"content-length", *_HOP}]
        length = answer.header("Content-Length") if self.method == "HEAD" else str(len(answer.body))
        if length and answer.status not in {204, 304}:
            headers.append(("Content-Length", length))
        head = f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, 'X')}\r\n"
        head += "".join(f"{key}: {value}\r\n" for key, value in headers)
        body = b"" if self.method == "HEAD" else answer.body
        self.raw(head.encode("latin-1") + b"\r\n" + body)

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._handler.wfile.write(data)
        self._handler.wfile.flush()

    def wait(self, seconds: float | None = None) -> None:
        """Say nothing until the client has gone, the trouble is over, or a time has passed."""
        self._handler.connection.setblocking(False)
        end = self._proxy.healed
        waited = 0.0
        while (seconds is None or waited < seconds) and not end.wait(0.02):
            waited += 0.02
            with contextlib.suppress(BlockingIOError):
                if not self._handler.connection.recv(1, socket.MSG_PEEK):
                    raise Gone
        self._handler.connection.setblocking(True)

    @property
    def over(self) -> bool:
        """Whether the trouble is over."""
        return self._proxy.healed.is_set()

    def reset(self) -> None:
        """End the connection with RST."""
        with contextlib.suppress(OSError):
            self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    def _read(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            data = b""
            while size := int(self._handler.rfile.readline().split(b";")[0], 16):
                data += self._handler.rfile.read(size)
                self._handler.rfile.readline()
            self._handler.rfile.readline()
            return data
        return self._handler.rfile.read(int(self.headers.get("content-length") or 0))

    def _label(self) -> str:
        if target := self.headers.get("x-amz-target", ""):
            return target.rpartition(".")[2]
        if self.path.startswith("/v2/"):
            place = _PLACES.search(self.path)
            return f"{self.method} {place[1] if place else 'v2'}"
        if b"Action=" in self.body[:4096] and self.method == "POST":
            return parse_qs(self.body.decode("latin-1")).get("Action", [""])[0]
        if self.path.startswith("/_sandbox/app/"):
            return "health"
        return f"{self.method} object"


@dataclass
class Order:
    """What happens to some of the requests.

    Attributes:
        label: Regular expression for the whole label.
        act: What happens instead of handing the request on.
        skip: Matching requests that pass first.
        times: How often; None for as long as the trouble holds.
    """

    label: str
    act: Callable[[Exchange], None]
    skip: int = 0
    times: int | None = None
    hits: int = 0


class HttpProxy:
    """A proxy before a loopback port.

    Args:
        target: The port behind.
        port: Its own; a free one by default.

    Attributes:
        port: Where it listens.
        shown_port: The port under which clients see it: its own, or that of a wire before it.
        orders: What goes wrong; the first that matches does.
        seen: The labels of the requests, in order.
        healed: Set when trouble is over: whoever waits in an answer goes on.
        check: Refuses what the true server would, and the one behind takes.
    """

    def __init__(self, target: int, port: int = 0) -> None:
        self.target = target
        self.orders: list[Order] = []
        self.seen: list[str] = []
        self.healed = threading.Event()
        self.check: Callable[[Exchange], Answer | None] | None = None
        self._lock = threading.Lock()
        self._server = _Server((LOOPBACK, port), self)
        self.port = self.shown_port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def suffer(self, *orders: Order) -> None:
        """Let a trouble begin."""
        self.healed.clear()
        self.orders = list(orders)

    def heal(self) -> None:
        """End the trouble."""
        self.orders = []
        self.healed.set()

    def close(self) -> None:
        """End it."""
        self.heal()
        self._server.shutdown()
        self._server.server_close()

    def serve(self, exchange: Exchange) -> None:
        """Answer a request."""
        with self._lock:
            self.seen.append(exchange.label)
            order = self._order(exchange.label)
        if order is None:
            exchange.send(exchange.forward())
        else:
            order.act(exchange)

    def _order(self, label: str) -> Order | None:
        for order in self.orders:
            if not re.fullmatch(order.label, label):
                continue
            if order.skip:
                order.skip -= 1
                return None
            if order.times is None or order.hits < order.times:
                order.hits += 1
                return order
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        try:
            self.server.proxy.serve(Exchange(self, self.server.proxy))  # type: ignore[attr-defined]
        except (Gone, OSError, ValueError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Write nothing to stderr."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], proxy: HttpProxy) -> None:
        self.proxy = proxy
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of the proxy."""


def bad_digest(exchange: Exchange) -> Answer | None:
    """Refuse an upload that its checksum does not fit, as S3 does; moto keeps it.

    Amazon S3 API reference, "Error responses": BadDigest.
    """
    told = exchange.headers.get("x-amz-checksum-sha256")
    if told in {None, base64.b64encode(hashlib.sha256(exchange.body).digest()).decode()}:
        return None
    error = b"<Error><Code>BadDigest</Code><Message>The SHA256 you specified did not match</Message></Error>"
    return Answer(400, [("Content-Type", "application/xml")], error)


def stall(exchange: Exchange) -> None:
    """No answer, and the request does not arrive."""
    exchange.wait()
    raise Gone


def lose(exchange: Exchange) -> None:
    """The request is done; instead of its answer the connection is reset."""
    exchange.forward()
    exchange.reset()


def lose_silently(exchange: Exchange) -> None:
    """The request is done; its answer never comes."""
    exchange.forward()
    exchange.wait()
    raise Gone


def reset(exchange: Exchange) -> None:
    """The connection is reset instead of an answer; the request does not arrive."""
    exchange.reset()


def drip(exchange: Exchange) -> None:
    """The answer comes one byte a second."""
    answer = exchange.forward()
    data = f"HTTP/1.1 {answer.status} OK\r\nContent-Length: {len(answer.body)}\r\n".encode()
    data += b"".join(f"{k}: {v}\r\n".encode() for k, v in answer.headers if k.lower() != "content-length")
    for byte in data + b"\r\n" + answer.body:
        exchange.raw(bytes([byte]))
        exchange.wait(1.0)


def slow(seconds: float) -> Callable[[Exchange], None]:
    """Every answer takes a time."""

    def act(exchange: Exchange) -> None:
        exchange.wait(seconds)
        exchange.send(exchange.forward())

    return act


def status(
    number: int, body: bytes = b"", kind: str = "application/json", **headers: str
) -> Callable[[Exchange], None]:
    """Answer with a status; the request does not arrive. Names of headers have ``_`` for the hyphen."""

    def act(exchange: Exchange) -> None:
        told = [(name.replace("_", "-"), value) for name, value in headers.items()]
        exchange.send(Answer(number, [("Content-Type", kind), *told], body))

    return act


def changed(change: Callable[[Answer], None]) -> Callable[[Exchange], None]:
    """Have the server answer, and change the answer."""

    def act(exchange: Exchange) -> None:
        answer = exchange.forward()
        change(answer)
        exchange.send(answer)

    return act


def endless(head: bytes, piece: bytes) -> Callable[[Exchange], None]:
    """Send a head and then the same bytes for as long as the client takes them, and no end.

    After what nobody may read it only waits: the machine has other tests.
    """

    def act(exchange: Exchange) -> None:
        exchange.raw(head)
        block = piece * max(1, (1 << 16) // len(piece))
        for _ in range(ENOUGH // len(block)):
            if exchange.over:
                raise Gone
            exchange.raw(block)
        exchange.wait()
        raise Gone

    return act
