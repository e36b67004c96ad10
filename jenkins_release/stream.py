"""Moving one stream of bytes to several consumers at the same time, with bounded memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Sequence

Sink = Callable[[bytes], None]

DEPTH = 8
"""Chunks that may wait for each consumer; with chunks of 1 MiB that many MiB at most."""


class _Consumer(threading.Thread):
    def __init__(self, sink: Sink, failed: threading.Event) -> None:
        super().__init__(daemon=True, name="stream-consumer")
        self._sink = sink
        self._failed = failed
        self.queue: queue.Queue[bytes | None] = queue.Queue(DEPTH)
        self.error: BaseException | None = None

    def run(self) -> None:
        while (chunk := self.queue.get()) is not None:
            if self.error is not None or self._failed.is_set():
                continue
            try:
                self._sink(chunk)
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
                self.error = error
                self._failed.set()


def fan_out(source: Iterable[bytes], sinks: Sequence[Sink]) -> int:
    """Give every chunk of ``source`` to every sink, each sink in a thread of its own.

    Args:
        source: The chunks; read in the calling thread.
        sinks: Called with each chunk, in order.

    Returns:
        Bytes read from the source.

    Raises:
        BaseException: The first failure of a sink, or of the source. Nothing more is read after
            a failure, and every thread has ended when the call returns.
    """
    failed = threading.Event()
    consumers = [_Consumer(sink, failed) for sink in sinks]
    for consumer in consumers:
        consumer.start()
    total = 0
    try:
        for chunk in source:
            if failed.is_set():
                break
            total += len(chunk)
            for consumer in consumers:
                consumer.queue.put(chunk)
    except BaseException:
        failed.set()
        raise
    finally:
        for consumer in consumers:
            consumer.queue.put(None)
        for consumer in consumers:
            consumer.join()
    for consumer in consumers:
        if consumer.error is not None:
            raise consumer.error
    return total
