"""S3 that stalls while parts of a file are sent: the threads end in time, and at once on a signal."""

from __future__ import annotations

import os
import signal
import sys
import time
from hashlib import sha256
from typing import Any

import pytest

from jenkins_release.errors import RemoteError
from jenkins_release.portal import S3Portal, Upload
from jenkins_release.portal.s3_upload import MIN_PART
from jenkins_release.waits import Limits
from tests.fixtures.process import started
from tests.fixtures.raw_server import Speech, answer, drip, raw_server

GENEROUS_S = 20.0
REGION = "eu-central-1"
DATA = b"x" * (3 * MIN_PART)


def _s3(parts: Any) -> Speech:
    """Answer as S3 does, and to parts by ``parts``."""

    def speech(request: bytes) -> Any:
        line = request.split(b"\r\n", 1)[0]
        common = [f"x-amz-bucket-region: {REGION}", "Server: AmazonS3"]
        if b"partNumber=" in line:
            return parts()
        if line.startswith(b"HEAD"):
            there = b"/b HTTP" in line or b"/b/ HTTP" in line
            return answer(b"", "200 OK" if there else "404 Not Found", *common)
        if line.startswith(b"GET"):
            return answer(b"<ListMultipartUploadsResult/>", "200 OK", *common)
        begun = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
        return answer(begun, "200 OK", *common)

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
    with raw_server(_s3(lambda: None if begun is None else drip(begun))) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        portal = S3Portal("b", REGION, part_size=MIN_PART, workers=2, limits=Limits(0.5, 1 << 26))
        upload = Upload("a.zip", len(DATA), sha256(DATA).hexdigest(), lambda: iter([DATA]))
        start = time.monotonic()
        with pytest.raises(RemoteError, match="did not answer UploadPart in time") as caught:
            portal.put(upload, lambda _: None)
    assert time.monotonic() - start < GENEROUS_S
    assert caught.value.retryable


SENDING = f"""
import os, signal, threading
from hashlib import sha256
from jenkins_release import waits
from jenkins_release.portal import S3Portal, Upload
from jenkins_release.signals import interrupt_commands
if os.environ["HOW"] == "signal":
    interrupt_commands()
else:
    signal.signal(signal.SIGINT, lambda *_: threading.Thread(target=waits.stop, args=[0.0]).start())
data = b"x" * {len(DATA)}
portal = S3Portal("b", "{REGION}", part_size={MIN_PART}, workers=3)
try:
    portal.put(Upload("a.zip", len(data), sha256(data).hexdigest(), lambda: iter([data])), lambda _: None)
except KeyboardInterrupt:
    print("stopped", flush=True)
    raise SystemExit(130)
"""


@pytest.mark.parametrize("how", ["signal", "threads"])
@pytest.mark.parametrize("begun", [None, b"HTTP/1.1 200 OK\r\nX: "])
def test_it_stops_at_once(login: None, begun: bytes | None, how: str):
    """Three threads wait for the answers to their parts."""
    with raw_server(_s3(lambda: None if begun is None else drip(begun))) as server:
        environ = {**os.environ, "HOW": how, "AWS_ENDPOINT_URL": server.url}
        process = started([sys.executable, "-c", SENDING], environ)
        try:
            end = time.monotonic() + 60
            while sum(b"partNumber=" in each for each in server.requests) < 3 and time.monotonic() < end:
                time.sleep(0.05)
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=GENEROUS_S)
            took = time.monotonic() - start
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    if how == "signal":
        assert took < 5.0
    else:
        assert out == "stopped\n", err
