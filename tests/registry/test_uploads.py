"""Blobs in parts, mounts and manifests, over the ECR front with a real registry behind it."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import requests

from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.base.waits import Stopped, ThreadGroup
from jenkins_release.registry import EcrRegistry, RegistryLogin
from jenkins_release.registry.protocol import (
    PART,
    BlobPart,
    LayersNotFound,
    RepositoryNotFound,
    TagConflict,
    UploadLost,
)
from jenkins_release.registry.transport import Transport, root_url
from jenkins_release.registry.uploads import RegistryUploads
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.sandbox.front.front import EcrFront
from tests.fixtures.ecr_push import OCI_MANIFEST, Pusher, digest_of
from tests.fixtures.silence import GENEROUS_S

NAME = "skydrm/rms"
DATA = bytes(range(256)) * (9 << 12)  # 9 MiB


@pytest.fixture
def blobs(registry: EcrRegistry) -> Iterator[RegistryUploads]:
    """The client under test, and one repository."""
    registry.create_repository(NAME)
    registry.create_repository("skydrm/viewer")
    store = RegistryUploads(Transport(registry.login))
    yield store
    store.close()


def send(blobs: RegistryUploads, data: bytes, name: str = NAME, part: int = PART) -> str:
    with blobs.upload(name) as upload:
        for start in range(0, len(data), part):
            upload.send(BlobPart([data[start : start + part]]))
        upload.finish(digest_of(data))
    return digest_of(data)


def persistently(action: Callable[[], None]) -> int:
    """Try until it succeeds; returns how often it failed."""
    for failures in range(5):
        try:
            action()
        except RemoteError as error:
            assert error.retryable, error
        else:
            return failures
    raise AssertionError("it never succeeded")


@pytest.mark.parametrize("size", [0, 1, 1000, PART, PART + 1, len(DATA)])
def test_a_blob_arrives_whole(blobs: RegistryUploads, pusher: Pusher, size: int):
    """In parts of 5 to 10 MiB, as ECR wants them."""
    digest = send(blobs, DATA[:size])
    assert blobs.holds(NAME, digest)
    assert pusher.call("GET", f"{NAME}/blobs/{digest}").content == DATA[:size]


@pytest.mark.parametrize("size", [1, 1000, len(DATA)])
@pytest.mark.parametrize("known", [True, False], ids=["known size", "unknown size"])
def test_a_blob_arrives_whole_in_one_request(
    blobs: RegistryUploads, ecr: EcrFront, pusher: Pusher, size: int, known: bool
):
    """However its pieces are cut."""
    data = DATA[:size]
    pieces = (data[at : at + 300_000] for at in range(0, size, 300_000))
    with blobs.upload(NAME) as upload:
        upload.stream(pieces, size if known else None)
        upload.finish(digest_of(data))
    assert pusher.call("GET", f"{NAME}/blobs/{digest_of(data)}").content == data
    assert [r.method for r in ecr.requests.all() if "/blobs/uploads/" in r.path] == ["POST", "PATCH", "PUT"]


def test_a_failure_of_the_source_ends_the_request(blobs: RegistryUploads, ecr: EcrFront):
    """It is told as it is, and the registry does not take the beginning for the whole."""

    def broken() -> Iterator[bytes]:
        yield DATA
        raise IntegrityError("the layer is not what was recorded")

    with pytest.raises(IntegrityError, match="not what was recorded"), blobs.upload(NAME) as upload:
        upload.stream(broken())
    assert ecr.requests.all()[-1].method == "DELETE"
    assert blobs.holds(NAME, send(blobs, b"on the same connections"))


def test_an_answer_that_comes_too_early_is_no_success(raw_socket: socket.socket):
    """A proxy may answer before it has read the request: what it did not read has not arrived."""
    port = raw_socket.getsockname()[1]
    store = RegistryUploads(Transport(lambda: RegistryLogin(f"127.0.0.1:{port}", "AWS", "x")))
    place = f"/v2/{NAME}/blobs/uploads/1"

    def serve() -> None:
        for head in (f"202 x\r\nLocation: {place}", f"202 x\r\nLocation: {place}\r\nRange: 0-9"):
            connection, _ = raw_socket.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(
                    f"HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
                )
                connection.shutdown(socket.SHUT_WR)

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    with pytest.raises(RemoteError) as caught:
        store.upload(NAME).stream(itertools.repeat(bytes(1 << 20), 64))
    assert caught.value.retryable
    server.join()
    store.close()


def test_a_request_that_nobody_reads_ends_with_its_group(raw_socket: socket.socket):
    """As when another layer has failed, or after Ctrl-C."""
    port = raw_socket.getsockname()[1]
    store = RegistryUploads(Transport(lambda: RegistryLogin(f"127.0.0.1:{port}", "AWS", "x")))
    place, group = f"/v2/{NAME}/blobs/uploads/1", ThreadGroup()
    blocked, kept = threading.Event(), []

    def serve() -> None:
        connection, _ = raw_socket.accept()
        kept.append(connection)
        connection.recv(1 << 16)
        connection.sendall(f"HTTP/1.1 202 x\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode())
        connection.recv(1)
        blocked.set()

    def end() -> None:
        assert blocked.wait(GENEROUS_S)
        group.end()

    others = [threading.Thread(target=each, daemon=True) for each in (serve, end)]
    for each in others:
        each.start()
    upload = store.upload(NAME)
    with pytest.raises(Stopped):
        group.run(upload.stream, itertools.repeat(bytes(1 << 20)))
    for each in others:
        each.join()
    kept[0].close()
    store.close()


@pytest.fixture
def raw_socket() -> Iterator[socket.socket]:
    """Takes connections; what it says is up to the test."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(GENEROUS_S)
        yield listening


