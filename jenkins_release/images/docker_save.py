"""Saves images from a daemon (``GET /images/get``): one stream for all of them."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
from collections.abc import Iterator, Sequence
from urllib.parse import urlencode

import requests
from docker.errors import NotFound

from jenkins_release.base.errors import ReleaseError, RemoteError
from jenkins_release.base.waits import Call
from jenkins_release.images.docker_client import api_url, daemon_error, no_such_image, translated
from jenkins_release.images.docker_daemon import Daemon

_CHUNK = 1 << 20
_TAIL = 8 << 10
_END_OF_ARCHIVE = 1024
_ERROR_LINE = re.compile(rb'"error" *: *"((?:[^"\\]|\\.)*)"')


def save_images(client: Daemon, names: Sequence[str]) -> Iterator[bytes]:
    """Stream one archive of the images.

    A daemon that fails half-way ends the stream normally with a line of JSON instead of the archive's end
    (moby, ``getImagesGet``), or drops the connection; both are told apart from an archive that ends
    correctly.

    Args:
        client: The daemon.
        names: Images to save, each with its tag.

    Yields:
        The archive in chunks of about 1 MiB.

    Raises:
        ConfigurationError: The daemon lacks one of the images.
        RemoteError: The daemon failed or the stream was cut.
    """
    what, url = f"save {', '.join(names)}", client.url
    tail = b""
    with translated(url, what):
        chunks = _plainly(client, names)
        if chunks is None:
            chunks = _through_the_sdk(client, what, names)
        for chunk in chunks:
            tail = chunk[-_TAIL:] if len(chunk) >= _TAIL else (tail + chunk)[-_TAIL:]
            yield chunk
    if len(tail) < _END_OF_ARCHIVE or tail[-_END_OF_ARCHIVE:].strip(b"\0"):
        raise _cut_short(url, what, tail)


def _plainly(client: Daemon, names: Sequence[str]) -> Iterator[bytes] | None:
    """Ask by HTTP/1.0 on a separate connection, if the daemon listens on a local socket.

    An HTTP/1.0 answer has no chunks (RFC 9112 section 7.1): the daemon would cut the archive into
    pieces of 32 KiB, each of which costs as much as reading a MiB.

    Returns:
        The archive; None if the SDK has to ask instead: another kind of connection, or an answer that is not
        an archive.
    """
    connection = _connection(client.url, client.timeout_s)
    if connection is None:
        return None
    query = urlencode([("names", name) for name in names])
    call = client.call("save")
    with contextlib.ExitStack() as opened:
        opened.callback(connection.close)
        with call:
            connection.request("GET", f"/v{client.api_version}/images/get?{query}")
            # The answer owns the socket from now on: it is the last one on the connection.
            answer = opened.enter_context(contextlib.closing(connection.getresponse()))
        if answer.status != requests.codes.ok:
            return None
        opened.pop_all()
    return _pieces(answer, call)


def _pieces(answer: http.client.HTTPResponse, call: Call) -> Iterator[bytes]:
    with contextlib.closing(answer):
        yield from call.pieces(iter(lambda: answer.read(_CHUNK), b""), _CHUNK)


class _Unix(http.client.HTTPConnection):
    _http_vsn = 10
    _http_vsn_str = "HTTP/1.0"

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(url: str, timeout_s: float) -> _Unix | None:
    path = url.removeprefix("unix://")
    return _Unix(path, timeout_s) if path != url else None


def _through_the_sdk(client: Daemon, what: str, names: Sequence[str]) -> Iterator[bytes]:
    call = client.call("save")
    with call:
        answer = client.get(
            api_url(client, "/images/get"),
            params={"names": list(names)},
            stream=True,
            timeout=client.timeout_s,
        )
    with answer:
        if not answer.ok:
            raise _refused(client, what, names, answer, call)
        yield from _chunks(answer, call)


def _chunks(answer: requests.Response, call: Call) -> Iterator[bytes]:
    # The daemon flushes every 32 KiB; larger pieces mean fewer calls for the consumers.
    pieces: list[bytes] = []
    size = 0
    for piece in call.pieces(answer.raw.stream(_CHUNK, decode_content=False), _CHUNK):
        pieces.append(piece)
        size += len(piece)
        if size >= _CHUNK:
            yield b"".join(pieces)
            pieces, size = [], 0
    if pieces:
        yield b"".join(pieces)


def _refused(
    client: Daemon, what: str, names: Sequence[str], answer: requests.Response, call: Call
) -> ReleaseError:
    message = client.message(answer, call)
    if answer.status_code == requests.codes.not_found:
        # The daemon does not say which image is missing.
        for name in names:
            try:
                client.inspect_image(name)  # type: ignore[no-untyped-call]  # untyped in types-docker
            except NotFound:
                return no_such_image(client.url, name)
    return daemon_error(client.url, what, message)


def _cut_short(url: str, what: str, tail: bytes) -> RemoteError:
    if found := _ERROR_LINE.search(tail):
        return daemon_error(url, what, found[1].decode("utf-8", "replace"))
    return RemoteError(
        f"{what}: the stream of the Docker daemon at {url} ended without the end of an archive",
        hint="the daemon may have been stopped, or its disk may be full: check its log",
        retryable=True,
    )
