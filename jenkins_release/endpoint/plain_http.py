"""HTTP without TLS, also for clients that try TLS first."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler

_TLS_HANDSHAKE = b"\x16"
"""First byte of a client that begins TLS (RFC 8446, section 5.1)."""


class PlainHttpHandler(BaseHTTPRequestHandler):
    """Tells a client that begins with TLS that this is HTTP.

    Docker with containerd's image store tries TLS first at a registry on loopback. It goes on without only
    if what comes back is HTTP (Go, net/http, "server gave HTTP response to HTTPS client").
    """

    raw_requestline: bytes

    def parse_request(self) -> bool:
        """Read the head of a request. Returns whether there is one to answer."""
        if not self.raw_requestline.startswith(_TLS_HANDSHAKE):
            return super().parse_request()
        self.close_connection = True
        self.wfile.write(b"HTTP/1.0 400 Bad Request\r\n\r\nThis is HTTP, without TLS.\n")
        return False
