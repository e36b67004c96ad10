"""Several calls at a time: the order stays, and a failure is the one that came first in it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from jenkins_release.parallel import map_parallel


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