@pytest.mark.parametrize("size", [0, 1, len(DATA)])
def test_a_blob_is_read_in_pieces(blobs: RegistryUploads, size: int):
    """As it was sent."""
    digest = send(blobs, DATA[:size])
    pieces = list(blobs.read(NAME, digest))
    assert b"".join(pieces) == DATA[:size]
    assert all(len(piece) <= 1 << 20 for piece in pieces)


def test_a_blob_that_cannot_be_read_says_so(blobs: RegistryUploads, ecr: EcrFront):
    """A missing one, and one whose bytes end too soon: that is worth another attempt."""
    with pytest.raises(RemoteError, match="cannot read sha256:"):
        list(blobs.read(NAME, digest_of(b"nothing")))
    digest = send(blobs, DATA)
    ecr.faults.add(Fault(method="GET", path="/blobs/", reset_response_after=1 << 20))
    with pytest.raises(RemoteError, match="cannot read") as caught:
        list(blobs.read(NAME, digest))
    assert caught.value.retryable
    assert b"".join(blobs.read(NAME, digest)) == DATA


def test_a_missing_blob_is_missing(blobs: RegistryUploads):
    """HEAD tells."""
    assert not blobs.holds(NAME, digest_of(b"nothing"))


@pytest.mark.parametrize("after", [0, 1, 300_000, 6 << 20])
def test_an_interrupted_part_goes_on_where_it_broke_off(
    blobs: RegistryUploads, ecr: EcrFront, pusher: Pusher, after: int
):
    """The registry is asked how far it has come; the parts that it has are not sent again."""
    ecr.faults.add(Fault(method="PATCH", skip=1, reset_request_after=after))
    with blobs.upload(NAME) as upload:
        upload.send(BlobPart([DATA[:PART]]))
        assert persistently(lambda: upload.send(BlobPart([DATA[PART:] + DATA[:PART]]))) == 1
        upload.finish(digest_of(DATA + DATA[:PART]))
    assert ecr.faults.pending() == []
    assert pusher.call("GET", f"{NAME}/blobs/{digest_of(DATA + DATA[:PART])}").content == DATA + DATA[:PART]
    assert [r.method for r in ecr.requests.all() if "/blobs/uploads/" in r.path].count("GET") == 1


