"""``candidate load`` lets the daemon pull from loopback: only layers that it lacks leave the share."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jenkins_release.base.errors import RemoteError
from jenkins_release.cli.runtime import Runtime
from jenkins_release.images import DockerEngine
from jenkins_release.images.protocol import PullRefused
from jenkins_release.registry.protocol import RegistryLogin
from jenkins_release.sandbox.dockerd import DockerDaemon
from jenkins_release.sandbox.process import free_port
from jenkins_release.sandbox.sample_images import build_images
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.load import load_candidate
from tests.fixtures.damage import flip
from tests.fixtures.raw_server import RawServer, answer
from tests.fixtures.release import SERVICES, WITHOUT_DAEMON, Product
from tests.fixtures.share import Tap

BASE, OWN = 8 << 20, 1 << 20
MESSAGES = 1 << 20
"""What requests, records and manifests may add to the bytes on the wire."""


def names(engine: DockerEngine) -> set[str]:
    """Every name that the daemon has, also those by digest."""
    return set(engine.names())


@pytest.fixture
def exported(product: Product, engine: DockerEngine) -> Product:
    """Builds 31 and 32 on one base are on the share, and no longer in the daemon."""
    for build in ("31", "32"):
        references = build_images(engine, "8.1.0", build, names=SERVICES, base_size=BASE, own_size=OWN)
        product.ok("candidate", "export", "--version", "8.1.0", "--build", build)
        for each in references:
            engine.untag(each)
    product.environ["JENKINS_RELEASE_LOAD_SOURCE"] = "pull"
    return product


def layers(product: Product, build: str) -> list[dict[str, Any]]:
    """The layers of an image of a candidate, as recorded."""
    record = json.loads((product.candidate(f"8.1.0/{build}") / "candidate.json").read_text())
    found: list[dict[str, Any]] = record["images"][0]["layers"]
    return found


@WITHOUT_DAEMON
def test_only_layers_that_the_daemon_lacks_leave_the_share(
    exported: Product, engine: DockerEngine, make_tap: Callable[[int], Tap]
):
    before = names(engine)
    first = exported.ok("candidate", "load", "8.1.0/31")
    assert first["bytes"] > BASE
    tap = make_tap(exported.sandbox.samba.port)
    exported.edit(f":{exported.sandbox.samba.port}/", f":{tap.port}/")
    second = exported.ok("candidate", "load", "8.1.0/32")
    assert len(SERVICES) * OWN // 4 < second["bytes"] < len(SERVICES) * OWN + MESSAGES
    assert len(tap.received) < len(SERVICES) * OWN + MESSAGES
    assert exported.ok("candidate", "load", "8.1.0/32")["bytes"] == 0
    # Nothing else: neither the endpoint's names nor anything by digest.
    assert names(engine) - before == {f"skydrm/{name}:8.1.0-{b}" for name in SERVICES for b in ("31", "32")}


@WITHOUT_DAEMON
def test_it_is_what_loading_the_archives_gives(exported: Product, engine: DockerEngine):
    pulled = exported.ok("candidate", "load", "8.1.0/31")
    ids = [engine.inspect(each["reference"]) for each in pulled["images"]]
    for each in pulled["images"]:
        engine.untag(each["reference"])
    exported.environ["JENKINS_RELEASE_LOAD_SOURCE"] = "load"
    loaded = exported.ok("candidate", "load", "8.1.0/31")
    assert [engine.inspect(each["reference"]) for each in loaded["images"]] == ids
    assert loaded["images"] == pulled["images"]


def test_names_that_a_dead_command_left_are_removed(exported: Product, engine: DockerEngine):
    """Not those of one that still pulls: its port is open."""
    (reference,) = build_images(
        engine, "8.1.0", "33", names=SERVICES[:1], base_size=1 << 10, own_size=1 << 10
    )
    with socket.create_server(("127.0.0.1", 0)) as running:
        port = running.getsockname()[1]
        stale, used, other = (
            f"127.0.0.1:{free_port()}/jenkins-release/0:candidate",
            f"127.0.0.1:{port}/jenkins-release/0:candidate",
            "127.0.0.1:1/jenkins-release/rms:8.1.0",
        )
        for name in (stale, used, other):
            engine.tag(reference, name)
        exported.ok("candidate", "load", "8.1.0/31")
        assert {stale, used, other} & names(engine) == {used, other}
        for name in (used, other):
            engine.untag(name)


@WITHOUT_DAEMON
def test_an_altered_layer_is_refused_with_its_place(exported: Product, engine: DockerEngine):
    """The daemon gets no end of it, and its message is not what people read."""
    before = names(engine)
    layer = layers(exported, "31")[-1]  # of this build alone
    archive = exported.candidate("8.1.0/31") / "images/skydrm-8.1.0-31.tar"
    flip(archive, layer["offset"] + layer["size"] // 2)
    done = exported.run("candidate", "load", "8.1.0/31")
    assert done.status == 4, done.text
    assert (
        f"at byte {layer['offset']}: expected {layer['digest']} of {layer['size']} bytes, found" in done.err
    )
    assert names(engine) == before


DIES = """
import os, signal, sys
from jenkins_release.cli.entry import main
from jenkins_release.images import docker_engine

