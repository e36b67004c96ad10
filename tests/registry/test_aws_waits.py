"""AWS that stalls, drips or never ends: a call ends in time, in bounded memory, and at once on a signal."""

from __future__ import annotations

import os
import socket
import threading
import time
import traceback
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jenkins_release.aws import aws_client, aws_errors, exchange
from jenkins_release.aws.s3 import Bucket
from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.base.waits import Limits
from jenkins_release.registry import EcrRegistry
from jenkins_release.sandbox.process import alive, free_port
from tests.fixtures.process import started, stopped_at_once, waiting_program
from tests.fixtures.raw_server import RawServer, Request, answer, drip, flood, stall

GENEROUS_S = 15.0
LIMITS = Limits(0.5, 1000, "network.answer_s")
JSON = "application/x-amz-json-1.1"


@pytest.fixture
def aws(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[RawServer], None]:
    """Sends the calls of AWS to a server."""

    def use(server: RawServer) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)

    return use


def _ecr(attempts: int = 1) -> EcrRegistry:
    return EcrRegistry(
        "eu-central-1", client=aws_client("ecr", "eu-central-1", attempts=attempts, limits=LIMITS)
    )


def _refused(registry: EcrRegistry) -> ReleaseError:
    begun = time.monotonic()
    with pytest.raises(ReleaseError) as caught:
        registry.missing_layers("skydrm/rms", ["sha256:" + "0" * 64])
    assert time.monotonic() - begun < GENEROUS_S
    return caught.value


@pytest.mark.parametrize(
    "begun",
    [
        None,
        b"",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\n\r\n{",
        b"HTTP/1.1 500 No\r\nContent-Length: 99999\r\n\r\n{",
    ],
)
def test_an_answer_that_does_not_come_in_time(aws: Callable[[RawServer], None], begun: bytes | None):
    """Silence, and a byte now and then: before the status, in the headers, in the body, in an error."""
    with RawServer(lambda _: None if begun is None else drip(begun)) as server:
        aws(server)
        error = _refused(_ecr())
    assert isinstance(error, RemoteError)
    assert error.retryable
    assert "did not answer BatchCheckLayerAvailability in time" in error.message
    assert "network.answer_s is 0.5 s" in error.message


@pytest.mark.parametrize("status", ["200 OK", "500 No"])
def test_a_body_of_which_no_more_comes(aws: Callable[[RawServer], None], status: str):
    """The limit of botocore for a read is the first to end: what may come buys a call some time."""
    limits = Limits(0.5, 1, "network.answer_s")
    with RawServer(lambda _: stall(f"HTTP/1.1 {status}\r\nContent-Length: 99\r\n\r\n{{".encode())) as server:
        aws(server)
        client = aws_client("ecr", "eu-central-1", attempts=1, limits=limits)
        error = _refused(EcrRegistry("eu-central-1", client=client))
    assert "did not answer BatchCheckLayerAvailability in time" in error.message
    assert error.retryable


@pytest.mark.parametrize("status", ["200 OK", "400 Bad", "500 No"])
@pytest.mark.parametrize("length", ["", "Content-Length: 99999999999\r\n"])
def test_a_body_without_end(
    aws: Callable[[RawServer], None], monkeypatch: pytest.MonkeyPatch, status: str, length: str
):
    """It is read up to a bound."""
    monkeypatch.setattr(exchange, "MOST", 2 * 1024 * 1024)
    with RawServer(lambda _: flood(f"HTTP/1.1 {status}\r\n{length}\r\n".encode() + b"{")) as server:
        aws(server)
        error = _refused(_ecr())
        sent = server.sent
    assert "longer than" in error.message
    assert sent < 32 * 1024 * 1024


def test_bodies_without_end_of_several_attempts_take_the_memory_of_one(
    aws: Callable[[RawServer], None], monkeypatch: pytest.MonkeyPatch
):
    """The error of each attempt lives until the last one has failed."""
    monkeypatch.setattr("random.uniform", lambda low, _: low)
    with RawServer(lambda _: flood(b"HTTP/1.1 200 OK\r\n\r\n{")) as server:
        aws(server)
        registry = _ecr(5)
        tracemalloc.start()
        try:
            error = _refused(registry)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert len(server.requests) == 5
    assert "longer than" in error.message
    assert peak < 3 * exchange.MOST


def test_a_server_that_restarts_is_waited_for(no_aws: None, monkeypatch: pytest.MonkeyPatch):
    """Nobody listens for a while: five attempts within a second would all come too early."""
    port = free_port()
    monkeypatch.setattr("random.uniform", lambda low, _: low)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")

    def serve() -> None:
        with socket.create_server(("127.0.0.1", port)) as listening:
            listening.settimeout(GENEROUS_S)
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(
                    f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nContent-Length: 30\r\n\r\n".encode()
                )
                connection.sendall(b'{"layers": [], "failures": []}')

    later = threading.Timer(1.2, serve)
    later.start()
    try:
        assert _ecr(5).missing_layers("skydrm/rms", ["sha256:1"]) == {"sha256:1"}
    finally:
        later.join()


def test_an_answer_that_broke_off_is_asked_for_again(
    aws: Callable[[RawServer], None], monkeypatch: pytest.MonkeyPatch
):
    """Half a body, whole by its headers, is no answer; nor is one that is no JSON."""
    monkeypatch.setattr("random.uniform", lambda low, _: low)
    whole = b'{"layers": [], "failures": []}'
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 31\r\n\r\n" + whole[:9],
        answer(200, b'{"layers": "none"}', Content_Type=JSON),
        answer(200, b'{"layers": [{"layerAvailability": "AVAILABLE"}]}', Content_Type=JSON),
        answer(200, whole, Content_Type=JSON),
    ]
    with RawServer(lambda _: answers.pop(0)) as server:
        aws(server)
        assert _ecr(5).missing_layers("skydrm/rms", ["sha256:1"]) == {"sha256:1"}
        assert len(server.requests) == 4