def test_a_lost_answer_does_not_send_a_part_twice(blobs: RegistryUploads, ecr: EcrFront):
    """The part had arrived: only the question is new."""
    ecr.faults.add(Fault(method="PATCH", reset_response_after=0))
    with blobs.upload(NAME) as upload:
        assert persistently(lambda: upload.send(BlobPart([DATA[:PART]]))) == 1
        upload.send(BlobPart([DATA[PART:]]))
        upload.finish(digest_of(DATA))
    received = sum(r.received for r in ecr.requests.all() if r.method == "PATCH")
    assert received == len(DATA)


def test_an_upload_that_the_registry_forgot_is_told_apart(
    blobs: RegistryUploads, ecr: EcrFront, pusher: Pusher
):
    """Whoever sends starts over."""
    ecr.faults.add(Fault(method="PATCH", skip=1, reset_request_after=0))
    with pytest.raises(UploadLost), blobs.upload(NAME) as upload:
        upload.send(BlobPart([DATA[:PART]]))
        with pytest.raises(RemoteError):
            upload.send(BlobPart([DATA[PART:]]))
        pusher.call("DELETE", ecr.endpoint + upload._location)
        upload.send(BlobPart([DATA[PART:]]))


def test_an_unfinished_upload_is_cancelled(blobs: RegistryUploads, ecr: EcrFront):
    """Nothing is left in the registry."""
    with pytest.raises(IntegrityError), blobs.upload(NAME) as upload:
        upload.send(BlobPart([DATA[:PART]]))
        raise IntegrityError("the layer is not what was recorded")
    assert ecr.requests.all()[-1].method == "DELETE"


def test_another_digest_than_was_sent_is_refused(blobs: RegistryUploads):
    """Bytes that were changed on the way never become a blob."""
    with pytest.raises(IntegrityError, match="DIGEST_INVALID"), blobs.upload(NAME) as upload:
        upload.send(BlobPart([b"something"]))
        upload.finish(digest_of(b"something else"))
    assert not blobs.holds(NAME, digest_of(b"something else"))


def test_an_expired_token_is_minted_anew(blobs: RegistryUploads, ecr: EcrFront):
    """The request that found out fails as retryable, the next one has a fresh login."""
    send(blobs, b"before")
    ecr.state.expire_tokens()
    assert persistently(lambda: send(blobs, b"after")) == 1


def test_a_busy_registry_is_worth_another_attempt(blobs: RegistryUploads, ecr: EcrFront):
    """Its Retry-After is handed on."""
    ecr.faults.add(
        Fault(method="POST", path="/blobs/uploads/", status=429, code="TOOMANYREQUESTS", retry_after=7)
    )
    with pytest.raises(RemoteError) as caught:
        blobs.upload(NAME)
    assert (caught.value.retryable, caught.value.retry_after) == (True, 7.0)


def test_a_missing_repository_is_named(blobs: RegistryUploads):
    """ECR creates none by a push."""
    with pytest.raises(RepositoryNotFound, match="skydrm/none"):
        blobs.upload("skydrm/none")


def test_the_login_is_never_sent_to_another_host(blobs: RegistryUploads, ecr: EcrFront, monkeypatch):
    """A Location that leads elsewhere ends the upload."""
    real = requests.Session.request

    def misled(self: requests.Session, *arguments: object, **named: object) -> requests.Response:
        answer = real(self, *arguments, **named)  # type: ignore[arg-type]
        answer.headers["Location"] = "http://evil.example/v2/x"
        return answer

    monkeypatch.setattr(requests.Session, "request", misled)
    with pytest.raises(RemoteError, match=r"evil\.example"):
        blobs.upload(NAME)


