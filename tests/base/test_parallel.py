"""Several calls at a time: the order stays, and a failure is the one that came first in it."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from jenkins_release.base.parallel import map_parallel
from jenkins_release.base.waits import Call, pause
from tests.fixtures.silence import GENEROUS_S, silent_server


def test_results_come_in_the_order_of_the_items():
    """However long each call takes."""
    later = threading.Event()

    def action(item: int) -> int:
        if item == 0:
            assert later.wait(20)
        else:
            later.set()
        return item * 10

    assert map_parallel(action, range(5)) == [0, 10, 20, 30, 40]


def test_as_many_calls_are_under_way_as_there_are_workers():
    """All of them meet, or the barrier breaks."""
    meeting = threading.Barrier(4, timeout=20)
    assert map_parallel(lambda item: (meeting.wait(), item)[1], "abcd", workers=4) == list("abcd")


def test_the_first_failure_in_their_order_is_raised():
    """A later item that failed earlier does not hide it."""
    second = threading.Event()

    def action(item: str) -> None:
        if item == "first":
            assert second.wait(20)
        elif item == "second":
            second.set()
        raise ValueError(item)

    with pytest.raises(ValueError, match="first"):
        map_parallel(action, ["first", "second"], workers=2)


def test_after_a_failure_nothing_new_begins(monkeypatch: pytest.MonkeyPatch):
    """What waited for a worker is left out."""
    begun: list[int] = []
    cancelled = threading.Event()
    shutdown = ThreadPoolExecutor.shutdown

    def noticed(pool: ThreadPoolExecutor, **how: bool) -> None:
        shutdown(pool, **how)
        cancelled.set()

    def action(item: int) -> None:
        begun.append(item)
        if item == 0:
            raise ValueError("no")
        # Both workers are busy until the caller has learnt of the failure.
        assert cancelled.wait(20)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", noticed)
    with pytest.raises(ValueError, match="no"):
        map_parallel(action, range(1000), workers=2)
    assert set(begun) <= {0, 1, 2}


@pytest.mark.parametrize("items", [[], ["one"]])
def test_one_item_or_none_needs_no_thread(items):
    """The call is made where it was asked for."""
    here = threading.get_ident()
    assert map_parallel(lambda _: threading.get_ident(), items) == [here] * len(items)


def test_a_failure_ends_what_the_others_wait_for():
    """An answer that does not come, a pause: neither keeps the failure from being told."""
    with silent_server() as (port, connected):

        def action(item: str) -> None:
            if item == "call":
                with Call("the registry", 60.0), socket.create_connection(("127.0.0.1", port)) as made:
                    made.recv(1)
            elif item == "pause":
                pause(600.0)
            assert connected.wait(GENEROUS_S)
            raise ValueError("no")

        begun = time.monotonic()
        with pytest.raises(ValueError, match="no"):
            map_parallel(action, ["call", "pause", "fails"])
    assert time.monotonic() - begun < 3 * GENEROUS_S
    assert not [each for each in threading.enumerate() if each.name.startswith("parallel")]


def test_an_interrupt_ends_what_the_threads_wait_for(monkeypatch: pytest.MonkeyPatch):
    """Also in a program of others, which has its own signals."""
    real, waiting = threading.Event(), threading.Event()

    def interrupted(*_: object, **__: object) -> None:
        assert waiting.wait(GENEROUS_S)
        raise KeyboardInterrupt

    def action(item: int) -> None:
        waiting.set()
        pause(600.0)
        real.set()

    monkeypatch.setattr("jenkins_release.base.parallel.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        map_parallel(action, range(5), workers=2)
    assert not real.is_set()


def test_one_worker_needs_no_thread():
    """Everything happens in one order."""
    here = threading.get_ident()
    assert map_parallel(lambda _: threading.get_ident(), range(3), workers=1) == [here] * 3
