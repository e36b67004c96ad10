"""S3 that stalls while parts of a file are sent: the threads end in time, and at once on a signal."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from jenkins_release.base.errors import RemoteError
from jenkins_release.base.waits import Limits, pause
from jenkins_release.portal import S3Portal, Upload
from jenkins_release.portal.s3_upload import MIN_PART
from tests.fixtures.process import started, stopped_at_once, waiting_program
from tests.fixtures.raw_server import RawServer, Request, Speech, answer, drip

GENEROUS_S = 20.0
REGION = "eu-central-1"
DATA = b"x" * (3 * MIN_PART)


def _s3(parts: Any) -> Speech:
    """Answer as S3 does, and to parts by ``parts``."""

    def speech(request: Request) -> Any:
        common = {"x_amz_bucket_region": REGION, "Server": "AmazonS3"}
        if "partNumber=" in request.target:
            return parts()
        if request.method == "HEAD":
            return answer(200 if request.target in {"/b", "/b/"} else 404, **common)
        if request.method == "GET":
            return answer(200, b"<ListMultipartUploadsResult/>", **common)
        begun = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
        return answer(200, begun, **common)

    return speech


@pytest.fixture
def login(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setattr("random.uniform", lambda low, _: low)


@pytest.mark.parametrize("begun", [None, b"HTTP/1.1 200 OK\r\nX: "])
def test_parts_that_are_not_answered(login: None, monkeypatch: pytest.MonkeyPatch, begun: bytes | None):
    """Five attempts, each with its end; what is sent adds to it."""
    with RawServer(_s3(lambda: None if begun is None else drip(begun))) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        portal = S3Portal("b", REGION, part_size=MIN_PART, workers=2, limits=Limits(0.5, 1 << 26))
        upload = Upload("a.zip", len(DATA), sha256(DATA).hexdigest(), lambda: iter([DATA]))
        start = time.monotonic()
        with pytest.raises(RemoteError, match="did not answer UploadPart in time") as caught:
            portal.put(upload, lambda _: None)
    assert time.monotonic() - start < GENEROUS_S
    assert caught.value.retryable


REFUSED = answer(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")


@pytest.mark.parametrize("stalls", ["another part", "the source"])
def test_a_refusal_does_not_wait_for_what_stalls(login: None, monkeypatch: pytest.MonkeyPatch, stalls: str):
    """Neither for the answer to a part before it, nor for the share that the next one comes from."""
    monkeypatch.setattr("jenkins_release.portal.s3_upload.NEARLY_THERE_S", 0.5)
    others = _s3(lambda: None)

    def source() -> Iterator[bytes]:
        yield DATA[: 2 * MIN_PART]
        if stalls == "the source":
            pause(600.0)
        yield DATA[2 * MIN_PART :]

    def speech(request: Request) -> Any:
        return REFUSED if "partNumber=2" in request.target else others(request)

    with RawServer(speech) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        portal = S3Portal("b", REGION, part_size=MIN_PART, workers=3, limits=Limits(300.0))
        counted: list[int] = []
        start = time.monotonic()
        with pytest.raises(RemoteError, match="cannot send part 2") as caught:
            portal.put(Upload("a.zip", len(DATA), sha256(DATA).hexdigest(), source), counted.append)
    assert time.monotonic() - start < GENEROUS_S
    assert "AccessDenied" in str(caught.value.__cause__)
    assert sum(counted) == 0


SENDING = (
    f"""
from hashlib import sha256
from jenkins_release.portal import S3Portal, Upload
data = b"x" * {len(DATA)}
portal = S3Portal("b", "{REGION}", part_size={MIN_PART}, workers=3)
""",
    'portal.put(Upload("a.zip", len(data), sha256(data).hexdigest(), lambda: iter([data])), lambda _: None)',
)


@pytest.mark.parametrize("how", ["signal", "threads"])
@pytest.mark.parametrize("begun", [None, b"HTTP/1.1 200 OK\r\nX: "])
def test_it_stops_at_once(login: None, begun: bytes | None, how: str, warm_python: str):
    """Three threads wait for the answers to their parts."""
    with RawServer(_s3(lambda: None if begun is None else drip(begun))) as server:
        environ = {**os.environ, "AWS_ENDPOINT_URL": server.url}
        process = started([warm_python, "-c", waiting_program(*SENDING, how, grace_s=0.0)], environ)

        def ready() -> bool:
            return sum("partNumber=" in each.target for each in server.requests) >= 3

        stopped_at_once(process, how, ready)