def test_a_page_in_place_of_an_answer(aws: Callable[[RawServer], None]):
    """Nothing is said about the image: the page is not ECR's word on it."""
    page = b"<html><body>Sign in</body></html>"
    with RawServer(lambda _: answer(200, page, Content_Type="text/html")) as server:
        aws(server)
        error = _refused(_ecr())
    assert "the answer is not from AWS, with status 200" in error.message
    assert error.retryable
    assert "delete" not in f"{error.message} {error.hint}"


@pytest.mark.parametrize(
    ("wait", "asked"), [("600", 600), ("Fri, 31 Dec 2999 23:59:59 GMT", None), ("\u00b2", 0), ("9" * 30, 0)]
)
def test_a_long_wait_that_is_asked_for_is_handed_on(
    aws: Callable[[RawServer], None], wait: str, asked: int | None
):
    """It is not waited for inside of the call."""
    body = b'{"__type": "ThrottlingException"}'

    def speech(_: Request) -> bytes:
        head = f"HTTP/1.1 429 Slow\r\nRetry-After: {wait}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode("utf-8") + body

    with RawServer(speech) as server:
        aws(server)
        error = _refused(_ecr(2 if asked != 0 else 1))
        assert len(server.requests) == 1
    assert error.retryable
    if asked is None:
        assert error.retry_after is not None
        assert error.retry_after > 1e9
    else:
        assert (error.retry_after or 0) == asked


def test_an_object_that_stalls_while_it_is_read(aws: Callable[[RawServer], None]):
    """A stream is read by the caller; each read has its limit."""
    dates = "Last-Modified: Fri, 31 Dec 1999 23:59:59 GMT\r\nETag: x\r\n"

    def speech(request: Request) -> Any:
        if request.method == "HEAD":
            return answer(200)
        return drip(f"HTTP/1.1 200 OK\r\n{dates}Content-Length: 99\r\n\r\n".encode())

    with RawServer(speech) as server:
        aws(server)
        bucket = Bucket("b", "eu-central-1", section="ledger", missing=RemoteError, limits=LIMITS)
        body = bucket.call("get_object", "read it", Key="k")["Body"]
        begun = time.monotonic()
        with pytest.raises(RemoteError, match="in time"), aws_errors("read it"):
            body.read()
    assert time.monotonic() - begun < GENEROUS_S


