"""One request and its answer on the ECR front: bodies in blocks, counted, and cut off on request."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from jenkins_release.base.errors import RemoteError
from jenkins_release.sandbox.api_fault import ApiFault

BLOCK = 1024 * 1024
"""Bytes of a passing body that are held."""
MAX_DOCUMENT = 4 * 1024 * 1024 + 64 * 1024
"""Longest JSON body or manifest in bytes: ECR accepts manifests of 4 MiB (API reference, PutImage)."""
_LOGGED = frozenset({"digest", "mount", "from", "n", "last", "artifactType"})


class ConnectionReset(RemoteError):
    """A fault resets the connection here."""


class BadRequest(RemoteError):
    """The request cannot be read, so its connection is no longer usable."""


@dataclass
class RequestRecord:
    """A request in the log, without its credentials or body.

    Attributes:
        method: HTTP method.
        path: Path without the query.
        query: The part of the query that tells requests apart: ``digest``, ``mount``, ``from``, ``n``,
            ``last``, ``artifactType``.
        action: Action of the ECR API; empty on ``/v2/``.
        repository: Repository, if the request names one.
        principal: ARN of the caller, once it is known.
        status: HTTP status of the answer; 0 if there was none.
        received: Bytes of the request's body that were read.
        sent: Bytes of the answer's body that were sent.
        fault: Whether this request got a fault.
    """

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    action: str = ""
    repository: str = ""
    principal: str = ""
    status: int = 0
    received: int = 0
    sent: int = 0
    fault: bool = False

    @property
    def label(self) -> str:
        """The action, or method and path: what a test compares."""
        return self.action or f"{self.method} {self.path}"


class ServedRequest:
    """A request that is being answered.

    Args:
        handler: The handler of the connection, which has read the request's head.
    """

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler
        self._rfile = cast(io.BufferedReader, handler.rfile)
        self.method = handler.command
        url = urlsplit(handler.path)
        self.path, self.raw_query = url.path, url.query
        self.query = dict(parse_qsl(url.query, keep_blank_values=True))
        self.headers: dict[str, str] = {}
        for name, value in handler.headers.items():
            # A list may come as several lines (RFC 9110, section 5.3): skopeo sends each Accept separately.
            key = name.lower()
            self.headers[key] = f"{self.headers[key]},{value}" if key in self.headers else value
        shown = {name: value for name, value in self.query.items() if name in _LOGGED}
        self.record = RequestRecord(self.method, self.path, shown)
        self.reset_request_after: int | None = None
        self.reset_response_after: int | None = None
        self._consumed = False
        self.length = self._length()

    def chunks(self) -> Iterator[memoryview]:
        """Yield the request's body in blocks; each is valid until the next.

        Raises:
            ConnectionReset: A fault cuts the body off here.
            BadRequest: The body is not framed as in RFC 9112 section 7.1, or ended early.
        """
        if self._consumed:
            return
        self._consumed = True
        self._check_request_limit()
        for block in self._framed():
            self.record.received += len(block)
            self._check_request_limit()
            yield block

    def body(self) -> bytes:
        """Return the whole body. Raises ApiFault if it is longer than any document may be."""
        parts = bytearray()
        for block in self.chunks():
            if len(parts) + len(block) <= MAX_DOCUMENT:
                parts += block
        if self.record.received > MAX_DOCUMENT:
            raise ApiFault("RequestEntityTooLargeException", "The request is too large.", 413)
        return bytes(parts)

    def json(self, status: int, document: Any, headers: Mapping[str, str] | None = None) -> None:
        """Answer with a JSON document."""
        kind = {"Content-Type": "application/json"}
        self.reply(status, json.dumps(document).encode(), {**kind, **(headers or {})})

    def reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Answer with a complete body."""
        self.stream(status, {**(headers or {}), "Content-Length": str(len(body))}, [body])

    def stream(self, status: int, headers: Mapping[str, str], blocks: Iterable[bytes | memoryview]) -> None:
        """Answer with blocks; the headers must contain ``Content-Length``.

        Raises:
            ConnectionReset: A fault cuts the answer off.
        """
        for _ in self.chunks():
            pass
        self.record.status = status
        left = self.reset_response_after
        if left == 0:
            raise ConnectionReset("a fault resets the connection here")
        self._handler.send_response_only(status)
        self._handler.send_header("Date", self._handler.date_time_string())
        for name, value in headers.items():
            self._handler.send_header(name, value)
        self._handler.end_headers()
        for block in blocks if self.method != "HEAD" else ():
            part = block if left is None else block[:left]
            self.record.sent += len(part)
            self._handler.wfile.write(part)
            if left is not None:
                left -= len(part)
                if left == 0:
                    self._handler.wfile.flush()
                    raise ConnectionReset("a fault resets the connection here")
        self._handler.wfile.flush()

    def reset(self) -> None:
        """Break the connection with a TCP reset, like a failing network."""
        self._handler.close_connection = True
        connection = self._handler.connection
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # rfile holds the descriptor too: the reset is sent when the last holder closes it.
            self._rfile.close()
            connection.close()

    def _length(self) -> int | None:
        """Return the stated length of the body, None for a chunked one."""
        coding = self.headers.get("transfer-encoding")
        stated = self.headers.get("content-length")
        if coding is not None:
            if coding.lower() != "chunked" or stated is not None:
                raise BadRequest("only a chunked body without Content-Length is possible")
            return None
        if stated is not None and not stated.isdigit():
            raise BadRequest("Content-Length is not a number")
        return int(stated or 0)

    def _framed(self) -> Iterator[memoryview]:
        if self.length is not None:
            yield from self._exactly(self.length)
            return
        while size := self._chunk_size():
            yield from self._exactly(size)
            self._rfile.readline(3)
        while self._rfile.readline(8192) not in (b"\r\n", b"\n", b""):
            pass

    def _chunk_size(self) -> int:
        line = self._rfile.readline(1024)
        try:
            return int(line.split(b";")[0], 16)
        except ValueError:
            raise BadRequest("a chunk does not begin with its size") from None

    def _exactly(self, count: int) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(min(BLOCK, count)))
        while count:
            wanted = min(count, len(buffer))
            if self.reset_request_after is not None:
                wanted = max(1, min(wanted, self.reset_request_after - self.record.received))
            try:
                got = self._rfile.readinto(buffer[:wanted])
            except OSError as error:
                raise BadRequest(f"the client went away: {error}") from error
            if not got:
                raise BadRequest("the body ended early")
            count -= got
            yield buffer[:got]

    def _check_request_limit(self) -> None:
        if self.reset_request_after is not None and self.record.received >= self.reset_request_after:
            raise ConnectionReset("a fault resets the connection here")


def response_blocks(response: http.client.HTTPResponse) -> Iterator[memoryview]:
    """Yield the body of an upstream answer in blocks; each is valid until the next."""
    buffer = memoryview(bytearray(BLOCK))
    while got := response.readinto(buffer):
        yield buffer[:got]
