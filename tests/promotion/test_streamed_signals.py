"""A promotion that is ended in the middle of a large layer, which goes to the registry in one request."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Iterator

import pytest

from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.sample_images import build_images
from tests.faults.http_proxy import HttpProxy
from tests.faults.wire import SENT, Flow, Labels, Trouble, Wire
from tests.fixtures.process import signalled, started
from tests.fixtures.release import SERVICES, Product

BASE, OWN = 1 << 20, 12 << 20
RATE = 3 << 20
"""Bytes a second of a connection: a layer takes four seconds, and the base less than one."""
ENDS_S = 4.0
"""Two seconds are promised, the rest is for a busy machine."""
REF = "8.1.0/44"


class Slow(Trouble):
    """A slow line to the registry.

    Attributes:
        sent: Bytes that passed.
        longest: The most that passed on one connection.
    """

    def __init__(self) -> None:
        self.sent = self.longest = 0

    def passes(self, flow: Flow, way: str, piece: bytes, labels: Labels) -> Iterable[bytes]:
        if way == SENT:
            flow.ended.wait(len(piece) / RATE)
            self.sent += len(piece)
            self.longest = max(self.longest, flow.passed[way])
        yield piece


@pytest.fixture
def line(product: Product, engine: DockerEngine) -> Iterator[Wire]:
    """The line to ECR, and a candidate with large layers that QA validated."""
    build_images(engine, "8.1.0", "44", names=SERVICES, base_size=BASE, own_size=OWN)
    product.export("44")
    product.sign_off(REF)
    port = product.sandbox.ecr.port
    proxy = HttpProxy(port)
    wire = Wire(proxy.port)
    proxy.shown_port = wire.port
    for name, value in product.environ.items():
        product.environ[name] = value.replace(f"127.0.0.1:{port}", f"127.0.0.1:{wire.port}")
    yield wire
    wire.close()
    proxy.close()


def to_push(product: Product) -> int:
    """Return the bytes that the next run will send."""
    return sum(image["push_bytes"] for image in product.ok("promote", "plan", REF)["images"])


def test_each_run_goes_on_from_what_is_whole(product: Product, line: Wire, warm_python: str):
    """Nothing is tagged before all of it is there, and blobs that arrived whole are not sent again."""
    command = [warm_python, "-m", "jenkins_release", "promote", "run", REF, "--json"]
    environ = product.environ | {"JENKINS_RELEASE_PROMOTE_WORKERS": "4"}
    first = to_push(product)
    assert first > len(SERVICES) * (BASE + OWN)
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        slow = Slow()
        line.suffer(slow)
        process = started(command, environ)
        ended = signalled(process, number, lambda slow=slow: slow.longest > OWN // 2)
        assert ended.took_s < ENDS_S
        assert ended.status == (-number if number == signal.SIGKILL else 128 + number), ended.err
        assert "Traceback" not in ended.err
        line.heal()
        assert not any(product.tags().values())
        left = to_push(product)
        assert len(SERVICES) * OWN < left < first
    slow = Slow()
    line.suffer(slow)
    last = started(command, environ)
    out, err = last.communicate(timeout=120)
    assert (last.returncode, json.loads(out)["changed"]) == (0, True), err
    assert left < slow.sent < left + (1 << 20)
    assert all("8.1.0" in tags for tags in product.tags().values())
    line.heal()
    assert not product.ok("promote", "run", REF)["changed"]
