"""One stream to several consumers: order, bounded memory, failures."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from collections.abc import Iterator

import pytest

from jenkins_release.base.stream import DEPTH, at_most, fan_out, hand_out, read_ahead
from jenkins_release.base.waits import Call, Stopped, ThreadGroup, pause
from tests.fixtures.silence import GENEROUS_S, silent_server


def test_every_sink_gets_every_chunk_in_order():
    """Whatever their speed."""
    first: list[bytes] = []
    second: list[bytes] = []
    chunks = [bytes([i]) * i for i in range(1, 200)]
    assert fan_out(iter(chunks), [first.append, second.append]) == sum(map(len, chunks))
    assert first == second == chunks


def test_a_failing_sink_stops_the_source_and_is_raised():
    """The source is not read to its end for nothing."""
    read = []

    def source():
        for number in range(10_000):
            read.append(number)
            yield b"x"

    def sink(_: bytes) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fan_out(source(), [sink, lambda chunk: None])
    assert len(read) < 10_000


def test_a_failing_source_is_raised_and_no_thread_stays():
    """Nothing more is given to the sinks after it."""
    before = threading.active_count()

    def source():
        yield b"x"
        raise ValueError("truncated")

    with pytest.raises(ValueError, match="truncated"):
        fan_out(source(), [lambda chunk: None])
    assert threading.active_count() == before


def test_a_source_is_closed_before_a_failure_is_told():
    """What it has open must not wait for the garbage collector."""
    closed = []

    def source() -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            closed.append(True)

    def sink(_: bytes) -> None:
        raise OSError("full")

    forgotten = source()
    with pytest.raises(OSError, match="full"):
        fan_out(forgotten, [sink])
    assert closed == [True]


def test_a_slow_sink_holds_the_source_back():
    """At most the queue's depth, and the chunk at work, are ahead of the slowest sink."""
    ahead = []
    released = threading.Event()
    taken = 0

    def source():
        for number in range(DEPTH * 4):
            ahead.append(number - taken)
            if number == DEPTH + 1:
                released.set()
            yield b"x"

    def sink(_: bytes) -> None:
        nonlocal taken
        assert released.wait(30)
        taken += 1

    fan_out(source(), [sink])
    assert max(ahead) <= DEPTH + 2


def test_a_taker_that_leaves_does_not_disturb_the_others():
    """They get the rest."""
    chunks = [bytes([number]) for number in range(100)]
    found: list[bytes] = []
    hand_out(iter(chunks), [lambda pieces: found.extend([next(pieces)]), lambda pieces: found.extend(pieces)])
    assert sorted(found) == sorted([chunks[0], *chunks])


def test_nothing_more_is_read_once_all_takers_have_left():
    """And the source is closed."""
    closed = []

    def source() -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            closed.append(True)

    assert hand_out(source(), [lambda pieces: [next(pieces)].clear()] * 2) > 0
    assert closed == [True]


def test_a_source_that_fails_is_no_end_for_its_takers():
    """Whoever sends what he takes must not call it whole."""
    ended = []

    def source() -> Iterator[bytes]:
        yield b"x"
        raise ValueError("truncated")

    def take(pieces: Iterator[bytes]) -> None:
        for _ in pieces:
            pass
        ended.append(True)

    with pytest.raises(ValueError, match="truncated"):
        hand_out(source(), [take, take])
    assert ended == []


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_reading_ahead_gives_every_chunk_in_order(depth: int):
    """In the calling thread, or in one of its own."""
    chunks = [bytes([number]) for number in range(50)]
    with read_ahead(iter(chunks), depth) as found:
        assert list(found) == chunks


@pytest.mark.parametrize("depth", [0, 2])
def test_a_failure_of_the_source_comes_after_what_it_gave(depth: int):
    """And as it was raised."""

    def source():
        yield b"one"
        raise OSError("gone")

    with read_ahead(source(), depth) as found:
        assert next(found) == b"one"
        with pytest.raises(OSError, match="gone"):
            next(found)


@pytest.mark.parametrize("depth", [0, 2])
def test_a_source_that_nobody_reads_any_more_is_closed(depth: int):
    """However much of it is left; no thread stays."""
    closed = []

    def source():
        try:
            while True:
                yield b"more"
        finally:
            closed.append(True)

    with read_ahead(source(), depth) as found:
        next(found)
    assert closed == [True]
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_a_failure_does_not_wait_for_what_is_read_in_advance():
    """A share that stalls must not hide for minutes that the registry refused."""
    with silent_server() as (port, connected):

        def source() -> Iterator[bytes]:
            yield b"x"
            with Call("the share", 300.0), socket.create_connection(("127.0.0.1", port)) as made:
                yield made.recv(1)

        begun = time.monotonic()
        with pytest.raises(OSError, match="refused"), read_ahead(source(), 2) as found:
            assert next(found) == b"x"
            assert connected.wait(GENEROUS_S)
            raise OSError("refused")
    assert time.monotonic() - begun < 3 * GENEROUS_S
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_no_more_is_read_than_shows_that_it_is_too_much():
    """And the stream is closed."""
    closed = []

    def pieces():
        try:
            while True:
                yield bytes(10)
        finally:
            closed.append(True)

    assert len(b"".join(at_most(pieces(), 25))) == 30
    assert closed == [True]
    assert b"".join(at_most(iter([b"ab", b"c"]), 3)) == b"abc"


def test_a_failing_sink_ends_the_wait_for_the_source():
    """The daemon that an image comes from may say nothing for minutes."""
    with silent_server() as (port, connected):

        def source() -> Iterator[bytes]:
            yield b"x"
            with Call("the daemon", 60.0), socket.create_connection(("127.0.0.1", port)) as made:
                yield made.recv(1)

        def sink(_: bytes) -> None:
            assert connected.wait(GENEROUS_S)
            raise OSError("full")

        with pytest.raises(OSError, match="full"):
            fan_out(source(), [sink])


def test_a_failing_sink_keeps_its_cause():
    """And the place where it failed, when it ended the wait for the source."""

    def source() -> Iterator[bytes]:
        yield b"x"
        pause(600.0)

    def sink(_: bytes) -> None:
        try:
            raise OSError("no space left")
        except OSError as error:
            raise ValueError("full") from error

    with pytest.raises(ValueError, match="full") as caught:
        fan_out(source(), [sink])
    assert str(caught.value.__cause__) == "no space left"
    assert "sink" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


@pytest.mark.parametrize("chunks", [1, DEPTH + 1])
def test_a_failing_source_ends_the_wait_of_a_sink(chunks: int):
    """Also when so much waits for the sink that nothing more can be handed to it."""
    begun = threading.Event()

    def source() -> Iterator[bytes]:
        for _ in range(chunks):
            yield b"x"
        assert begun.wait(GENEROUS_S)
        raise ValueError("truncated")

    def sink(_: bytes) -> None:
        begun.set()
        pause(600.0)

    with pytest.raises(ValueError, match="truncated"):
        fan_out(source(), [sink])
    assert not [thread for thread in threading.enumerate() if thread.name == "stream-consumer"]


def test_whoever_waits_for_a_stalled_source_ends_with_its_group():
    """Another layer failed meanwhile."""
    group, released = ThreadGroup(), threading.Event()

    def source() -> Iterator[bytes]:
        threading.Timer(0.3, group.end).start()
        released.wait(0.6)
        yield b"late"

    def take() -> None:
        with read_ahead(source(), 2) as found:
            next(found)

    with pytest.raises(Stopped):
        group.run(take)
