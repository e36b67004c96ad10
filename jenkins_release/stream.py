"""Moving one stream of bytes to several consumers at the same time, with bounded memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

Sink = Callable[[bytes], None]

DEPTH = 4
"""Chunks that may wait for each consumer; with chunks of 1 MiB that many MiB at most."""


_POLL_S = 0.1
"""How soon a reader that waits for room notices that nobody wants more, in seconds."""


def at_most(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield pieces until they are more than so many bytes: that they are too many is then known.

    Whoever writes to a share may put a file of any size in the place of one that is recorded.
    """
    total = 0
    for piece in pieces:
        total += len(piece)
        yield piece
        if total > size:
            if isinstance(pieces, Generator):
                pieces.close()
            return


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


@contextmanager
def read_ahead(source: Iterator[bytes], depth: int) -> Iterator[Iterator[bytes]]:
    """Let a thread of its own ask ``source`` for what comes next while the block works.

    Args:
        source: The chunks; closed at the end of the block.
        depth: Chunks that may wait; 0 reads in the calling thread.

    Yields:
        The chunks. A failure of the source is raised where its next chunk is asked for.
    """
    if depth == 0:
        try:
            yield source
        finally:
            _close(source)
        return
    ended = threading.Event()
    waiting: queue.Queue[bytes | _End] = queue.Queue(depth)

    def read() -> None:
        end = _End()
        try:
            for chunk in source:
                if not _put(waiting, chunk, ended):
                    break
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            end = _End(error)
        _close(source)
        _put(waiting, end, ended)

    def chunks() -> Iterator[bytes]:
        while not isinstance(found := waiting.get(), _End):
            yield found
        if found.error is not None:
            raise found.error

    reader = threading.Thread(target=read, daemon=True, name="read-ahead")
    reader.start()
    try:
        yield chunks()
    finally:
        ended.set()
        reader.join()


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


def _put(waiting: queue.Queue[bytes | _End], item: bytes | _End, ended: threading.Event) -> bool:
    while not ended.is_set():
        try:
            waiting.put(item, timeout=_POLL_S)
        except queue.Full:
            continue
        return True
    return False


def _close(source: Iterator[bytes]) -> None:
    close = getattr(source, "close", None)
    if close is not None:
        close()
