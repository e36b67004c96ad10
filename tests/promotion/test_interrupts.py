"""A registry that does not answer during a promotion: how it ends on a signal, and without one."""

from __future__ import annotations

import contextlib
import copy
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jenkins_release.sandbox.front.server import EcrServer
from tests.faults.http_proxy import HttpProxy, Order, drip, lose_silently, reset, stall, status
from tests.fixtures.cross import some_pairs
from tests.fixtures.process import Ended, signalled, started
from tests.fixtures.release import BY_DAEMON, DEFAULT_WAY
from tests.fixtures.resume import Lane, OpenLane
from tests.fixtures.silence import GENEROUS_S

SIGNALS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}
ENDS_S = 8.0
"""Seconds in which a command has ended that may take two; it took more than 164."""
UNANSWERED = {
    "POST": [Order("POST blobs/uploads", stall)],
    "PATCH": [Order("PATCH blobs/uploads", stall)],
    "PATCH, one byte a second": [Order("PATCH blobs/uploads", drip)],
    "blob PUT": [Order("PUT blobs/uploads", stall)],
    "blob PUT, one byte a second": [Order("PUT blobs/uploads", drip)],
    "HEAD": [Order("PUT blobs/uploads", reset, times=1), Order("HEAD blobs", stall)],
    "state of an upload": [Order("PATCH blobs/uploads", reset, times=1), Order("GET blobs/uploads", stall)],
    "manifest PUT": [Order("PUT manifests", stall)],
    "manifest PUT, answer": [Order("PUT manifests", lose_silently)],
    "a pause of 600 s": [Order("POST blobs/uploads", status(429, Retry_After="600"))],
    "BatchCheckLayerAvailability": [Order("BatchCheckLayerAvailability", stall)],
    "GetAuthorizationToken": [Order("GetAuthorizationToken", stall)],
}
Promotion = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def lane(open_lane: OpenLane, request: pytest.FixtureRequest) -> Lane:
    """A candidate in a folder, with nothing promoted."""
    return open_lane("folder-0", getattr(request, "param", DEFAULT_WAY))


@pytest.fixture(scope="module")
def proxies() -> Iterator[dict[Lane, HttpProxy]]:
    """What stands in the place of each lane's ECR and its registry, which the approval names."""
    with contextlib.ExitStack() as stack:
        yield _Proxies(stack)


class _Proxies(dict[Lane, HttpProxy]):
    """Moves the ECR of a lane to another port, and puts a proxy in its place, until a stack ends."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        super().__init__()
        self._stack = stack

    def __missing__(self, lane: Lane) -> HttpProxy:
        lane.front.stop()
        self._stack.callback(lane.front.start, tied=True)
        moved = EcrServer(lane.root / "ecr", lane._registry.port)
        moved.start(tied=True)
        self._stack.callback(moved.stop)
        proxy = self[lane] = HttpProxy(moved.port, lane.front.port)
        self._stack.callback(proxy.close)
        return proxy


@pytest.fixture
def proxy(lane: Lane, proxies: dict[Lane, HttpProxy]) -> Iterator[HttpProxy]:
    """The lane's proxy, which has seen nothing yet."""
    made = proxies[lane]
    made.seen.clear()
    yield made
    made.heal()


@pytest.fixture
def promotion(lane: Lane, warm_python: str, tmp_path: Path) -> Promotion:
    """Start a promotion through the proxy, with variables of its own."""

    def start(**more: str) -> subprocess.Popen[str]:
        environ = {**lane.environ, "JENKINS_RELEASE_PROMOTE_WORKERS": "4", **more}
        command = [warm_python, "-m", "jenkins_release", "promote", "run", lane.ref]
        return started([*command, "--result", str(tmp_path / "result"), "--json"], environ)

    return start


def ended_by(
    proxy: HttpProxy, process: subprocess.Popen[str], number: signal.Signals, *, times: int = 1
) -> Ended:
    """Send a signal once the last order has been met."""
    return signalled(process, number, lambda: proxy.orders[-1].hits, settle_s=0.5, times=times)