def test_an_object_of_which_no_more_comes(aws: Callable[[RawServer], None]):
    """The limit of botocore for a read ends it."""
    dates = "Last-Modified: Fri, 31 Dec 1999 23:59:59 GMT\r\nETag: x\r\n"

    def speech(request: Request) -> Any:
        if request.method == "HEAD":
            return answer(200)
        return stall(f"HTTP/1.1 200 OK\r\n{dates}Content-Length: 99\r\n\r\nhalf".encode())

    with RawServer(speech) as server:
        aws(server)
        bucket = Bucket("b", "eu-central-1", section="ledger", missing=RemoteError, limits=Limits(0.5, 1))
        body = bucket.call("get_object", "read it", Key="k")["Body"]
        assert body.read(4) == b"half"
        with pytest.raises(RemoteError, match="in time"), aws_errors("read it"):
            body.read()


def test_an_object_that_breaks_off(aws: Callable[[RawServer], None]):
    """Also for a caller that reads no further than it needs."""
    head = b"HTTP/1.1 200 OK\r\nLast-Modified: Fri, 31 Dec 1999 23:59:59 GMT\r\nETag: x\r\n"

    def speech(request: Request) -> Any:
        if request.method == "HEAD":
            return answer(200)
        return head + b"Content-Length: 99\r\n\r\nhalf"

    with RawServer(speech) as server:
        aws(server)
        bucket = Bucket("b", "eu-central-1", section="ledger", missing=RemoteError, limits=LIMITS)
        body = bucket.call("get_object", "read it", Key="k")["Body"]
        with pytest.raises(RemoteError, match="broke off"), aws_errors("read it"):
            body.read(1000)


def test_pages_without_end(aws: Callable[[RawServer], None]):
    """The next page is the same one."""
    body = b'{"imageIds": [], "nextToken": "again"}'
    with RawServer(lambda _: answer(200, body, Content_Type=JSON)) as server:
        aws(server)
        with pytest.raises(RemoteError, match="the same page repeatedly"):
            _ecr().tags("skydrm/rms")


