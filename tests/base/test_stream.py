"""One stream to several consumers: order, bounded memory, failures."""

from __future__ import annotations

import threading

import pytest

from jenkins_release.stream import DEPTH, fan_out


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
