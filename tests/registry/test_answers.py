"""What a registry says is bounded, parsed strictly, and believed only where it fits what was asked."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial

import pytest

from jenkins_release.base.errors import IntegrityError, ReleaseError, RemoteError
from jenkins_release.base.waits import Limits
from jenkins_release.http import exchange
from jenkins_release.oci.manifests import OCI_MANIFEST, sha256_digest
from jenkins_release.registry.distribution import DistributionRegistry
from jenkins_release.registry.protocol import BlobPart, RegistryLogin, UploadLost
from jenkins_release.registry.transport import Transport
from jenkins_release.registry.uploads import RegistryUploads
from tests.fixtures.cross import some_pairs
from tests.fixtures.key_access import key_access
from tests.fixtures.raw_server import Part as Said
from tests.fixtures.raw_server import RawServer, Request, Speech, answer, drip, flood, stall
from tests.fixtures.silence import GENEROUS_S
from tests.fixtures.together import Together

NAME, DATA = "skydrm/rms", b"a layer"
DIGEST, OTHER = sha256_digest(DATA), sha256_digest(b"another one")
PLACE = f"/v2/{NAME}/blobs/uploads/1"
MOST = 32 << 20
"""Bytes that no answer may take in memory."""


@pytest.fixture
def blobs(raw_server: RawServer) -> Iterator[RegistryUploads]:
    """The client under test; a second is long."""
    with closing(_blobs(raw_server)) as made:
        yield made


def _blobs(server: RawServer) -> RegistryUploads:
    login = RegistryLogin(server.host, "AWS", "hunter2")
    return RegistryUploads(Transport(lambda: login, limits=Limits(1.0)))


@pytest.fixture
def distribution(raw_server: RawServer) -> Iterator[DistributionRegistry]:
    """The other client."""
    made = DistributionRegistry(raw_server.host, limits=Limits(1.0))
    yield made
    made.close()


def registry(request: Request) -> bytes:
    """Answer as a registry does that has nothing and takes everything."""
    if request.method == "POST":
        return answer(202, Location=PLACE)
    if request.method == "PATCH":
        return answer(202, Location=PLACE, Range=f"0-{len(request.body) - 1}")
    if request.method == "PUT":
        return answer(201)
    return answer(204 if request.method in {"GET", "DELETE"} else 404)


def send(blobs: RegistryUploads) -> None:
    with blobs.upload(NAME) as upload:
        upload.send(BlobPart([DATA]))
        upload.finish(DIGEST)


def stream(blobs: RegistryUploads) -> None:
    with blobs.upload(NAME) as upload:
        upload.stream([DATA[:3], DATA[3:]])
        upload.finish(DIGEST)


CALLS: dict[str, Callable[[RegistryUploads], object]] = {
    "HEAD": lambda blobs: blobs.holds(NAME, DIGEST, len(DATA)),
    "POST": send,
    "PATCH": send,
    "stream": stream,
    "PUT": send,
    "mount": lambda blobs: blobs.mount(NAME, DIGEST, "skydrm/base"),
    "manifest": lambda blobs: blobs.put_manifest(NAME, "8.1.0", OCI_MANIFEST, DATA),
    "GET": lambda blobs: b"".join(blobs.read(NAME, DIGEST)),
}


def spoiled(raw_server: RawServer, call: str, said: Speech) -> None:
    """Let the server answer the call's own request so, and all others well."""
    method = {"mount": "POST", "manifest": "PUT", "stream": "PATCH"}.get(call, call)
    raw_server.speech = lambda request: said(request) if request.method == method else registry(request)


MEBI = b"x" * (1 << 20)
ENDLESS: dict[str, Callable[[], Iterator[Said]]] = {
    "a body": lambda: flood(b"HTTP/1.1 500 x\r\n\r\n", MEBI),
    "a body of a certain length": lambda: flood(
        b"HTTP/1.1 500 x\r\nContent-Length: 99999999999\r\n\r\n", MEBI
    ),
    "chunks": lambda: flood(
        b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + MEBI + b"\r\n"
    ),
    "a chunk of negative size": lambda: flood(
        b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", MEBI
    ),
    "a chunk's size": lambda: flood(
        b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1" * (1 << 20)
    ),
    "a status line": lambda: flood(b"HTTP/1.1 ", MEBI),
    "a header": lambda: flood(b"HTTP/1.1 202 x\r\nLocation: ", MEBI),
    "headers": lambda: flood(b"HTTP/1.1 202 x\r\n", b"X: y\r\n"),
    "interim answers": lambda: flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body after success": lambda: flood(b"HTTP/1.1 201 x\r\n\r\n", MEBI),
    "a redirect": lambda: flood(b"HTTP/1.1 307 x\r\nLocation: http://127.0.0.1:1/\r\n\r\n", MEBI),
}