class Dying(docker_engine.DockerEngine):
    left = int(sys.argv[2])

    def __getattribute__(self, name):
        if name == sys.argv[1]:
            Dying.left -= 1
            if Dying.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__getattribute__(name)

docker_engine.DockerEngine = Dying
main(["candidate", "load", "8.1.0/31"])
"""
"""Loads a candidate, and dies before a call of the engine."""


@pytest.mark.parametrize(("call", "number"), [("pull", 1), ("tag", 0)])
def test_a_load_that_is_killed_names_no_image(
    exported: Product, engine: DockerEngine, call: str, number: int
):
    """All images are there before the first gets its name; the next command removes what is left."""
    before = names(engine)
    died = subprocess.run([sys.executable, "-c", DIES, call, str(number)], env=exported.environ, check=False)
    assert died.returncode == -signal.SIGKILL
    left = names(engine) - before
    assert left
    assert all("/jenkins-release/" in name for name in left)
    exported.ok("candidate", "load", "8.1.0/31")
    assert names(engine) - before == {f"skydrm/{name}:8.1.0-31" for name in SERVICES}


def test_a_break_reads_nothing_twice(exported: Product, engine: DockerEngine):
    """What is complete when a daemon fails is there for the next attempt."""

    class Failing(DockerEngine):
        left = 1

        def pull(self, repository: str, digest: str, login: RegistryLogin, check: Callable[[], None]) -> None:
            super().pull(repository, digest, login, check)
            if repository.endswith("/1") and self.left:
                self.left = 0
                raise RemoteError("the daemon was restarted", retryable=True)

    runtime = Runtime(exported.environ)
    with closing(Failing(engine.url)) as failing:
        services = runtime.services
        services.__dict__["engine"] = failing
        services.sleep = lambda _: None
        report = load_candidate(CandidateRef("8.1.0", "31"), services)
        runtime.close()
    assert report.bytes < BASE + 2 * len(SERVICES) * OWN


class Spied(DockerEngine):
    """Says what somebody else on the machine gets from the endpoint while the daemon pulls."""

    answers: list[int]

    def pull(self, repository: str, digest: str, login: RegistryLogin, check: Callable[[], None]) -> None:
        host, _, name = repository.partition("/")
        for path in ("/v2/", f"/v2/{name}/manifests/{digest}"):
            with closing(http.client.HTTPConnection(host, timeout=30)) as connection:
                connection.request("GET", path)
                self.answers.append(connection.getresponse().status)
        super().pull(repository, digest, login, check)


def test_nobody_else_on_the_machine_may_pull(exported: Product, engine: DockerEngine):
    """The endpoint has a login of its own, which only the daemon gets."""
    runtime = Runtime(exported.environ)
    with closing(Spied(engine.url)) as spied:
        spied.answers = []
        services = runtime.services
        services.__dict__["engine"] = spied
        load_candidate(CandidateRef("8.1.0", "31"), services)
        runtime.close()
    assert spied.answers == [401, 401] * len(SERVICES)


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerDaemon]:
    """A daemon whose 127.0.0.1 is another one, as Docker Desktop's and rootless Docker's."""
    daemon = DockerDaemon(tmp_path_factory.mktemp("apart"), own_network=True)
    daemon.start(tied=True)
    yield daemon
    daemon.stop()
    daemon.remove_data()


@pytest.mark.root
def test_a_daemon_that_cannot_pull_gets_the_archives(exported: Product, apart: DockerDaemon):
    """And whoever insists on the pull is told why it does not work."""
    exported.environ["DOCKER_HOST"] = apart.base_url
    refused = exported.run("candidate", "load", "8.1.0/31")
    assert refused.status == 5, refused.text
    assert "connection refused" in refused.err
    exported.environ["JENKINS_RELEASE_LOAD_SOURCE"] = "auto"
    done = exported.run("candidate", "load", "8.1.0/31", "-v")
    assert done.status == 0, done.text
    assert "the archives are loaded, since the daemon cannot pull from this machine" in done.err
    with DockerEngine(apart.base_url) as other:
        assert names(other) == {f"skydrm/{each}:8.1.0-31" for each in SERVICES}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("unix:///var/run/docker.sock", True),
        ("tcp://127.0.0.1:2375", True),
        ("tcp://localhost:2375", True),
        ("tcp://docker.nextlabs.com:2375", False),
        ("ssh://build@docker.nextlabs.com", False),
    ],
)
def test_a_daemon_on_another_machine_is_not_asked_to_pull(url: str, expected: bool):
    assert DockerEngine(url, environ={}).may_share_loopback is expected


def test_a_policy_that_forbids_registries_is_a_refusal(tmp_path: Path):
    """Authorization plugins answer so; then the archives are loaded."""
    version = answer(200, b'{"ApiVersion": "1.41"}')
    denied = answer(403, b'{"message": "authorization denied by plugin policy: no registries"}')
    with (
        RawServer(
            lambda request: version if request.target == "/version" else denied, tmp_path / "d.sock"
        ) as server,
        DockerEngine(server.url, environ={}) as engine,
        pytest.raises(PullRefused, match="authorization denied by plugin policy"),
    ):
        engine.pull("127.0.0.1:5000/rms", f"sha256:{'0' * 64}", RegistryLogin("127.0.0.1:5000", "u", "p"))
