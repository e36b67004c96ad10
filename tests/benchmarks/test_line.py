"""A slow line carries what it is given, unchanged, and is never faster than it says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.line import LOOPBACK, slow_line

ROOT = Path(__file__).parents[2]
PAYLOAD = os.urandom(3 << 20)


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets; its port."""
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                while data := client.recv(1 << 16):
                    client.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def round_trip(port: int, data: bytes) -> tuple[bytes, float]:
    """Send data, end the sending side, and return what came back and how long it took, in seconds."""
    got = bytearray()
    with socket.create_connection((LOOPBACK, port)) as client:
        begin = time.monotonic()

        def send() -> None:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        while piece := client.recv(1 << 16):
            got += piece
        sender.join()
        return bytes(got), time.monotonic() - begin


def test_what_passes_is_unchanged_and_the_end_is_passed_on(echo: int) -> None:
    """Both ways, with more bytes under way than any buffer holds."""
    with slow_line(echo, round_trip_s=0.01) as port:
        assert round_trip(port, PAYLOAD)[0] == PAYLOAD


def test_a_round_trip_takes_at_least_what_the_line_adds(echo: int) -> None:
    """Half of it each way."""
    with slow_line(echo, round_trip_s=0.2) as port:
        assert round_trip(port, b"x")[1] >= 0.2


def test_a_line_carries_no_more_than_its_rate(echo: int) -> None:
    """Three MiB at 16 MiB a second."""
    with slow_line(echo, rate=16 << 20) as port:
        data, seconds = round_trip(port, PAYLOAD)
    assert data == PAYLOAD
    assert seconds >= len(PAYLOAD) / (16 << 20)


def test_the_kernel_shapes_a_network_of_its_own_or_the_run_stays_where_it_is() -> None:
    """Where root may, the rate holds for the named port only; elsewhere the relay takes its place."""
    code = """
import os, sys
sys.argv = ["-m"]
from benchmarks.network import own_network, shaped
if own_network():
    import subprocess, tests.benchmarks.shaping as shaping
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    shaping.check(shaped)
print("own" if own_network() else "shared")
"""
    shared = {**os.environ, "JENKINS_RELEASE_BENCH_NETWORK": "shared"}
    own = {**os.environ, "JENKINS_RELEASE_BENCH_NETWORK": "own"}
    words = [sys.executable, "-c", code]
    assert _run(words, shared) == "shared"
    if os.geteuid() == 0 and subprocess.run(["unshare", "--net", "true"], check=False).returncode == 0:
        assert _run(["unshare", "--net", *words], own) == "own"


def _run(words: list[str], environ: dict[str, str]) -> str:
    done = subprocess.run(words, env=environ, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