@pytest.mark.parametrize(
    ("what", "call"),
    # Whoever reads a blob bounds what is read.
    [pair for pair in some_pairs(ENDLESS, CALLS, 3) if pair != ("a body after success", "GET")],
)
def test_an_endless_answer_takes_neither_memory_nor_time(
    blobs: RegistryUploads, raw_server: RawServer, call: str, what: str
):
    """3 GB after a 500 took as much memory."""
    spoiled(raw_server, call, lambda _: ENDLESS[what]())
    begun = time.monotonic()
    tracemalloc.start()
    try:
        CALLS[call](blobs)
    except ReleaseError as error:
        assert "hunter2" not in str(error.diagnostics())
        assert len(str(error)) < 2000
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MOST
    assert time.monotonic() - begun < GENEROUS_S


STALLED: dict[str, Callable[[RawServer, RegistryUploads], object]] = {
    "an answer": lambda _, blobs: blobs.mount(NAME, DIGEST, "skydrm/base"),
    "a blob": lambda _, blobs: b"".join(blobs.read(NAME, DIGEST)),
    "a manifest": lambda server, _: DistributionRegistry(server.host, limits=Limits(0.3, 1)).manifest(
        NAME, "1"
    ),
}


@pytest.mark.parametrize("what", STALLED)
def test_a_body_of_which_no_more_comes(raw_server: RawServer, monkeypatch: pytest.MonkeyPatch, what: str):
    """The library's own limit for a read is the first to end where a whole piece may take longer."""
    monkeypatch.setattr(exchange, "SLACK_S", 0.1)
    raw_server.speech = lambda _: stall(b"HTTP/1.1 200 x\r\nContent-Length: 99\r\n\r\nhalf")
    login = RegistryLogin(raw_server.host, "AWS", "hunter2")
    blobs = RegistryUploads(Transport(lambda: login, limits=Limits(0.3, 1, "network.answer_s")))
    with pytest.raises(RemoteError, match="did not answer in time") as caught:
        STALLED[what](raw_server, blobs)
    blobs.close()
    assert caught.value.retryable


SLOW: dict[str, Callable[[], Iterator[Said] | None]] = {
    "nothing": lambda: None,
    "a status line": lambda: drip(b"HTTP/1.1 2", b"0"),
    "headers": lambda: drip(b"HTTP/1.1 202 x\r\nX: ", b"y"),
    "a body": lambda: drip(b"HTTP/1.1 500 x\r\nContent-Length: 9999\r\n\r\n", b"y"),
}


def _slow(what: str, call: str) -> tuple[str, RemoteError]:
    begun = time.monotonic()
    with RawServer(registry) as server, closing(_blobs(server)) as blobs:
        spoiled(server, call, lambda _: SLOW[what]())
        with pytest.raises(RemoteError) as caught:
            CALLS[call](blobs)
    assert time.monotonic() - begun < GENEROUS_S
    return server.host, caught.value


slow = Together({(what, call): partial(_slow, what, call) for what in SLOW for call in CALLS})


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("what", SLOW)
def test_a_slow_answer_ends_and_may_be_asked_for_again(call: str, what: str):
    """One byte a second kept a promotion waiting for ever."""
    host, error = slow((what, call))
    assert error.retryable
    if what != "a body":
        assert f"{host} did not answer in time" in str(error)
    # These limits come from no setting.
    assert "network." not in f"{error} {error.hint}"


PLACES = [
    "http://[::1/\u00e4 x",
    "http://[::1/x",
    "http://127.0.0.1:99999999/x",
    "http://127.0.0.1:x/y",
    "ftp://127.0.0.1/x",
    "/v2/\u00e4",
    "/v2/a b",
    "http://evil.example/v2/x",
    "http://u:p@evil.example/v2/x",
    "x" * 60_000,
    "",
]


@pytest.mark.parametrize("place", PLACES, ids=range(len(PLACES)))
@pytest.mark.parametrize("call", ["POST", "PATCH", "mount", "GET"])
def test_a_location_that_is_none_is_the_registrys_fault(
    blobs: RegistryUploads, raw_server: RawServer, call: str, place: str
):
    """Not a bug of ours with status 70; and the login goes nowhere else."""
    status = 307 if call == "GET" else 202
    spoiled(raw_server, call, lambda _: answer(status, Location=place, Range=f"0-{len(DATA) - 1}"))
    with pytest.raises(RemoteError):
        CALLS[call](blobs)


