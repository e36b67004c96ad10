"""The body of a request, framed by its length or in chunks (RFC 9112, section 6.3 and 7.1)."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

from jenkins_release.base.errors import RemoteError

_BLOCK = 1 << 18
_LONGEST_LINE = 8192
_MOST_TRAILERS = 64


class BrokenBody(RemoteError):
    """A request's body is not framed as it should be, or ended early; its connection is no longer usable."""


def read_body(handler: BaseHTTPRequestHandler) -> Iterator[bytes]:
    """Yield the body of a request in pieces.

    Raises:
        BrokenBody: It cannot be read to its end.
    """
    coding = handler.headers.get("Transfer-Encoding")
    length = handler.headers.get("Content-Length", "0")
    if coding is None:
        if not (length.isascii() and length.isdigit()):
            raise BrokenBody("Content-Length is not a number")
        yield from _exactly(handler, int(length))
        return
    if coding.lower() != "chunked" or "Content-Length" in handler.headers:
        raise BrokenBody("only a chunked body without Content-Length is possible")
    while size := _chunk_size(handler):
        yield from _exactly(handler, size)
        if handler.rfile.readline(_LONGEST_LINE) not in {b"\r\n", b"\n"}:
            raise BrokenBody("a chunk is longer than it says")
    for _ in range(_MOST_TRAILERS):
        if handler.rfile.readline(_LONGEST_LINE) in {b"\r\n", b"\n", b""}:
            return
    raise BrokenBody("the body has too many trailers")


def _chunk_size(handler: BaseHTTPRequestHandler) -> int:
    text = handler.rfile.readline(_LONGEST_LINE).partition(b";")[0].strip()
    # int() also takes signs, spaces and underscores.
    if not text or text.strip(b"0123456789abcdefABCDEF") or len(text) > 16:
        raise BrokenBody("a chunk does not begin with its size")
    return int(text, 16)


def _exactly(handler: BaseHTTPRequestHandler, count: int) -> Iterator[bytes]:
    while count:
        piece = handler.rfile.read1(min(count, _BLOCK))
        if not piece:
            raise BrokenBody("the body ended early")
        count -= len(piece)
        yield piece