@pytest.mark.parametrize(
    ("state", "workers", "number"),
    [
        (state, *how)
        for state, how in some_pairs(UNANSWERED, [("1", signal.SIGTERM), ("4", signal.SIGINT)], 2)
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_signal_ends_a_promotion_that_waits_for_the_registry(
    lane: Lane,
    proxy: HttpProxy,
    promotion: Promotion,
    tmp_path: Path,
    state: str,
    workers: str,
    number: signal.Signals,
):
    """One line, the result, and the next run finishes what was begun."""
    proxy.suffer(*copy.deepcopy(UNANSWERED[state]))
    process = promotion(JENKINS_RELEASE_PROMOTE_WORKERS=workers)
    ended = ended_by(proxy, process, number)
    code, word = SIGNALS[number]
    assert ended.status == code, ended.err
    assert ended.took_s < ENDS_S
    assert ended.err.splitlines()[-1] == word
    assert "Traceback" not in ended.err
    assert json.loads(ended.out) == json.loads((tmp_path / "result").read_text())
    seen = len(proxy.seen)
    time.sleep(0.3)
    assert len(proxy.seen) == seen
    proxy.heal()
    lane.settled(lane.promote())


@pytest.mark.parametrize("state", ["PATCH", "a pause of 600 s"])
def test_a_second_signal_ends_it_at_once(lane: Lane, proxy: HttpProxy, promotion: Promotion, state: str):
    """It printed ``interrupted`` and went on sending."""
    proxy.suffer(*copy.deepcopy(UNANSWERED[state]))
    ended = ended_by(proxy, promotion(), signal.SIGINT, times=2)
    assert ended.status == 130
    assert ended.err.splitlines().count("interrupted") == 1
    seen = len(proxy.seen)
    time.sleep(0.3)
    assert len(proxy.seen) == seen


@pytest.mark.parametrize(
    ("state", "number"),
    [("POST", signal.SIGINT), ("PATCH", signal.SIGTERM), ("manifest PUT", signal.SIGINT)],
    ids=["POST", "PATCH", "manifest PUT"],
)
@pytest.mark.parametrize("lane", [BY_DAEMON], indirect=True)
def test_a_signal_ends_a_promotion_whose_daemon_waits_for_the_registry(
    lane: Lane, proxy: HttpProxy, promotion: Promotion, state: str, number: signal.Signals
):
    """The daemon pushes; what it still does shows to nobody."""
    proxy.suffer(*copy.deepcopy(UNANSWERED[state]))
    ended = ended_by(proxy, promotion(), number)
    assert (ended.status, ended.err.splitlines()[-1]) == SIGNALS[number]
    assert ended.took_s < ENDS_S
    proxy.heal()
    lane.settled(lane.promote())


@pytest.mark.parametrize("state", ["PATCH", "manifest PUT"])
def test_a_registry_that_stalls_ends_a_promotion_within_its_limits(
    lane: Lane, proxy: HttpProxy, promotion: Promotion, state: str
):
    """And says meanwhile what it waits for."""
    proxy.suffer(*copy.deepcopy(UNANSWERED[state]))
    process = promotion(
        JENKINS_RELEASE_NETWORK_ANSWER_S="4",
        JENKINS_RELEASE_NETWORK_LEAST_RATE=str(1 << 24),
        JENKINS_RELEASE_RETRY_ATTEMPTS="2",
    )
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 5, err
    assert "did not answer in time: not done after" in json.loads(out)["error"]["message"]
    assert re.search(r"waiting for 127\.0\.0\.1:\d+ to answer \(.* since .* UTC, until ", err), err
    proxy.heal()
    lane.settled(lane.promote())


def test_what_has_arrived_is_not_sent_again_when_its_answer_drips(
    lane: Lane, proxy: HttpProxy, promotion: Promotion
):
    """One byte a second kept a promotion waiting without limit and without a word."""
    proxy.suffer(*copy.deepcopy(UNANSWERED["PATCH, one byte a second"]))
    limits = {
        "JENKINS_RELEASE_NETWORK_ANSWER_S": "1",
        "JENKINS_RELEASE_NETWORK_LEAST_RATE": str(1 << 24),
    }
    process = promotion(**limits)
    try:
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert "did not answer in time: not done after 1 s" in err
    assert proxy.seen.count("PATCH blobs/uploads") == proxy.seen.count("GET blobs/uploads")
    proxy.heal()
    lane.settled(lane.promote())


def test_a_layer_that_fails_for_good_ends_the_others(lane: Lane, proxy: HttpProxy, promotion: Promotion):
    """They may wait for an answer for a minute."""
    denied = status(403, b'{"errors": [{"code": "DENIED", "message": "no"}]}')
    proxy.suffer(Order("PATCH blobs/uploads", stall, times=2), Order("PATCH blobs/uploads", denied))
    process = promotion()
    begun = time.monotonic()
    try:
        out, err = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 5, err
    assert "DENIED" in json.loads(out)["error"]["message"]
    assert time.monotonic() - begun < 2 * GENEROUS_S