@pytest.mark.parametrize(
    "stated", ["0-" + "9" * 5000, "0-", "0--1", "1-6", "0-\u00b2", "bytes=0-x", "0-6,7-8", ""]
)
def test_a_range_that_is_none_is_the_registrys_fault(
    blobs: RegistryUploads, raw_server: RawServer, stated: str
):
    spoiled(raw_server, "PATCH", lambda _: answer(202, Location=PLACE, Range=stated))
    with pytest.raises(RemoteError, match="names the range"):
        send(blobs)


@pytest.mark.parametrize("stated", ["0-5", "0-7", "0-999999999999999"])
def test_an_upload_with_other_bytes_than_were_sent_is_lost(
    blobs: RegistryUploads, raw_server: RawServer, stated: str
):
    spoiled(raw_server, "PATCH", lambda _: answer(202, Location=PLACE, Range=stated))
    with pytest.raises(RemoteError, match="cannot continue"):
        send(blobs)


def test_a_range_that_stays_at_the_first_part_is_no_loss(blobs: RegistryUploads, raw_server: RawServer):
    """ECR answers so, with 201 (aws/containers-roadmap #2831); the digest decides."""
    spoiled(raw_server, "PATCH", lambda _: answer(201, Location=PLACE, Range=f"0-{len(DATA) - 1}"))
    with blobs.upload(NAME) as upload:
        for _ in range(3):
            upload.send(BlobPart([DATA]))
        upload.finish(sha256_digest(DATA * 3))
    assert [request.method for request in raw_server.requests] == ["POST", "PATCH", "PATCH", "PATCH", "PUT"]


@pytest.mark.parametrize("code", ["DIGEST_INVALID", "BLOB_UPLOAD_INVALID"])
def test_a_range_that_stays_behind_a_loss_is_found_by_the_digest(
    blobs: RegistryUploads, raw_server: RawServer, code: str
):
    """The upload is lost, and sent again."""

    def forgetful(request: Request) -> bytes:
        if request.method == "PATCH":
            return answer(201, Location=PLACE, Range=f"0-{len(DATA) - 1}")
        if request.method == "PUT":
            return answer(400, json.dumps({"errors": [{"code": code, "message": "no"}]}).encode())
        return registry(request)

    raw_server.speech = forgetful
    with pytest.raises(UploadLost, match="does not have the digest"), blobs.upload(NAME) as upload:
        upload.send(BlobPart([DATA]))
        upload.send(BlobPart([DATA]))
        upload.finish(sha256_digest(DATA * 2))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("PUT", answer(201, Docker_Content_Digest=OTHER)),
        ("PUT", answer(201, Docker_Content_Digest="")),
        ("mount", answer(201, Docker_Content_Digest=OTHER)),
        ("manifest", answer(201, Docker_Content_Digest=OTHER)),
        ("HEAD", answer(200, Docker_Content_Digest=OTHER, Content_Length="7")),
        ("HEAD", answer(200, Docker_Content_Digest=DIGEST, Content_Length="8")),
        ("HEAD", answer(200, Content_Length="\u00b2")),
    ],
    ids=range(7),
)
def test_another_digest_or_size_than_was_asked_for_is_refused(
    blobs: RegistryUploads, raw_server: RawServer, call: str, said: bytes
):
    spoiled(raw_server, call, lambda _: said)
    with pytest.raises(IntegrityError):
        CALLS[call](blobs)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\0\0\0\0",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 000 x\r\n\r\n",
        b"HTTP/1.1 99999 x\r\n\r\n",
        b"HTTP/1.1 \xc2\xb2 x\r\n\r\n",
        b"HTTP/9.9 202 x\r\n\r\n",
        b"HTTP/1.1 103 x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 202 x\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 202 x\r\nContent-Length: 5, 6\r\n\r\n",
        b"HTTP/1.1 500 x\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08garbage",
        b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 500 x\r\n\r\n" + b"[" * 60_000,
        b'HTTP/1.1 500 x\r\n\r\n{"errors": [{"code": {"a": 1}, "message": ["\x1b[31m"]}]}',
        b'HTTP/1.1 500 x\r\n\r\n{"errors": [7]}',
        b'HTTP/1.1 500 x\r\n\r\n{"errors": {"0": 7}}',
        b'HTTP/1.1 500 x\r\n\r\n{"errors": [{"message": "\\ud800"}]}',
        b"HTTP/1.1 429 x\r\nRetry-After: Mon, 99 Foo 99999999999 99:99:99 GMT\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 301 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=range(20),
)
@pytest.mark.parametrize("call", CALLS)
def test_nonsense_is_an_error_of_the_registry(
    blobs: RegistryUploads, raw_server: RawServer, call: str, said: bytes
):
    """Nothing that comes over the wire is a bug of ours."""
    spoiled(raw_server, call, lambda _: said or b"\r\n")
    if call == "HEAD" and b" 301 " in said:
        assert CALLS[call](blobs) is True
        return
    with pytest.raises(ReleaseError) as caught:
        CALLS[call](blobs)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("cut", [10, 20, 60, 100])
