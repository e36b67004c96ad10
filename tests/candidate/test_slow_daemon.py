"""A daemon that thinks for minutes before the first byte of an archive: that is told, and can be ended."""

from __future__ import annotations

import os
import pty
import re
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.listener import Listener
from tests.fixtures.release import Product

WAITING = (
    r"waiting for the Docker daemon to prepare 2 images since \d\d:\d\d:\d\d UTC \((\d+) s\)"
    r"(?:, until \d\d:\d\d:\d\d UTC at the latest)?"
)
EXPORT = ("candidate", "export", "--version", "8.1.0", "--build", "42")


class SlowDaemon:
    """Stands in front of the real daemon and lets no save or load pass before it may."""

    def __init__(self, path: Path, daemon: str) -> None:
        self.url = f"unix://{path}"
        self.released = threading.Event()
        self._daemon = daemon.removeprefix("unix://")
        self._listener = Listener(self._taken, path=path)

    def close(self) -> None:
        """Let everything pass, and nobody in."""
        self.released.set()
        self._listener.close()

    def _taken(self, caller: socket.socket) -> None:
        daemon = socket.socket(socket.AF_UNIX)
        daemon.connect(self._daemon)
        threading.Thread(target=self._pump, args=(caller, daemon, True), daemon=True).start()
        threading.Thread(target=self._pump, args=(daemon, caller, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, asks: bool) -> None:
        try:
            while piece := source.recv(1 << 16):
                if asks and re.search(rb"/images/(get|load|create)\?", piece):
                    self.released.wait()
                target.sendall(piece)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            source.close()


@pytest.fixture
def slow(product: Product, tmp_path: Path) -> Iterator[SlowDaemon]:
    """The product's daemon, which is slow now."""
    made = SlowDaemon(tmp_path / "slow.sock", product.environ["DOCKER_HOST"])
    product.environ["DOCKER_HOST"] = made.url
    yield made
    made.close()


def test_a_console_log_says_what_an_export_waits_for(product: Product, slow: SlowDaemon):
    """After three seconds, with the time since when; then it goes on."""
    threading.Timer(4.5, slow.released.set).start()
    done = product.run(*EXPORT)
    assert done.status == 0, done.text
    told = re.findall(rf"export images/\S+: 0 B, {WAITING}\n", done.err)
    assert told == ["3"], done.err


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("load", r"load images/\S+: .*, waiting for the Docker daemon( to unpack the images)? since "),
        ("pull", r"load 8.1.0/42: .*, waiting for the Docker daemon to pull the images from \S+ since "),
    ],
)
def test_a_load_says_that_the_daemon_takes_its_time(
    product: Product, slow: SlowDaemon, source: str, told: str
):
    """It reads, or unpacks, or pulls, and answers in the end."""
    product.environ["JENKINS_RELEASE_LOAD_SOURCE"] = source
    slow.released.set()
    product.export()
    slow.released.clear()
    threading.Timer(4.5, slow.released.set).start()
    done = product.run("candidate", "load", "8.1.0/42")
    assert done.status == 0, done.text
    assert re.search(told, done.err)


@pytest.mark.parametrize(
    ("layers", "terminal"), [("plain", True), ("gzip", False)], ids=["plain-terminal", "gzip-log"]
)
def test_ctrl_c_ends_the_wait_for_the_daemon(product: Product, slow: SlowDaemon, layers: str, terminal: bool):
    """Long before the daemon says anything, also where a thread reads what another one compresses."""
    environ = {**product.environ, "JENKINS_RELEASE_EXPORT_LAYERS": layers, "COLUMNS": "100", "TERM": "xterm"}
    ours, theirs = pty.openpty() if terminal else os.pipe()
    command = [sys.executable, "-m", "jenkins_release", *EXPORT]
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=theirs, process_group=0
    ) as process:
        os.close(theirs)
        try:
            shown = until(ours, WAITING, 30)
            if terminal:
                assert re.search(r"export images/", shown)
            process.send_signal(signal.SIGINT)
            until(ours, "interrupted", 10)
            assert process.wait(10) == 130
        finally:
            process.kill()
            os.close(ours)
    assert not slow.released.is_set()
    assert not product.candidate().exists()


def until(source: int, pattern: str, seconds: float) -> str:
    """Read until a pattern comes; colours and line ends of a terminal do not count."""
    text, end = "", time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        while not re.search(pattern, plain := re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]", "", text)):
            assert selector.select(max(0, end - time.monotonic())), plain
            piece = os.read(source, 1 << 16)
            assert piece, plain
            text += piece.decode(errors="replace")
    return plain
