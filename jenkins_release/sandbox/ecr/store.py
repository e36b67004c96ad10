"""The registry behind the ECR front, which stores blobs and manifests by digest."""

from __future__ import annotations

import contextlib
import http.client
import select
import threading
from collections.abc import Iterable, Iterator, Mapping

from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.ecr.http import BLOCK, response_blocks
from jenkins_release.sandbox.process import LOOPBACK

_TIMEOUT_S = 60
_REMEMBERED = 256
"""Manifests that are remembered; the largest have 4 MiB, most of them a few KiB."""
_HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "date", "server", "keep-alive"})


class RegistryAnswer:
    """An answer of the registry behind.

    Attributes:
        status: HTTP status.
        headers: Headers to pass on, with names as received.
    """

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {
            name: value for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP
        }
        self._response = response
        if response.length is None and response.getheader("Content-Length") is None:
            # A small answer of unstated length is read so that its length can be stated.
            self._read: bytes | None = response.read()
            self.headers["Content-Length"] = str(len(self._read))
        else:
            self._read = None

    def blocks(self) -> Iterator[bytes | memoryview]:
        """Yield the body."""
        if self._read is None:
            yield from response_blocks(self._response)
        else:
            yield self._read

    def body(self) -> bytes:
        """Return the whole body."""
        return b"".join(bytes(block) for block in self.blocks())

    def finish(self) -> bool:
        """Read the rest if it is small; return whether the answer was read to its end."""
        if not self._response.isclosed() and (self._response.length or 0) <= BLOCK:
            self._response.read()
        return self._response.isclosed()


class RegistryStore:
    """A client of the registry behind; requests at the same time have a connection each, which others reuse.

    Args:
        port: Its loopback port.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._idle: list[http.client.HTTPConnection] = []
        self._closed = False
        self._lock = threading.Lock()
        self._manifests: dict[tuple[str, str], bytes] = {}

    @contextlib.contextmanager
    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: Iterable[bytes | memoryview] = (),
        length: int | None = 0,
    ) -> Iterator[RegistryAnswer]:
        """Send a request, and provide the answer for the block.

        Args:
            method: HTTP method.
            target: Path and query.
            headers: Headers, except those for framing.
            body: Blocks of the body.
            length: Bytes of the body; None sends it chunked.

        Raises:
            ApiFault: ServerException, with status 500, if the registry behind does not answer.
        """
        connection = self._connection()
        complete = False
        try:
            try:
                answer = RegistryAnswer(_send(connection, method, target, headers or {}, body, length))
            except (OSError, http.client.HTTPException) as error:
                raise ApiFault("ServerException", f"the registry behind failed: {error}", 500) from error
            yield answer
            complete = answer.finish()
        finally:
            # The unread rest of an answer must not become the beginning of the next one.
            if not complete:
                connection.close()
            self._give_back(connection)

    def close(self) -> None:
        """Close the connections, now and when the last requests end."""
        with self._lock:
            self._closed = True
            for connection in self._idle:
                connection.close()

    def has_blob(self, storage: str, digest: str) -> int | None:
        """Return the size of a blob in bytes, or None if the repository lacks it."""
        with self.request("HEAD", f"/v2/{storage}/blobs/{digest}") as answer:
            return int(answer.headers["Content-Length"]) if answer.status == 200 else None

    def manifest(self, storage: str, digest: str, media_type: str) -> bytes:
        """Return the exact bytes of a manifest; those that were read last are remembered by their digest."""
        with self._lock:
            known = self._manifests.pop((storage, digest), None)
        if known is None:
            with self.request("GET", f"/v2/{storage}/manifests/{digest}", {"Accept": media_type}) as answer:
                if answer.status != 200:
                    raise ApiFault("ServerException", f"the registry behind lost {digest}", 500)
                known = answer.body()
        with self._lock:
            self._manifests[storage, digest] = known
            if len(self._manifests) > _REMEMBERED:
                del self._manifests[next(iter(self._manifests))]
        return known

    def put_manifest(self, storage: str, digest: str, media_type: str, data: bytes) -> str:
        """Store a manifest by digest; return an empty string, or why it was refused."""
        headers = {"Content-Type": media_type}
        target = f"/v2/{storage}/manifests/{digest}"
        with self.request("PUT", target, headers, [data], len(data)) as answer:
            return "" if answer.status == 201 else answer.body().decode(errors="replace")

    def _connection(self) -> http.client.HTTPConnection:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            return http.client.HTTPConnection(LOOPBACK, self.port, timeout=_TIMEOUT_S)
        # The registry may have been restarted since: a connection that it closed can be read.
        if connection.sock is not None and select.select([connection.sock], [], [], 0)[0]:
            connection.close()
        return connection

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if self._closed:
                connection.close()
            self._idle.append(connection)


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: Iterable[bytes | memoryview],
    length: int | None,
) -> http.client.HTTPResponse:
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    if length is None:
        connection.putheader("Transfer-Encoding", "chunked")
    elif length or method in {"POST", "PUT", "PATCH"}:
        connection.putheader("Content-Length", str(length))
    connection.endheaders()
    for block in body:
        if length is None:
            connection.send(b"%x\r\n" % len(block))
        connection.send(block)
        if length is None:
            connection.send(b"\r\n")
    if length is None:
        connection.send(b"0\r\n\r\n")
    return connection.getresponse()