def test_headers_that_break_off_are_no_answer(blobs: RegistryUploads, raw_server: RawServer, cut: int):
    """http.client takes them for whole."""
    whole = answer(201, Docker_Content_Digest=DIGEST, X="y" * 60)
    spoiled(raw_server, "manifest", lambda _: whole[:cut])
    with pytest.raises(RemoteError, match="broke") as caught:
        CALLS["manifest"](blobs)
    assert caught.value.retryable


@pytest.mark.parametrize("call", [call for call in CALLS if call != "HEAD"])
def test_a_success_whose_body_breaks_off_is_no_answer(
    blobs: RegistryUploads, raw_server: RawServer, call: str
):
    """Whoever cut it may have lost a header as well: it is asked for again, or looked up."""
    cut = answer(201 if call in {"PUT", "mount", "manifest"} else 202, Content_Length=100)
    spoiled(raw_server, call, lambda _: cut)
    with pytest.raises(RemoteError) as caught:
        CALLS[call](blobs)
    assert caught.value.retryable


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("kind", ["seconds", "date", "past", "far"])
def test_a_wait_is_asked_for_in_seconds_or_as_a_date(
    blobs: RegistryUploads, distribution: DistributionRegistry, raw_server: RawServer, status: int, kind: str
):
    """RFC 9110 section 10.2.3."""
    now = datetime.now(UTC)
    stated = {
        "seconds": "600",
        "date": format_datetime(now + timedelta(seconds=600), usegmt=True),
        "past": format_datetime(now - timedelta(days=1), usegmt=True),
        "far": "999999999999999",
    }[kind]
    raw_server.speech = lambda _: answer(status, Retry_After=stated)
    for call in (lambda: blobs.upload(NAME), lambda: distribution.manifest(NAME, "8.1.0")):
        with pytest.raises(RemoteError) as caught:
            call()
        assert caught.value.retryable
        expected = {"seconds": 600.0, "date": 600.0, "past": 0.0, "far": 999999999999999.0}[kind]
        assert caught.value.retry_after == pytest.approx(expected, abs=GENEROUS_S)


@pytest.mark.parametrize("arrived", [True, False])
def test_a_blob_whose_answer_was_lost_is_looked_up(
    blobs: RegistryUploads, raw_server: RawServer, arrived: bool
):
    """Before it is sent again, or called lost."""
    puts = 0

    def lose_first(request: Request) -> bytes:
        nonlocal puts
        if request.method == "HEAD":
            return answer(200, Content_Length=str(len(DATA))) if arrived else answer(404)
        if request.method != "PUT":
            return registry(request)
        puts += 1
        return b"\r\n" if puts == 1 else registry(request)

    raw_server.speech = lose_first
    with blobs.upload(NAME) as upload:
        upload.send(BlobPart([DATA]))
        with pytest.raises(RemoteError):
            upload.finish(DIGEST)
        upload.finish(DIGEST)
    methods = [request.method for request in raw_server.requests]
    assert methods == ["POST", "PATCH", "PUT", "HEAD"] if arrived else ["POST", "PATCH", "PUT", "HEAD", "PUT"]


def test_a_blob_that_a_proxy_sent_twice_is_there(blobs: RegistryUploads, raw_server: RawServer):
    """The registry forgot the upload because it kept the blob."""

    def twice(request: Request) -> bytes:
        if request.method == "HEAD":
            return answer(200, Content_Length=str(len(DATA)))
        return answer(404) if request.method == "PUT" else registry(request)

    raw_server.speech = twice
    send(blobs)


MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST}).encode()


@pytest.mark.parametrize("place", PLACES, ids=range(len(PLACES)))
@pytest.mark.parametrize("where", ["redirect", "realm"])
def test_the_other_client_refuses_them_too(
    distribution: DistributionRegistry, raw_server: RawServer, where: str, place: str
):
    said = (
        answer(307, Location=place)
        if where == "redirect"
        else answer(401, WWW_Authenticate=f'Bearer realm="{place}"')
    )
    raw_server.speech = lambda _: said
    with pytest.raises(ReleaseError):
        distribution.manifest(NAME, "8.1.0")


