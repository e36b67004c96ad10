"""A promotion that dies anywhere is finished by the same command, and customers never see half a release."""

from __future__ import annotations

import queue
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fixtures.resume import ONCE, Customers, Lane, OpenLane

EVERY = re.compile("")
CHANGES = re.compile(
    r"share\.(create|rename|remove|make_folder|lease)|engine\.(load|tag|push|untag)"
    r"|blobs\.(upload|mount|put_manifest)|registry\.(create_repository|set_tag|remove_tag|allow_moving)"
)
"""Calls that may change something outside; between two of them a death is the same as after the first."""
LANES = 2
"""Promotions that are killed at the same time, each with servers of its own."""


class Deaths:
    """Kills a promotion after one call to the outside after the other, on several lanes at a time.

    Args:
        lanes: Where.
        chosen: What the names of the calls begin with after which one is killed.

    Attributes:
        calls: The calls of a promotion that nobody kills.
        killed: Numbers of the calls after which one was killed, finished and checked.
        released: How many images had the release tag at the moments of death.
    """

    def __init__(self, lanes: list[Lane], chosen: re.Pattern[str]) -> None:
        self._lanes = lanes
        whole = lanes[0].promote()
        lanes[0].settled(whole)
        assert lanes[0].pushes() == ONCE
        self.calls = whole.calls
        self.killed: set[int] = set()
        self.released: set[int] = set()
        self._left: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._failed = threading.Event()
        self.chosen = {n for n, what in enumerate(self.calls, start=1) if chosen.match(what)}
        for number in sorted(self.chosen):
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
@pytest.mark.parametrize(
    ("way", "chosen"),
    [("registry, gzip", EVERY), ("docker, plain", CHANGES)],
    ids=["registry, gzip", "docker, plain"],
)
def test_a_promotion_killed_after_any_call_is_finished_by_the_same_command(
    open_lane: OpenLane, way: str, chosen: re.Pattern[str]
):
    """Same tags, same attestations, once; nothing is pushed again, and the record names who pushed what.

    After every call where nothing but the calls tells what is a step; with a daemon, whose steps are
    the same but for the push, after every call that may change something outside.
    """
    deaths = Deaths([open_lane(f"smb-{number}", way) for number in range(LANES)], chosen)
    deaths.die_everywhere()
    assert deaths.killed == deaths.chosen
    assert deaths.released == {0, 1, 2}
    changes = {what for what in deaths.calls if CHANGES.match(what)}
    assert {"engine.push", "engine.load"} <= changes or {"blobs.put_manifest"} <= changes
    assert "registry.set_tag" in changes
    assert any(what.startswith("share.create") for what in changes)
