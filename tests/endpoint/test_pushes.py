"""The writing half of the registry on loopback: what a daemon may send, and what is refused."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from jenkins_release.base.errors import ReleaseError
from jenkins_release.endpoint.pushes import Pushes
from jenkins_release.endpoint.server import MAX_CONNECTIONS, Login, LoopbackServer
from jenkins_release.oci.manifests import DOCKER_MANIFEST, sha256_digest
from jenkins_release.steps.candidate.push_intake import PushIntake
from tests.fixtures.share import eventually

LOGIN = Login.new()
UPLOADS = "/v2/jenkins-release/0/blobs/uploads/"
LAYER = gzip.compress(b"layer" * 1000)
DIGEST = sha256_digest(LAYER)


class Client:
    """Speaks to an endpoint as a daemon does."""

    def __init__(self, host: str, pushes: Pushes, intake: PushIntake) -> None:
        self.host, self.pushes, self.intake = host, pushes, intake

    def ask(
        self, method: str, path: str, body: Any = None, *, login: str = "", **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        given = login or f"{LOGIN.username}:{LOGIN.password}"
        headers = {"Authorization": f"Basic {b64encode(given.encode()).decode()}", **headers}
        with contextlib.closing(http.client.HTTPConnection(self.host, timeout=30)) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            found = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, found, json.loads(data) if data else None

    def begin(self) -> str:
        status, headers, _ = self.ask("POST", UPLOADS)
        assert status == 202
        return headers["location"]

    def raw(self, text: bytes) -> bytes:
        """Send bytes, and return the answer until the server closes."""
        host, _, port = self.host.partition(":")
        with socket.create_connection((host, int(port)), 30) as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            found = b""
            while piece := connection.recv(4096):
                found += piece
        return found

    def failure(self) -> ReleaseError:
        (found,) = self.pushes.failures
        return found


@pytest.fixture
def client() -> Iterator[Client]:
    with ThreadPoolExecutor(1) as pool:
        intake = PushIntake([], pool)
        pushes = Pushes(intake, LOGIN)
        with LoopbackServer(pushes.serve) as server:
            yield Client(server.host, pushes, intake)
        pushes.abandon()
        intake.close()


@pytest.mark.parametrize("pieces", [[LAYER], [LAYER[:1], LAYER[1:700], LAYER[700:]], []])
def test_a_layer_in_chunks_and_in_several_requests(client: Client, pieces: list[bytes]):
    location = client.begin()
    sent = 0
    for piece in pieces:
        status, headers, _ = client.ask("PATCH", location, iter([piece[:100], piece[100:]]))
        sent += len(piece)
        assert (status, headers["range"]) == (202, f"0-{sent - 1}")
    rest = LAYER[sent:]
    status, headers, _ = client.ask("PUT", f"{location}?digest={DIGEST}", rest)
    assert (status, headers["docker-content-digest"]) == (201, DIGEST)
    (layer,) = client.intake.layers.values()
    assert layer.diff_id == sha256_digest(gzip.decompress(LAYER))
    assert gzip.decompress(b"".join(layer.spool.pieces())) == gzip.decompress(LAYER)
    status, headers, _ = client.ask("HEAD", f"/v2/jenkins-release/0/blobs/{DIGEST}")
    assert (status, headers["content-length"]) == (200, str(len(LAYER)))


@pytest.mark.parametrize(
    ("body", "digest", "told"),
    [
        (LAYER, f"sha256:{'0' * 64}", f"but its bytes are {DIGEST}"),
        (LAYER[:-9], sha256_digest(LAYER[:-9]), "its gzip data ends too early"),
        (b"plain" * 300, sha256_digest(b"plain" * 300), "it is not compressed"),
        (b'{"config"', f"sha256:{'0' * 64}", "but its bytes are"),
        (b"", sha256_digest(b""), "it is not compressed"),
    ],
)
def test_what_is_not_what_the_daemon_says_is_not_taken(client: Client, body: bytes, digest: str, told: str):
    status, _, answer = client.ask("PUT", f"{client.begin()}?digest={digest}", body)
    assert (status, answer["errors"][0]["code"]) == (400, "DIGEST_INVALID")
    assert told in client.failure().message
    assert not client.intake.layers


def test_a_config_that_never_ends(client: Client):
    piece = b"{" * (1 << 20)
    with pytest.raises((OSError, http.client.HTTPException, AssertionError)):
        assert client.ask("PATCH", client.begin(), iter([piece] * 8))[0] == 202
    assert "a config of more than" in client.failure().message


@pytest.mark.parametrize("login", ["jenkins-release:guessed", "other:", ":"])
def test_nobody_else_may_push(client: Client, login: str):
    for method, path in [("GET", "/v2/"), ("POST", UPLOADS), ("HEAD", f"/v2/x/blobs/{DIGEST}")]:
        assert client.ask(method, path, login=login)[0] == 401
    assert not client.pushes.failures


def test_uploads_and_paths_that_are_not_there(client: Client):
    for method, path, code in [
        ("PATCH", f"{UPLOADS}{'0' * 32}", "BLOB_UPLOAD_UNKNOWN"),
        ("PUT", f"{UPLOADS}{'0' * 32}?digest={DIGEST}", "BLOB_UPLOAD_UNKNOWN"),
        ("GET", f"/v2/x/blobs/{DIGEST}", "BLOB_UNKNOWN"),
        ("GET", "/v2/x/manifests/1", "BLOB_UNKNOWN"),
        ("PUT", "/v2/../manifests/1", "BLOB_UNKNOWN"),
    ]:
        status, _, answer = client.ask(method, path)
        assert (status, answer["errors"][0]["code"]) == (404, code), path
    location = client.begin()
    assert client.ask("DELETE", location)[0] == 204
    assert client.ask("GET", location)[0] == 404


def test_a_mount_of_what_is_there(client: Client):
    """Docker asks with a digest of another repository."""
    status, headers, _ = client.ask("POST", f"{UPLOADS}?mount={DIGEST}&from=other")
    assert (status, headers["docker-content-digest"]) == (201, DIGEST)
    client.intake.require([DIGEST])
    assert client.ask("POST", f"{UPLOADS}?mount={DIGEST}&from=other")[0] == 202


@pytest.mark.parametrize(
    ("media_type", "body", "told"),
    [
        ("text/plain", b"{}", "a manifest of the type 'text/plain'"),
        (DOCKER_MANIFEST, b"x" * (4 << 20) + b"x", "a manifest of more than"),
    ],
)
def test_what_is_no_manifest(client: Client, media_type: str, body: bytes, told: str):
    headers = {"Content-Type": media_type}
    with contextlib.suppress(OSError, http.client.HTTPException):
        assert client.ask("PUT", "/v2/jenkins-release/0/manifests/candidate", body, **headers)[0] == 400
    assert told in client.failure().message


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 10\r\n\r\nshort",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 1_0\r\n\r\n0123456789",
        b"Transfer-Encoding: chunked\r\n\r\n0x5\r\n01234\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n+5\r\n01234\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n0123456\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n012",
        b"Transfer-Encoding: gzip\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\n01234\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 100,
    ],
)
def test_a_body_that_is_not_framed_is_forgotten(client: Client, framing: bytes):
    """Its connection ends; it is no failure, since a daemon tries again."""
    location = client.begin()
    login = b64encode(f"{LOGIN.username}:{LOGIN.password}".encode()).decode()
    head = f"PATCH {location} HTTP/1.1\r\nHost: {client.host}\r\nAuthorization: Basic {login}\r\n"
    assert b" 202 " not in client.raw(head.encode() + framing)
    assert not client.pushes.failures
    assert client.ask("GET", location)[0] == 404


def test_connections_of_somebody_else_do_not_hold_up_the_daemon(client: Client):
    """The oldest ones that did not log in are closed; a layer that is on its way goes on."""
    host, _, port = client.host.partition(":")
    login = b64encode(f"{LOGIN.username}:{LOGIN.password}".encode()).decode()
    head = f"PATCH {client.begin()} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {login}\r\n"
    with contextlib.ExitStack() as stack:

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection((host, int(port)), 30))

        daemon = connect()
        daemon.sendall(f"{head}Content-Length: 5\r\n\r\n\x1f\x8b".encode("latin-1"))
        # Its request is being answered before the others come.
        assert eventually(lambda: client.intake.begun == 1)
        held = [connect() for _ in range(MAX_CONNECTIONS * 4)]
        for each in held[::2]:
            each.sendall(b"GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\nSlow: ")
        assert client.ask("GET", "/v2/")[0] == 200
        assert held[0].recv(1) == b""
        daemon.sendall(b"\x08\0\0")
        assert daemon.recv(1 << 16).startswith(b"HTTP/1.1 202 ")


def test_a_client_that_speaks_tls_is_told_that_this_is_http(client: Client):
    """Docker tries HTTPS first. containerd goes on with HTTP only if it got an answer of HTTP."""
    assert client.raw(b"\x16\x03\x01\x02\x00\x01\x00" + bytes(100)).startswith(b"HTTP/1.0 400 ")
    assert client.ask("GET", "/v2/")[0] == 200
