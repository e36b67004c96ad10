"""The reading half of the registry on loopback, and those who do not ask as a client does."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from jenkins_release.base.errors import IntegrityError
from jenkins_release.endpoint.protocol import ServedBlob
from jenkins_release.endpoint.pulls import MAX_BLOBS, Pulls
from jenkins_release.endpoint.server import MAX_CONNECTIONS, LoopbackServer
from jenkins_release.oci.manifests import RawManifest
from tests.fixtures.share import eventually

PIECE, PIECES = bytes(1 << 20), 8
WHOLE = PIECE * PIECES
DIGEST = f"sha256:{'0' * 64}"
BLOB = f"/v2/rms/blobs/{DIGEST}"


class Contents:
    """One repository with one blob. Counts how often that is being read."""

    def __init__(self) -> None:
        self.reading = self.most = 0

    def repositories(self) -> Sequence[str]:
        return ["rms"]

    def tags(self, repository: str) -> Sequence[str]:
        return ["1"]

    def manifest(self, repository: str, reference: str) -> RawManifest | None:
        raise IntegrityError("the archive was altered")

    def blob(self, repository: str, digest: str) -> ServedBlob | None:
        return ServedBlob(len(WHOLE), self._read)

    def _read(self, first: int, last: int) -> Iterator[bytes]:
        self.reading += 1
        self.most = max(self.most, self.reading)
        try:
            for _ in range(PIECES):
                yield PIECE
        finally:
            self.reading -= 1


@pytest.fixture
def contents() -> Contents:
    return Contents()


@pytest.fixture
def pulls(contents: Contents) -> Pulls:
    return Pulls(contents)


@pytest.fixture
def host(pulls: Pulls) -> Iterator[str]:
    with LoopbackServer(pulls.serve) as server:
        yield server.host


def get(host: str, path: str, **headers: str) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection(host, timeout=30)) as connection:
        connection.request("GET", path, headers={name.replace("_", "-"): it for name, it in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()


@contextlib.contextmanager
def connected(host: str, number: int, send: bytes) -> Iterator[list[socket.socket]]:
    """Open connections, and send something on each."""
    address = host.split(":")[0], int(host.split(":")[1])
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(number):
            found.append(stack.enter_context(socket.create_connection(address, 30)))
            with contextlib.suppress(OSError):
                found[-1].sendall(send)
        yield found


@pytest.fixture
def threads() -> Callable[[], int]:
    """Return what counts the threads of connections; those of other servers of this process are not ours."""
    others = set(threading.enumerate())

    def count() -> int:
        return sum("process_request_thread" in it.name for it in set(threading.enumerate()) - others)

    return count


@pytest.mark.parametrize(
    "send",
    [b"", b"GET /v2/ HTTP/1.1\r\nHost: 127", b"GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"],
    ids=["idle", "half a request", "a request before"],
)
def test_connections_that_ask_for_nothing_keep_nobody_out(host: str, send: bytes, threads: Callable[[], int]):
    """The one that has waited longest makes room."""
    with connected(host, 2 * MAX_CONNECTIONS, send):
        assert get(host, "/v2/") == (200, b"{}")
        assert eventually(lambda: threads() <= MAX_CONNECTIONS + 1)
    assert eventually(lambda: threads() == 0)


def test_clients_that_read_nothing_take_bounded_memory(host: str, contents: Contents):
    """Layers are read for so many of them at a time; the others wait, and get theirs."""
    request = f"GET {BLOB} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    with connected(host, 3 * MAX_BLOBS, request) as waiting:
        assert eventually(lambda: contents.reading == MAX_BLOBS)
        assert get(host, "/v2/") == (200, b"{}")
        for each in waiting[MAX_BLOBS - 1 :]:
            each.close()
        assert get(host, BLOB) == (200, WHOLE)
    assert contents.most == MAX_BLOBS
    assert eventually(lambda: contents.reading == 0)


def test_the_server_ends_while_clients_wait(pulls: Pulls, contents: Contents, threads: Callable[[], int]):
    with LoopbackServer(pulls.serve) as server:
        request = f"GET {BLOB} HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode()
        with connected(server.host, 2 * MAX_BLOBS, request):
            assert eventually(lambda: contents.reading == MAX_BLOBS)
            begun = time.monotonic()
            server.__exit__(None, None, None)
            assert time.monotonic() - begun < 2
            assert threads() == 0


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}],
    ids=str,
)
def test_pages_in_a_browser_are_not_answered(host: str, contents: Contents, headers: dict[str, str]):
    """They could not read a layer, but make the share send it."""
    assert get(host, BLOB, **headers)[0] == 403
    assert contents.most == 0
    assert get(host, "/v2/", Sec_Fetch_Site="none")[0] == 200


def test_a_manifest_that_was_altered_is_a_failure(host: str, pulls: Pulls):
    """The client gets an answer, and whoever serves learns why."""
    assert get(host, "/v2/rms/manifests/1")[0] == 500
    with pytest.raises(IntegrityError, match="the archive was altered"):
        pulls.check()
