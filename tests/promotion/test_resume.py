"""A promotion that dies anywhere is finished by the same command, and customers never see half a release."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.promotion.promote import PromoteRequest, promote
from tests.fixtures.resume import ONCE, Customers, Lane, OpenLane
from tests.release.boundaries import Witness, contents, deaths

LANES = 2
"""Promotions that are killed at the same time, each with servers of its own."""


class Deaths:
    """Kills a promotion after every call that changes something outside, on several lanes at a time.

    Attributes:
        calls: The calls of a promotion that nobody kills.
        moments: Numbers of the calls after which one is killed.
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
        self.moments = deaths(self.calls)
        if lanes[0].pushes_by_daemon:  # all the rest is one code, which the other way runs too
            self.moments = [n for n in self.moments if _beside_daemon(self.calls, n)]
        for number in self.moments:
            self._left.put(number)

    def die_everywhere(self) -> None:
        """Work through all moments; the first failure ends it."""
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


def _beside_daemon(calls: Sequence[str], number: int) -> bool:
    """Whether a call, the one before it or the one after it is one to Docker."""
    return any(call.startswith("engine.") for call in calls[max(number - 2, 0) : number + 1])


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("way", ["docker, plain", "registry, gzip"])
def test_a_promotion_killed_after_any_call_is_finished_by_the_same_command(open_lane: OpenLane, way: str):
    """Same tags, same attestations, once; nothing is pushed again, and the record names who pushed what."""
    died = Deaths([open_lane(f"smb-{number}", way) for number in range(LANES)])
    died.die_everywhere()
    assert died.killed == set(died.moments)
    assert died.released == ({0} if way == "docker, plain" else {0, 1, 2})


def outside(lane: Lane) -> object:
    """Return everything that a promotion could change."""
    return contents(lane.folder.parents[2]), lane.tags(), lane.blobs(), lane.on_daemon()


@pytest.mark.parametrize("way", ["docker, plain", "registry, gzip"])
def test_what_is_said_to_read_only_changes_nothing(open_lane: OpenLane, way: str):
    """Deaths after such calls need not be tried."""
    lane = open_lane("folder", way)
    witness = Witness(partial(outside, lane))
    with lane.open_services(witness) as services:
        promote(PromoteRequest(CandidateRef.parse(lane.ref)), services)
    assert witness.changed == []
    assert len(deaths(witness.calls)) < len(witness.calls)
