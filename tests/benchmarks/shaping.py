"""Run in a network of its own by a test: is a shaped port as slow as it should be, and another one not?"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

LOOPBACK = "127.0.0.1"
RATE = 4 << 20
SIZE = 4 << 20


def check(shaped: Callable[[Sequence[int], int], AbstractContextManager[None]]) -> None:
    """Send the same through both ports; the burst that tc lets pass at once is small beside it."""
    with socket.create_server((LOOPBACK, 0)) as slow, socket.create_server((LOOPBACK, 0)) as free:
        with shaped([slow.getsockname()[1]], RATE):
            seconds, other = _send(slow), _send(free)
        assert seconds >= 0.8 * SIZE / RATE, seconds
        assert other < seconds
        assert _send(slow) < seconds


def _send(listener: socket.socket) -> float:
    def sink() -> None:
        client, _ = listener.accept()
        with client:
            while client.recv(1 << 16):
                pass

    thread = threading.Thread(target=sink)
    thread.start()
    begin = time.monotonic()
    with socket.create_connection(listener.getsockname()[:2]) as client:
        client.sendall(bytes(SIZE))
    thread.join()
    return time.monotonic() - begin