@pytest.fixture
def program(no_aws: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """Makes the profiles ``own``, whose credentials a script prints, and ``role``, which has them from there.

    The script runs in the folder that is returned, and begins with its own pid in ``pids``.
    """

    def make(script: str) -> Path:
        file = tmp_path / "program"
        file.write_text(f"#!/bin/sh\ncd {tmp_path}\necho $$ >> pids\n{script}\n")
        file.chmod(0o755)
        config = tmp_path / "config"
        config.write_text(
            f"[profile own]\ncredential_process = {file}\n"
            "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = own\n"
        )
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        return tmp_path

    return make


def _login(profile: str) -> ReleaseError:
    begun = time.monotonic()
    with pytest.raises(ReleaseError) as caught:
        client = aws_client("ecr", "eu-central-1", profile=profile, attempts=1, limits=LIMITS)
        EcrRegistry("eu-central-1", client=client).login()
    assert time.monotonic() - begun < GENEROUS_S
    return caught.value


def _pipes() -> int:
    found = [each for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    return sum(str(each.readlink()).startswith("pipe:") for each in found)


def _all_ended(folder: Path) -> bool:
    """Whether the program was waited for, and all that it started has ended."""
    own, *others = map(int, (folder / "pids").read_text().split())
    return not Path(f"/proc/{own}").exists() and not any(alive(each) for each in others)


@pytest.mark.parametrize("profile", ["own", "role"])
def test_a_program_for_credentials_that_does_not_end(program: Callable[[str], Path], profile: str):
    """It is ended with what it started, and the error says what did not come."""
    folder = program("sleep 600 &\necho $! >> pids\nwait")
    pipes = _pipes()
    error = _login(profile)
    assert "credentials did not come in time" in error.message
    assert isinstance(error, RemoteError)
    assert _pipes() == pipes
    assert _all_ended(folder)


def test_a_program_for_credentials_that_prints_without_end(program: Callable[[str], Path]):
    """What it prints may be a secret, and is kept in memory."""
    folder = program("exec yes hunter2")
    tracemalloc.start()
    try:
        error = _login("own")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(error, ConfigurationError)
    assert "credential_process prints more than 1 MiB" in error.message
    assert "hunter2" not in "".join(traceback.format_exception(error))
    assert peak < 24 << 20
    assert _all_ended(folder)


def test_a_program_for_credentials_that_fails_is_not_quoted(program: Callable[[str], Path]):
    """Not in the cause of the error either, which the debug log may show."""
    program("echo hunter2; echo hunter2 >&2; exit 1")
    error = _login("own")
    assert "cannot get the AWS credentials" in error.message
    assert "hunter2" not in "".join(traceback.format_exception(error))


def test_a_program_for_credentials_that_leaves_something_behind(program: Callable[[str], Path]):
    """It has ended well, whoever holds its output."""
    folder = program(
        'sleep 5 &\necho $! >> pids\necho \'{"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "x"}\''
    )
    found = aws_client("ecr", "eu-central-1", profile="own", limits=LIMITS)
    assert found._request_signer._credentials.access_key == "AKIA"
    assert not _all_ended(folder)


CREDENTIALS = (
    "from jenkins_release.aws import aws_client",
    'map_parallel(lambda _: aws_client("ecr", "eu-central-1", profile="own"), [1, 2])',
)


@pytest.mark.parametrize("how", ["signal", "threads"])
def test_a_program_for_credentials_stops_at_once(program: Callable[[str], Path], how: str, warm_python: str):
    """Its terminal's Ctrl-C does not reach it, so it is ended."""
    folder = program("sleep 600 &\necho $! >> pids\nwait")
    process = started([warm_python, "-c", waiting_program(*CREDENTIALS, how)], os.environ)
    pids = folder / "pids"
    stopped_at_once(process, how, lambda: pids.exists() and len(pids.read_text().split()) == 4)
    assert not any(alive(int(each)) for each in pids.read_text().split())


def test_credentials_of_a_role_that_do_not_come(
    aws: Callable[[RawServer], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """STS drips; botocore asks it with a client that it makes itself."""
    config = tmp_path / "config"
    config.write_text(
        "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/r\ncredential_source = Environment\n"
    )
    with RawServer(lambda _: drip(b"HTTP/1.1 200 OK\r\nX: ")) as server:
        aws(server)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        begun = time.monotonic()
        with pytest.raises(RemoteError, match="in time"):
            client = aws_client("ecr", "eu-central-1", profile="role", attempts=1, limits=LIMITS)
            EcrRegistry("eu-central-1", client=client).login()
        assert b"AssumeRole" in server.requests[0].body
    assert time.monotonic() - begun < GENEROUS_S


STALLED = (
    """
from jenkins_release.registry import EcrRegistry
registry = EcrRegistry("eu-central-1")
ask = lambda digest: registry.missing_layers("skydrm/rms", [digest])
""",
    'map_parallel(ask, ["sha256:1", "sha256:2", "sha256:3"])',
)
STATES: dict[str, Any] = {
    "silence": lambda _: None,
    "drip": lambda _: drip(b"HTTP/1.1 200 OK\r\nX: "),
    "throttled": lambda _: answer(
        400, b'{"__type": "ThrottlingException"}', Content_Type=JSON, Retry_After="19"
    ),
    "refused": lambda _: answer(503, b"busy", Retry_After="19"),
}


@pytest.mark.parametrize(("state", "how"), [*((state, "threads") for state in STATES), ("silence", "signal")])
def test_it_stops_at_once(aws: Callable[[RawServer], None], state: str, how: str, warm_python: str):
    """In the wait for an answer and in that between attempts: three threads end by themselves."""
    with RawServer(STATES[state]) as server:
        aws(server)
        process = started([warm_python, "-c", waiting_program(*STALLED, how)], os.environ)
        stopped_at_once(process, how, server.asked.is_set, settle_s=0.5)
        asked = len(server.requests)
        time.sleep(0.3)
        assert len(server.requests) == asked
