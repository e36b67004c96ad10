"""A promotion that dies anywhere is finished by the same command, and customers never see half a release."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fixtures.resume import ONCE, Customers, Lane, OpenLane

LANES = 2
"""Promotions that are killed at the same time, each with servers of its own."""


class Deaths:
    """Kills a promotion after every single call to the outside, on several lanes at a time.

    Attributes:
        calls: The calls of a promotion that nobody kills.
        killed: Numbers of the calls after which one was killed, finished and checked.
        released: How many images had the release tag at the moments of death.
    """

    def __init__(self, lanes: list[Lane]) -> None:
        self._lanes = lanes
        whole = lanes[0].promote()
        lanes[0].settled(whole)
        assert lanes[0].pushes() == ONCE
        self.calls = whole.calls
        self.killed: set[int] = set()
        self.released: set[int] = set()
        self._left: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._failed = threading.Event()
        for number in range(1, len(self.calls) + 1):
            self._left.put(number)

    def die_everywhere(self) -> None:
        """Work through all of them; the first failure ends it."""
        with ThreadPoolExecutor(len(self._lanes)) as pool:
            for done in [pool.submit(self._work, lane) for lane in self._lanes]:
                done.result()

    def _work(self, lane: Lane) -> None:
        with Customers(lane) as customers:
            while not self._failed.is_set():
                try:
                    number = self._left.get_nowait()
                except queue.Empty:
                    break
                try:
                    self._die(lane, number)
                except BaseException as error:
                    self._failed.set()
                    raise AssertionError(f"killed after call {number}, {self.calls[number - 1]}") from error
        assert customers.wrong == []
        assert customers.looks > 0

    def _die(self, lane: Lane, number: int) -> None:
        lane.put_back()
        first = lane.promote(kill_after=number, by="rita")
        assert first.killed, first.text
        assert first.calls == self.calls[:number]
        there = lane.pushes()
        seen = lane.look()
        assert not seen.missing
        claim = lane.settled(lane.promote(by="sam"))
        assert lane.pushes() == ONCE
        people = {run["id"]: run["by"] for run in claim["runs"]}
        for image in claim["images"]:
            pusher = "rita" if there.get(f"push {image['repository']}") else "sam"
            assert people[image["pushedByRun"]] == pusher
        self.released.add(len(seen.released))
        self.killed.add(number)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("way", ["docker, plain", "registry, gzip"])
def test_a_promotion_killed_after_any_call_is_finished_by_the_same_command(open_lane: OpenLane, way: str):
    """Same tags, same attestations, once; nothing is pushed again, and the record names who pushed what."""
    deaths = Deaths([open_lane(f"smb-{number}", way) for number in range(LANES)])
    deaths.die_everywhere()
    assert deaths.killed == set(range(1, len(deaths.calls) + 1))
    assert deaths.released == {0, 1, 2}
