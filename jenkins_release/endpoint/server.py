"""An HTTP server on loopback, in threads of this process."""

from __future__ import annotations

import base64
import contextlib
import logging
import math
import re
import secrets
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import field
from types import TracebackType
from typing import Any

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.waits import Stopped
from jenkins_release.endpoint.plain_http import PlainHttpHandler

LOOPBACK = "127.0.0.1"
MAX_CONNECTIONS = 256
"""Maximum concurrent connections; containerd opens one for each layer of an image."""
IDLE_S = 60.0
"""Seconds without a byte after which a connection is closed."""
_POLL_S = 0.05
_END_S = 1.0
"""Longest wait for threads whose connections were closed, in seconds."""
_HOSTS = re.compile(r"(?:127\.0\.0\.1|localhost)(?::\d{1,5})?", re.IGNORECASE)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Login:
    """What a client must send: any user of the machine can reach loopback.

    Attributes:
        username: User name.
        password: Password.
    """

    username: str
    password: str = field(repr=False)

    @classmethod
    def new(cls) -> Login:
        """Return one that nobody can guess."""
        return cls("jenkins-release", secrets.token_urlsafe(32))

    def opens(self, header: str) -> bool:
        """Whether an ``Authorization`` header has it (RFC 7617)."""
        scheme, _, given = header.partition(" ")
        expected = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return scheme.lower() == "basic" and secrets.compare_digest(given.strip().encode(), expected.encode())


class Handler(PlainHttpHandler):
    """Answers the requests of one connection; see :class:`LoopbackServer`."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    disable_nagle_algorithm = True
    server: _Server

    def admit(self) -> None:
        """Keep the connection: its client may make requests.

        Any user of the machine can open connections. If there are too many, one is closed that is not kept or
        waits for its next request.
        """
        self.server.admit(self.connection)

    def answer(self) -> None:
        """Answer one request, unless the client may not make it."""
        try:
            # A page in a browser of this machine could otherwise read everything, under a name of its own
            # that leads to 127.0.0.1.
            if not _HOSTS.fullmatch(self.headers.get("Host", "")):
                self.send_error(421)
            elif "Origin" in self.headers or self.headers.get("Sec-Fetch-Site", "none") != "none":
                # It could not read the answer, but make the share send whole layers.
                self.send_error(403)
            else:
                self.server.serve(self)
        except (OSError, Stopped) as error:
            self.close_connection = True
            _log.debug("%s %s broke off: %s", self.command, self.path.partition("?")[0], error)
        finally:
            self.server.rest(self.connection)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815  # http.server's names

    def version_string(self) -> str:
        """Return the name of the server, without Python's version."""
        return "jenkins-release"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name
        """Write to the log; a path holds no secret, and headers are not written."""
        _log.debug("%s", format % args)


class LoopbackServer:
    """Listens on 127.0.0.1 while it is entered; leaving it closes every connection.

    Args:
        serve: Answers a request, in a thread of its connection.
        port: Port; 0 takes a free one.

    Raises:
        ConfigurationError: The port cannot be used.
    """

    def __init__(self, serve: Callable[[Handler], None], port: int = 0) -> None:
        try:
            self._server = _Server((LOOPBACK, port), serve)
        except OSError as error:
            raise ConfigurationError(
                f"port {port} of {LOOPBACK} cannot be used: {error.strerror}",
                hint="another program listens there: choose another port, or leave it out for a free one",
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=[_POLL_S], daemon=True, name="endpoint"
        )

    @property
    def host(self) -> str:
        """Its host and port."""
        return f"{LOOPBACK}:{self._server.server_address[1]}"

    def __enter__(self) -> LoopbackServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.end()
        self._thread.join()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    # Without it, a port stays taken for a minute after its last connection. Linux still lets nobody share it.
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], serve: Callable[[Handler], None]) -> None:
        self.serve = serve
        self._open: dict[socket.socket, float] = {}
        """The connections, oldest first, and since when each waits for another request: minus infinity before
        the first that is allowed, infinity while one is answered."""
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            if len(self._open) >= MAX_CONNECTIONS:
                longest = min(self._open, key=self._open.__getitem__)
                if self._open[longest] < math.inf:
                    del self._open[longest]
                    # Its thread closes it.
                    with contextlib.suppress(OSError):
                        longest.shutdown(socket.SHUT_RDWR)
            taken = len(self._open) < MAX_CONNECTIONS
            if taken:
                self._open[request] = -math.inf
        if taken:
            super().process_request(request, client_address)
        else:
            super().shutdown_request(request)

    def admit(self, request: socket.socket) -> None:
        """Keep a connection while its request is answered."""
        with self._lock:
            if request in self._open:
                self._open[request] = math.inf

    def rest(self, request: socket.socket) -> None:
        """Note that the request of a connection was answered."""
        with self._lock:
            if self._open.get(request) == math.inf:
                self._open[request] = time.monotonic()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._ended:
            self._open.pop(request, None)
            self._ended.notify_all()

    def end(self) -> None:
        """Stop listening, and close every connection."""
        self.shutdown()
        self.server_close()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        # Whoever leaves the server may close what its threads use.
        with self._ended:
            self._ended.wait_for(lambda: not self._open, timeout=_END_S)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        _log.debug("a request on loopback failed", exc_info=True)