def test_a_registry_that_does_not_mount_says_so(blobs: RegistryUploads, ecr: EcrFront):
    """ECR's default; the upload that it began is cancelled."""
    digest = send(blobs, b"shared")
    assert blobs.mount("skydrm/viewer", digest, NAME) is False
    assert not blobs.holds("skydrm/viewer", digest)
    assert ecr.requests.labels()[-2].startswith("DELETE")


def test_a_blob_is_mounted_only_from_where_it_is(front, monkeypatch):
    """An account that opted in: 201 where the other repository holds it, an upload where it does not."""
    ecr = front(blob_mounting=True)
    for name, value in ecr.environment().items():
        monkeypatch.setenv(name, value)
    registry = EcrRegistry(ecr.state.region)
    assert registry.mounts_blobs()
    for name in (NAME, "skydrm/viewer"):
        registry.create_repository(name)
    blobs = RegistryUploads(Transport(registry.login))
    digest = send(blobs, b"shared")
    assert blobs.mount("skydrm/viewer", digest, NAME)
    assert registry.missing_layers("skydrm/viewer", [digest]) == set()
    assert not blobs.mount("skydrm/viewer", digest_of(b"nowhere"), NAME)
    assert not blobs.mount("skydrm/viewer", digest_of(b"nowhere"), "skydrm/none")
    blobs.close()


def test_an_account_without_mounting_is_recognised(registry: EcrRegistry, ecr: EcrFront):
    """``GetAccountSetting`` says DISABLED, and is called once, however many plans a promotion makes."""
    assert registry.mounts_blobs() is False
    assert registry.mounts_blobs() is False
    assert ecr.requests.count("GetAccountSetting") == 1


def test_a_manifest_needs_its_blobs(blobs: RegistryUploads):
    """What is missing is told apart from other failures, to be sent again."""
    config = {"mediaType": "application/octet-stream", "digest": digest_of(b"{}"), "size": 2}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []}
    data = json.dumps(document).encode()
    with pytest.raises(LayersNotFound):
        blobs.put_manifest(NAME, "1", OCI_MANIFEST, data)
    send(blobs, b"{}")
    assert blobs.put_manifest(NAME, "1", OCI_MANIFEST, data) == digest_of(data)
    with pytest.raises(TagConflict):
        blobs.put_manifest(NAME, "1", OCI_MANIFEST, data)


def test_ecr_wants_parts_in_order_and_large_enough(blobs: RegistryUploads, pusher: Pusher):
    """The front refuses as ECR does: a gap, a small part before another one, a part above 10 MiB.

    It answers as ECR does too: with 201, and the range of the first part.
    """
    begun = pusher.call("POST", f"{NAME}/blobs/uploads/").headers["Location"]

    def patch(first: int, data: bytes) -> int:
        nonlocal begun
        headers = {"Content-Range": f"{first}-{first + len(data) - 1}"}
        answer = pusher.call("PATCH", begun, data=data, headers=headers)
        begun = answer.headers.get("Location", begun)
        assert answer.headers.get("Range", "0-5242879") == "0-5242879"
        return answer.status_code

    assert patch(0, bytes((10 << 20) + 1)) == 416
    assert patch(0, DATA[:PART]) == 201
    assert patch(PART + 1, b"gap") == 416
    assert patch(PART, b"small") == 201
    assert patch(PART + 5, b"after a small one") == 400


def test_only_loopback_is_reached_without_tls():
    """A token is a password."""
    assert root_url("127.0.0.1:5000") == "http://127.0.0.1:5000"
    assert root_url("123456789012.dkr.ecr.us-east-1.amazonaws.com").startswith("https://")
    assert root_url("127.evil.example").startswith("https://")


def test_the_password_is_in_no_message_and_no_repr(blobs: RegistryUploads):
    """Neither while it works nor when it fails."""
    store = RegistryUploads(Transport(lambda: RegistryLogin("127.0.0.1:1", "AWS", "hunter2")))
    with pytest.raises(RemoteError) as caught:
        store.upload(NAME)
    assert "hunter2" not in f"{caught.value!r} {caught.value.diagnostics()} {store!r}"
