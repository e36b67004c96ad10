"""A line between client and server that is as slow as a real one: ``python -m benchmarks.line``.

A relay in a process of its own, so that it takes no time from the interpreter that is measured.
Each direction delays what passes by half of the round trip, and lets no more bytes pass in a
second than the line carries.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import click

from jenkins_release.base.errors import RemoteError
from jenkins_release.sandbox.relay import connections

LOOPBACK = "127.0.0.1"
GIGABIT = 1_000_000_000 // 8
"""Bytes per second of a line of 1 Gbit/s."""
_PIECE = 1 << 18
_WINDOW = 64 << 20
"""Bytes on the way in one direction at most: far more than a second fraction of any line here."""


class _Way:
    """One direction of one connection: what came in goes out when its time has come.

    Args:
        delay_s: How long each byte is on the way, in seconds.
        rate: Bytes per second; 0 for as many as there are.
    """

    def __init__(self, source: socket.socket, target: socket.socket, delay_s: float, rate: float) -> None:
        self._source = source
        self._target = target
        self._delay_s = delay_s
        self._rate = rate
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._ended = False
        self._changed = threading.Condition()

    def start(self) -> None:
        for action in (self._take_in, self._give_out):
            threading.Thread(target=action, daemon=True).start()

    def _take_in(self) -> None:
        free_at = 0.0
        with contextlib.suppress(OSError):
            while data := self._source.recv(_PIECE):
                now = time.monotonic()
                free_at = max(now, free_at) + (len(data) / self._rate if self._rate else 0.0)
                with self._changed:
                    self._pieces.append((free_at + self._delay_s, data))
                    self._held += len(data)
                    self._changed.notify_all()
                    while self._held > _WINDOW:
                        self._changed.wait()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _give_out(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                with self._changed:
                    while not self._pieces and not self._ended:
                        self._changed.wait()
                    if not self._pieces:
                        break
                    due, data = self._pieces.popleft()
                wait = due - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                self._target.sendall(data)
                with self._changed:
                    self._held -= len(data)
                    self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._target.shutdown(socket.SHUT_WR)


def relay(listener: socket.socket, port: int, *, delay_s: float, rate: float) -> None:
    """Carry every connection to ``listener`` to a port of this machine, until the process ends.

    Args:
        listener: Where clients connect.
        port: Where the server listens, on loopback.
        delay_s: Time that each direction takes, in seconds: half of the round trip.
        rate: Bytes per second and direction of one connection; 0 for no limit.
    """
    for client, server in connections(listener, port):
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _Way(client, server, delay_s, rate).start()
        _Way(server, client, delay_s, rate).start()


@contextlib.contextmanager
def slow_line(port: int, *, round_trip_s: float = 0.0, rate: float = 0.0) -> Iterator[int]:
    """Put a line before a server for the length of the block.

    Args:
        port: Where the server listens, on loopback.
        round_trip_s: What the line adds to a round trip, in seconds.
        rate: Bytes per second and direction; 0 for no limit.

    Yields:
        The port that stands for the server's.

    Raises:
        RemoteError: The relay did not start.
    """
    words = [sys.executable, "-m", "benchmarks.line", str(port)]
    words += ["--round-trip", str(round_trip_s), "--rate", str(rate)]
    root = str(Path(__file__).parents[1])
    process = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=root, env={**os.environ}, text=True)
    try:
        said = process.stdout.readline().strip() if process.stdout else ""
        if not said:
            raise RemoteError(f"the relay to port {port} did not start")
        yield int(said)
    finally:
        process.kill()
        process.communicate()


@click.command()
@click.argument("port", type=int)
@click.option("--round-trip", type=float, default=0.0)
@click.option("--rate", type=float, default=0.0)
def main(port: int, round_trip: float, rate: float) -> None:
    """Listen on a free port, print it, and carry every connection to PORT."""
    listener = socket.create_server((LOOPBACK, 0))
    click.echo(listener.getsockname()[1])
    relay(listener, port, delay_s=round_trip / 2, rate=rate)


if __name__ == "__main__":
    main()