def test_redirects_without_an_end_end(distribution: DistributionRegistry, raw_server: RawServer):
    raw_server.speech = lambda _: answer(307, Location=f"/v2/{len(raw_server.requests)}")
    with pytest.raises(RemoteError, match="redirects too often"):
        distribution.manifest(NAME, "8.1.0")
    assert len(raw_server.requests) < 10


def test_a_redirect_is_followed_without_the_login(raw_server: RawServer):
    """What it leads to needs none, and is not the registry."""
    login = RegistryLogin(raw_server.host, "ada", "hunter2")
    registry = DistributionRegistry(raw_server.host, login, limits=Limits(1.0))

    def lead(request: Request) -> bytes:
        if request.target == "/stored":
            return answer(200, MANIFEST)
        if "Authorization" not in request.head:
            return answer(401, WWW_Authenticate='Basic realm="x"')
        return answer(307, Location="/stored")

    raw_server.speech = lead
    assert registry.manifest(NAME, "8.1.0").data == MANIFEST
    assert "Authorization" in raw_server.requests[1].head
    assert "Authorization" not in raw_server.requests[2].head
    registry.close()


@pytest.mark.parametrize("what", SLOW)
def test_the_other_client_waits_no_longer(
    distribution: DistributionRegistry, raw_server: RawServer, what: str
):
    raw_server.speech = lambda _: SLOW[what]()
    begun = time.monotonic()
    with pytest.raises(RemoteError) as caught:
        distribution.manifest(NAME, "8.1.0")
    assert caught.value.retryable
    assert time.monotonic() - begun < GENEROUS_S


@pytest.mark.parametrize("what", ENDLESS)
def test_the_other_client_reads_no_more(distribution: DistributionRegistry, raw_server: RawServer, what: str):
    raw_server.speech = lambda _: ENDLESS[what]()
    tracemalloc.start()
    try:
        with pytest.raises(ReleaseError):
            distribution.manifest(NAME, "8.1.0")
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MOST


def test_a_challenge_of_any_size_is_read_at_once(distribution: DistributionRegistry, raw_server: RawServer):
    """A pattern that tries every beginning takes minutes."""
    raw_server.speech = lambda _: answer(401, WWW_Authenticate=f"Bearer {'a' * 65_000}")
    begun = time.monotonic()
    with pytest.raises(ReleaseError):
        distribution.manifest(NAME, "8.1.0")
    assert time.monotonic() - begun < GENEROUS_S


LAYERS = json.dumps(
    {
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": DIGEST, "size": 7},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": DIGEST, "size": 7}],
    }
).encode()


def pull(raw_server: RawServer, layer: Callable[[], bytes | Iterator[Said] | None]) -> None:
    """Try a customer's key; the layer is answered so."""
    raw_server.speech = lambda request: answer(200, LAYERS) if "/manifests/" in request.target else layer()
    key_access(raw_server.host, Limits(1.0)).fetch(NAME, "8.1.0")


@pytest.mark.parametrize("place", PLACES, ids=range(len(PLACES)))
def test_a_customers_layer_in_no_place_is_no_bug(raw_server: RawServer, place: str):
    with pytest.raises(RemoteError):
        pull(raw_server, lambda: answer(307, Location=place))


@pytest.mark.parametrize("what", SLOW)
def test_a_customers_layer_that_does_not_come_ends(raw_server: RawServer, what: str):
    """The host of the layers stalls: the message has its name and no signature."""
    begun = time.monotonic()
    signed = "/stored?X-Amz-Signature=abc"

    def layer() -> bytes | Iterator[Said] | None:
        if raw_server.requests[-1].target == signed:
            return SLOW[what]()
        return answer(307, Location=signed)

    if what == "a body":
        with pytest.raises(RemoteError, match="which serves the layers, answers 500"):
            pull(raw_server, layer)
    else:
        with pytest.raises(RemoteError, match="which serves the layers, does not answer") as caught:
            pull(raw_server, layer)
        assert "X-Amz" not in str(caught.value.diagnostics())
    assert time.monotonic() - begun < GENEROUS_S


@pytest.mark.parametrize("what", ENDLESS)
def test_a_customers_manifest_takes_no_memory(raw_server: RawServer, what: str):
    tracemalloc.start()
    try:
        raw_server.speech = lambda _: ENDLESS[what]()
        access = key_access(raw_server.host, Limits(1.0))
        with pytest.raises(ReleaseError):
            access.fetch(NAME, "8.1.0")
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MOST
