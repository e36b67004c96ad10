"""A promotion in bad times: ECR fails in each phase, the lease is lost, two promote at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from jenkins_release.base.errors import ReleaseError, RemoteError
from jenkins_release.sandbox.ecr.faults import Fault
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.promotion.promote import PromoteRequest, promote
from tests.fixtures.cross import ALL
from tests.fixtures.release import BOTH_ENGINES, BY_DAEMON, DEFAULT_WAY
from tests.fixtures.resume import ONCE, VERSION, Lane, OpenLane
from tests.fixtures.share import Tap, eventually
from tests.release.boundaries import Moment, Observer
from tests.release.runner import Ended


@pytest.fixture
def way(request: pytest.FixtureRequest) -> str:
    """A way into the registry: the default, unless a test asks for others."""
    return str(getattr(request, "param", DEFAULT_WAY))


@pytest.fixture
def lane(open_lane: OpenLane, way: str) -> Lane:
    """A candidate in a folder with nothing promoted: what is about ECR does not depend on the share."""
    return open_lane("folder-0", way)


@pytest.fixture
def smb_lane(open_lane: OpenLane, way: str) -> Lane:
    """A candidate on SMB with nothing promoted."""
    return open_lane("smb-0", way)


def promote_here(lane: Lane, observer: Observer, **options: str) -> None:
    """Promote in this process, with an observer of its calls."""
    with lane.open_services(observer, **options) as services:
        promote(PromoteRequest(CandidateRef.parse(lane.ref)), services)


PHASES = {
    "before the plan": ("registry.repositories", 1),
    "before the repositories are made": ("share.lease enter", 1),
    "between the release tags": ("registry.set_tag", 1),
    "before the temporary tags go": ("registry.set_tag", 2),
    "between the temporary tags": ("registry.remove_tag", 1),
    "before the last look": ("registry.remove_tag", 2),
}
PUSHING = {
    "before the first push": ("engine.tag", 2),
    "between the pushes": ("engine.push", 1),
    "after the pushes": ("registry.missing_layers", 2),
}
"""Phases in which the engines differ."""
OUTAGES = [
    *(pytest.param(DEFAULT_WAY, *call, id=f"{phase}-{DEFAULT_WAY}") for phase, call in PHASES.items()),
    *(
        pytest.param(way, *call, id=f"{phase}-{way}")
        for phase, call in PUSHING.items()
        for way in (DEFAULT_WAY, BY_DAEMON)
    ),
]
DIRECT = {
    ("engine.tag", 2): ("blobs.upload.send", 2),
    ("engine.push", 1): ("blobs.put_manifest", 1),
    # It has asked for the blobs of both repositories before.
    ("registry.missing_layers", 2): ("registry.missing_layers", 4),
}
"""What the registry engine calls at the same place."""


def at(way: str, call: str, number: int) -> tuple[str, int]:
    """Return the call at the same place of a promotion on that way."""
    return DIRECT.get((call, number), (call, number)) if way.startswith("registry") else (call, number)


@pytest.mark.parametrize(("way", "call", "number"), OUTAGES, indirect=["way"])
def test_an_outage_of_ecr_in_any_phase_is_made_good_by_the_next_run(
    lane: Lane, way: str, call: str, number: int
):
    """ECR is gone for good in the middle of a run; the next run, by someone else, finishes it."""
    call, number = at(way, call, number)
    moment = Moment(call, number, lane.front.stop)
    try:
        with pytest.raises(ReleaseError) as caught:
            promote_here(lane, moment)
    finally:
        lane.front.start(tied=True)
    assert moment.came
    assert isinstance(caught.value, RemoteError)
    assert not lane.look().missing
    # What the front took before it stopped is not in its log any more.
    there = {name for name in lane.repositories if lane.tags().get(name)}
    claim = lane.settled(lane.promote(by="sam"))
    assert {name for name in lane.repositories if lane.pushes().get(f"push {name}")} == (
        set(lane.repositories) - there
    )
    people = {run["id"]: run["by"] for run in claim["runs"]}
    for image in claim["images"]:
        assert people[image["pushedByRun"]] == ("rita" if image["repository"] in there else "sam")


def kind(label: str) -> str:
    """Return what a request is about: an API action, or method and place of the registry API."""
    found = re.match(r"(\w+) /v2/.*?/(manifests|blobs/uploads|blobs)/", label)
    return f"{found[1]} {found[2]}" if found else label


@BOTH_ENGINES
def test_credentials_that_end_at_any_kind_of_request_are_made_good_by_the_next_run(lane: Lane):
    """The answer to the last request of each kind is lost, and from then on ECR refuses everything.

    Where Docker pushes, only its own requests are played: the others are those of the other engine.
    """
    lane.settled(lane.promote())
    lane.put_back()
    whole = lane.promote()
    assert whole.status == 0, whole.text
    last = {kind(record.label): number for number, record in enumerate(lane.front.requests())}
    assert {"PutImage", "BatchDeleteImage", "PUT manifests", "BatchGetImage", "CreateRepository"} <= set(last)
    if lane.pushes_by_daemon:
        last = {label: number for label, number in last.items() if " " in label}
        assert len(last) > 3
    for number in last.values():
        lane.put_back()
        lane.front.order(Fault(skip=number, reset_response_after=0))
        lane.front.order(Fault(skip=number, count=None, status=403, code="ExpiredTokenException"))
        broken = lane.promote(by="rita")
        lane.front.cancel_faults()
        assert not lane.look().missing
        if broken.status:
            assert broken.status in {2, 5}, broken.text
        lane.settled(lane.promote(by="sam"))
        assert lane.pushes() == ONCE


MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}"
PROVEN = "all images are proven"
MOMENTS = {
    PROVEN: ("registry.missing_layers", 2),
    "one release tag is set": ("registry.set_tag", 1),
    "one temporary tag is gone": ("registry.remove_tag", 1),
}


@pytest.fixture
def wire(smb_lane: Lane) -> Iterator[Tap]:
    """A wire to the share that can be cut."""
    tap = Tap(smb_lane.share_port)
    yield tap
    tap.close()


@pytest.mark.parametrize(
    ("way", "call", "number"),
    [
        *(pytest.param(DEFAULT_WAY, *call, id=moment) for moment, call in MOMENTS.items()),
        pytest.param(BY_DAEMON, *MOMENTS[PROVEN], id=f"{PROVEN}-{BY_DAEMON}"),
    ],
    indirect=["way"],
)
def test_a_promotion_that_lost_its_lease_touches_no_tag_any_more(
    smb_lane: Lane, wire: Tap, way: str, call: str, number: int
):
    """Its connection is cut, another promotion takes over and ends: the first one stops, and says why."""
    others: list[Ended] = []

    def lose() -> None:
        wire.cut()
        # The server has to notice the cut; a lease that is held is no failure of the other.
        assert eventually(lambda: others.append(smb_lane.promote(by="sam")) or others[-1].status != 6)
        smb_lane.front.forget_requests()

    moment = Moment(*at(way, call, number), lose)
    share = smb_lane.share_location.replace(f":{smb_lane.share_port}/", f":{wire.port}/")
    if call == "registry.missing_layers":
        # The other one has done all that was left: there is nothing that would want the lease.
        promote_here(smb_lane, moment, share__release_candidate=share)
    else:
        with pytest.raises(RemoteError, match=r"lease on .* was lost") as caught:
            promote_here(smb_lane, moment, share__release_candidate=share)
        assert "run it again" in caught.value.hint
    assert moment.came
    changing = {"PutImage", "BatchDeleteImage", "PutImageTagMutability"}
    assert not [record.label for record in smb_lane.front.requests() if record.action in changing]
    claim = smb_lane.settled(others[-1])
    assert {run["by"] for run in claim["runs"]} == {"rita", "sam"}


@BOTH_ENGINES
def test_a_lost_lease_that_nobody_took_is_taken_again(
    smb_lane: Lane, wire: Tap, way: str, caplog: pytest.LogCaptureFixture
):
    """Nobody else was there: the promotion goes on, and pushes nothing again."""
    share = smb_lane.share_location.replace(f":{smb_lane.share_port}/", f":{wire.port}/")
    moment = Moment(*at(way, "registry.missing_layers", 2), wire.cut)
    promote_here(smb_lane, moment, share__release_candidate=share)
    assert moment.came
    assert "taken again: no one else had it meanwhile" in caplog.text
    assert all(VERSION in tags for tags in smb_lane.tags().values())
    claim = smb_lane.settled(smb_lane.promote(by="sam"))
    assert smb_lane.pushes() == ONCE
    assert {run["by"] for run in claim["runs"]} == {"rita"}


@pytest.mark.parametrize("share", ["smb-0", "folder-0"])
def test_the_second_of_two_promotions_is_told_who_is_first_where_and_since_when(
    open_lane: OpenLane, share: str
):
    """Exit status 6; the first is not disturbed, and afterwards there is nothing left to do."""
    lane = open_lane(share)
    second: list[Ended] = []
    promote_here(lane, Moment("blobs.put_manifest", 1, lambda: second.append(lane.promote(by="sam"))))
    (refused,) = second
    assert refused.status == 6, refused.text
    host = os.uname().nodename
    assert re.search(rf"held by rita@{re.escape(host)} pid {os.getpid()} since {MOMENT} UTC", refused.text)
    lane.settled(lane.promote(by="sam"))
    assert lane.pushes() == ONCE


@pytest.mark.parametrize("share", ["smb-0", "folder-0"])
def test_the_lease_of_a_dead_holder_is_free_at_once(open_lane: OpenLane, share: str):
    """After kill -9 while the lease is held the very next one gets it, without waiting."""
    lane = open_lane(share)
    whole = lane.promote()
    held = whole.calls.index("share.lease enter") + 1
    for _ in range(5 if ALL else 2):
        lane.put_back()
        assert lane.promote(kill_after=held).killed
        services = lane.open_services()
        with services.candidates.lease(CandidateRef.parse(lane.ref), "promote", "the next") as lease:
            lease.confirm()
        services.close()
    lane.settled(lane.promote())
