"""Move one stream of bytes to several consumers at the same time, with bounded memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.waits import Stopped, ThreadGroup, check

Sink = Callable[[bytes], None]
Taker = Callable[[Iterator[bytes]], None]

DEPTH = 4
"""Chunks that may wait for each consumer: with chunks of 1 MiB, at most that many MiB."""


_POLL_S = 0.1
"""How soon a thread that waits for the other side of a queue notices that it has to end, in seconds."""


def at_most(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield pieces until they exceed this many bytes, which is enough to know that they are too many.

    Anyone who can write to a share may replace a recorded file with one of any size.
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
    def __init__(self, take: Taker, group: ThreadGroup) -> None:
        super().__init__(daemon=True, name="stream-consumer")
        self._take = take
        self._group = group
        self.queue: queue.Queue[bytes | None] = queue.Queue(DEPTH)
        self.ended = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._group.run(self._consume)
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            self.error = error
            self._group.end()
        finally:
            self.ended.set()

    def _consume(self) -> None:
        self._take(self._chunks())

    def _chunks(self) -> Iterator[bytes]:
        while True:
            chunk = self.queue.get()
            if self._group.ended:
                # Not the end of the stream: the rest does not come.
                raise Stopped
            if chunk is None:
                return
            yield chunk

    def give(self, chunk: bytes | None) -> None:
        """Put a chunk or the end into the queue; it is dropped if no thread takes from the queue any more."""
        while not self.ended.is_set():
            try:
                self.queue.put(chunk, timeout=_POLL_S)
            except queue.Full:
                if chunk is not None:
                    check()
                continue
            return


def fan_out(source: Iterable[bytes], sinks: Sequence[Sink]) -> int:
    """Pass every chunk of ``source`` to every sink, each sink in a thread.

    Args:
        source: The chunks; read in the calling thread, and closed if it is a generator.
        sinks: Called with each chunk, in order.

    Returns:
        Bytes read from the source.

    Raises:
        BaseException: As :func:`hand_out`.
    """
    return hand_out(source, [partial(_each, sink) for sink in sinks])


def _each(sink: Sink, chunks: Iterator[bytes]) -> None:
    for chunk in chunks:
        sink(chunk)


def hand_out(source: Iterable[bytes], takers: Sequence[Taker]) -> int:
    """Let several takers each take all of ``source``, each in a thread, as fast as the slowest of them.

    They are a :class:`~jenkins_release.base.waits.ThreadGroup`: a failure, or Ctrl-C, ends what the others
    wait for. A taker that returns early leaves; once all have left, nothing more is read.

    Args:
        source: The chunks; read in the calling thread, and closed if it is a generator.
        takers: Called with an iterator over the chunks. It raises Stopped if the rest does not come.

    Returns:
        Bytes read from the source.

    Raises:
        BaseException: The first failure of a taker, or of the source. Nothing more is read after
            a failure, and every thread has ended when the call returns.
    """
    group = ThreadGroup()
    consumers = [_Consumer(take, group) for take in takers]
    for consumer in consumers:
        consumer.start()
    total, stopped = 0, None
    try:
        total = group.run(_feed, source, consumers, group)
    except Stopped as error:
        # A taker that failed ends the wait for the source; its failure is the one to report.
        stopped = error
        group.end()
    except BaseException:
        group.end()
        _end(consumers)
        raise
    finally:
        # After a failure it is in the middle of its work: do not leave what it holds to the garbage
        # collector.
        if isinstance(source, Generator):
            source.close()
    _end(consumers)
    # Outside the handler, or it would lose its cause.
    if failure := _failure(consumers) or stopped:
        raise failure
    return total


def _feed(source: Iterable[bytes], consumers: Sequence[_Consumer], group: ThreadGroup) -> int:
    total = 0
    for chunk in source:
        if group.ended or all(consumer.ended.is_set() for consumer in consumers):
            break
        total += len(chunk)
        for consumer in consumers:
            consumer.give(chunk)
    return total


def _end(consumers: Sequence[_Consumer]) -> None:
    for consumer in consumers:
        consumer.give(None)
    for consumer in consumers:
        consumer.join()


def _failure(consumers: Sequence[_Consumer]) -> BaseException | None:
    """Return the first failure; one that a taker had by itself comes before one that being ended caused."""
    raised = [consumer.error for consumer in consumers if consumer.error is not None]
    own = (error for error in raised if not isinstance(error, Stopped))
    return next(own, raised[0] if raised else None)


@contextmanager
def read_ahead(source: Iterator[bytes], depth: int) -> Iterator[Iterator[bytes]]:
    """Read ahead from ``source`` in a thread while the block works.

    Args:
        source: The chunks; closed at the end of the block.
        depth: Chunks that may wait; 0 reads in the calling thread.

    Yields:
        The chunks. A failure of the source is raised when the next chunk is requested. A failure of the block
        ends the waits of the source, as in a :class:`~jenkins_release.base.waits.ThreadGroup`.
    """
    if depth == 0:
        try:
            yield source
        finally:
            _close(source)
        return
    ended = threading.Event()
    waiting: queue.Queue[bytes | _End] = queue.Queue(depth)
    group = ThreadGroup()

    def read() -> None:
        end = _End()
        try:
            try:
                for chunk in source:
                    if not _put(waiting, chunk, ended):
                        break
            finally:
                _close(source)
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            end = _End(error)
        _put(waiting, end, ended)

    def chunks() -> Iterator[bytes]:
        while not isinstance(found := _get(waiting), _End):
            yield found
        if found.error is not None:
            raise found.error

    reader = threading.Thread(target=group.run, args=(read,), daemon=True, name="read-ahead")
    reader.start()
    try:
        yield chunks()
    finally:
        ended.set()
        group.end()
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


def _get(waiting: queue.Queue[bytes | _End]) -> bytes | _End:
    while True:
        try:
            return waiting.get(timeout=_POLL_S)
        except queue.Empty:
            check()


def _close(source: Iterator[bytes]) -> None:
    close = getattr(source, "close", None)
    if close is not None:
        close()
