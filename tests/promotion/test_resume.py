"""A promotion that dies anywhere is finished by the same command, and customers never see half a release."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.promotion.promote import PromoteRequest, promote
from tests.fixtures.resume import ONCE, Customers, Lane, OpenLane
from tests.release.boundaries import Witness, contents, deaths


class Deaths:
    """Kills a promotion after calls that change something outside.

    Args:
        lane: Where it is promoted.
        share: Whether after those to the share, or after all the others.

    Attributes:
        calls: The calls of a promotion that nobody kills.
        moments: Numbers of the calls after which one is killed.
        killed: Numbers of the calls after which one was killed, finished and checked.
        released: How many images had the release tag at the moments of death.
    """

    def __init__(self, lane: Lane, *, share: bool) -> None:
        self._lane = lane
        whole = lane.promote()
        lane.settled(whole)
        assert lane.pushes() == ONCE
        self.calls = whole.calls
        self.killed: set[int] = set()
        self.released: set[int] = set()
        self.moments = [n for n in deaths(self.calls) if self.calls[n - 1].startswith("share.") == share]
        if lane.pushes_by_daemon:  # all the rest is one code, which the other way runs too
            self.moments = [n for n in self.moments if _beside_daemon(self.calls, n)]

    def die_everywhere(self) -> None:
        """Work through all moments; the first failure ends it."""
        with Customers(self._lane) as customers:
            for number in self.moments:
                try:
                    self._die(number)
                except BaseException as error:
                    raise AssertionError(f"killed after call {number}, {self.calls[number - 1]}") from error
        assert customers.wrong == []
        assert customers.looks > 0

    def _die(self, number: int) -> None:
        lane = self._lane
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
    """Same tags, same attestations, once; nothing is pushed again, and the record names who pushed what.

    It dies on SMB after what it does to the share, and at the same time, in a folder, after everything else.
    """
    died = [Deaths(open_lane("smb-0", way), share=True), Deaths(open_lane("folder-0", way), share=False)]
    with ThreadPoolExecutor(len(died)) as pool:
        for done in [pool.submit(each.die_everywhere) for each in died]:
            done.result()
    for each in died:
        assert each.moments
        assert each.killed == set(each.moments)
    released = died[0].released | died[1].released
    assert released == ({0} if way == "docker, plain" else {0, 1, 2})


def outside(lane: Lane) -> object:
    """Return everything that a promotion could change."""
    return contents(lane.folder.parents[2]), lane.tags(), lane.blobs(), lane.on_daemon()


@pytest.mark.parametrize("way", ["docker, plain", "registry, gzip"])
def test_what_is_said_to_read_only_changes_nothing(open_lane: OpenLane, way: str):
    """Deaths after such calls need not be tried."""
    lane = open_lane("folder-0", way)
    witness = Witness(partial(outside, lane))
    with lane.open_services(witness) as services:
        promote(PromoteRequest(CandidateRef.parse(lane.ref)), services)
    assert witness.changed == []
    assert len(deaths(witness.calls)) < len(witness.calls)
