"""Faults in the middle of an export by push: of the daemon, of the share, and signals."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from jenkins_release.endpoint.server import LoopbackServer
from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.dockerd import DockerDaemon
from jenkins_release.sandbox.sample_images import build_images
from jenkins_release.steps.candidate import export_source
from jenkins_release.steps.candidate.push_intake import PushIntake
from tests.fixtures.cross import some_pairs
from tests.fixtures.docker_policy import Policy, policy
from tests.fixtures.process import Ended, signalled, started
from tests.fixtures.release import SERVICES, Product
from tests.fixtures.share import Tap

pytestmark = pytest.mark.root
BASE, OWN = 8 << 20, 1 << 20
EXPORT = ("candidate", "export", "--version", "8.1.0", "--build")
SIGNALS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}
ENDS_S = 4.0
"""Two seconds are promised, the rest is for a busy machine."""
TEMPORARY = "/jenkins-release/"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerDaemon]:
    """A daemon of this file's own, which may be killed. It has builds 61 and 62, on one base."""
    made = DockerDaemon(tmp_path_factory.mktemp("pushing"))
    made.start(tied=True)
    with closing(DockerEngine(made.base_url)) as engine:
        for build in ("61", "62"):
            build_images(engine, "8.1.0", build, names=SERVICES, base_size=BASE, own_size=OWN)
    yield made
    made.stop()
    made.remove_data()


@pytest.fixture
def pushing(product: Product, daemon: DockerDaemon) -> Product:
    """A product whose images this daemon pushes."""
    daemon.start(tied=True)
    product.environ["DOCKER_HOST"] = daemon.base_url
    product.environ["JENKINS_RELEASE_EXPORT_SOURCE"] = "push"
    return product


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Do something once, when the daemon has sent the beginning of its first layer."""
    begins = PushIntake.layer_begins

    def once(action: Callable[[], object]) -> None:
        def begin(self: PushIntake) -> None:
            monkeypatch.setattr(PushIntake, "layer_begins", begins)
            begins(self)
            action()

        monkeypatch.setattr(PushIntake, "layer_begins", begin)

    return once


def kill(daemon: DockerDaemon) -> None:
    """End it by SIGKILL, as the kernel does that has no memory left."""
    pid = daemon.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def restart(daemon: DockerDaemon) -> None:
    """Start it again after :func:`kill`."""
    daemon.stop()
    daemon.start(tied=True)


def temporary_names(daemon: DockerDaemon) -> list[str]:
    """Return the names that an export gave images in a daemon."""
    with closing(DockerEngine(daemon.base_url)) as engine:
        return [name for name in engine.names() if TEMPORARY in name]


def left_on_share(product: Product) -> list[str]:
    """Return what is on the share and not part of a candidate."""
    return [str(path) for path in product.share.rglob("*") if ".incoming-" in path.name]


def whole(product: Product, daemon: DockerDaemon, build: str, source: str = "push") -> None:
    """Check that the next export works, and leaves nothing in the daemon or on the share."""
    assert product.ok(*EXPORT, build)["source"] == source
    product.ok("candidate", "verify", f"8.1.0/{build}")
    assert not temporary_names(daemon)
    assert not left_on_share(product)


def test_a_daemon_that_is_killed(
    pushing: Product, daemon: DockerDaemon, meanwhile: Callable[[Callable[[], object]], None]
):
    """One clear error, and nothing on the share; the name that it kept is removed by the next export."""
    meanwhile(lambda: kill(daemon))
    done = pushing.run(*EXPORT, "61")
    assert done.status == 5, done.text
    assert "no Docker daemon answers at" in done.err
    assert "Traceback" not in done.err
    assert not pushing.candidate("8.1.0/61").exists()
    assert not left_on_share(pushing)
    restart(daemon)
    whole(pushing, daemon, "61")


def test_a_daemon_that_is_restarted_meanwhile(
    pushing: Product, daemon: DockerDaemon, meanwhile: Callable[[Callable[[], object]], None]
):
    """The export begins again, and removes the name that the daemon kept."""

    def again() -> None:
        kill(daemon)
        restart(daemon)

    meanwhile(again)
    whole(pushing, daemon, "61")


class TestAuto:
    """A push is chosen, and turns out to be no good."""

    @pytest.fixture(autouse=True)
    def limits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(export_source, "_WORTH_S", 0.0)
        monkeypatch.setattr(export_source, "_LEAST_BOUND_S", 2.0)

    @pytest.fixture
    def known(self, pushing: Product) -> Product:
        """Build 61 is on the share, and the daemon knows the digests of its layers."""
        pushing.ok(*EXPORT, "61")
        pushing.environ["JENKINS_RELEASE_EXPORT_SOURCE"] = "auto"
        return pushing

    def test_a_daemon_that_stands_still(
        self, known: Product, daemon: DockerDaemon, meanwhile: Callable[[Callable[[], object]], None]
    ):
        """No line comes, and still the push ends in time; the daemon goes on, and saves."""
        meanwhile(daemon.freeze)
        thaw = threading.Timer(4.0, daemon.thaw)
        thaw.start()
        begun = time.monotonic()
        try:
            done = known.ok(*EXPORT, "62")
        finally:
            thaw.join()
            daemon.thaw()
        assert (done["source"], done["why"]) == ("save", "the daemon has been pushing for more than 2 s")
        assert time.monotonic() - begun < 30
        known.ok("candidate", "verify", "8.1.0/62")
        assert not temporary_names(daemon)
        assert not left_on_share(known)

    def test_a_daemon_that_is_restarted_meanwhile(
        self, known: Product, daemon: DockerDaemon, meanwhile: Callable[[Callable[[], object]], None]
    ):
        """It saves: what a push does is not worth a second attempt."""

        def again() -> None:
            kill(daemon)
            restart(daemon)

        meanwhile(again)
        whole(known, daemon, "62", "save")


@pytest.mark.parametrize(
    ("number", "state"),
    some_pairs(SIGNALS, ["running", "frozen"], 2),
    ids=lambda value: getattr(value, "name", None),
)
def test_a_signal_in_the_middle(pushing: Product, daemon: DockerDaemon, number: signal.Signals, state: str):
    """The end within two seconds; the name goes at once, or with the next export."""
    frozen = state == "frozen"

    def ready() -> bool:
        if not temporary_names(daemon):
            return False
        if frozen:
            daemon.freeze()
        return True

    process = started([sys.executable, "-m", "jenkins_release", *EXPORT, "61"], pushing.environ)
    try:
        ended: Ended = signalled(process, number, ready, settle_s=0.3)
    finally:
        daemon.thaw()
    assert (ended.status, ended.err.splitlines()[-1]) == SIGNALS[number], ended.err
    assert ended.took_s < ENDS_S
    assert "Traceback" not in ended.err
    assert not pushing.candidate("8.1.0/61").exists()
    if not frozen:
        assert not temporary_names(daemon)
        assert not left_on_share(pushing)
    whole(pushing, daemon, "61")


def test_an_export_that_is_killed(pushing: Product, daemon: DockerDaemon):
    """The next one removes what it left."""
    process = started([sys.executable, "-m", "jenkins_release", *EXPORT, "61"], pushing.environ)
    signalled(process, signal.SIGKILL, lambda: temporary_names(daemon))
    assert not pushing.candidate("8.1.0/61").exists()
    assert temporary_names(daemon)
    whole(pushing, daemon, "61")


@pytest.fixture(scope="module")
def forbidding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DockerDaemon, Policy]]:
    """A daemon with builds 61 and 62, and its policy."""
    with policy() as made:
        options = [f"--authorization-plugin={made.name}"]
        daemon = DockerDaemon(tmp_path_factory.mktemp("policy"), options=options)
        daemon.start(tied=True)
        with closing(DockerEngine(daemon.base_url)) as engine:
            for build in ("61", "62"):
                build_images(engine, "8.1.0", build, names=SERVICES, base_size=BASE, own_size=OWN)
        yield daemon, made
        made.denied = ""
        daemon.stop()
        daemon.remove_data()


class TestPolicy:
    """A daemon that asks an authorization plugin; its answer is the reason that people read."""

    @pytest.mark.parametrize("denied", [r"POST \S+/images/\S+/push", r"POST \S+/images/\S+/tag"])
    def test_an_export_saves(
        self,
        product: Product,
        forbidding: tuple[DockerDaemon, Policy],
        monkeypatch: pytest.MonkeyPatch,
        denied: str,
    ):
        """At once, and says why; whoever insists on the push is told."""
        monkeypatch.setattr(export_source, "_WORTH_S", 0.0)
        daemon, rules = forbidding
        rules.denied, product.environ["DOCKER_HOST"] = "", daemon.base_url
        product.ok(*EXPORT, "61")
        rules.denied, rules.asked = denied, []
        done = product.ok(*EXPORT, "62")
        assert done["source"] == "save"
        assert "registries are listed by IT" in done["why"]
        assert len(rules.asked) == 1
        product.candidate("8.1.0/62").rename(product.share / "aside")
        refused = product.run(*EXPORT, "62", JENKINS_RELEASE_EXPORT_SOURCE="push")
        assert refused.status == 5
        assert "registries are listed by IT" in refused.err
        assert len(rules.asked) == 2
        assert not temporary_names(daemon)
        assert not left_on_share(product)

    def test_a_load_loads(self, product: Product, forbidding: tuple[DockerDaemon, Policy]):
        daemon, rules = forbidding
        rules.denied, product.environ["DOCKER_HOST"] = "", daemon.base_url
        product.ok(*EXPORT, "61")
        rules.denied, rules.asked = r"POST \S+/images/create", []
        done = product.run("candidate", "load", "8.1.0/61", "-v")
        assert done.status == 0, done.text
        assert "registries are listed by IT" in done.err
        assert len(rules.asked) == 1
        refused = product.run("candidate", "load", "8.1.0/61", JENKINS_RELEASE_LOAD_SOURCE="pull")
        assert refused.status == 5
        assert "registries are listed by IT" in refused.err


class TestShare:
    """The share fails while the daemon pushes."""

    def test_it_stands_still(
        self, pushing: Product, meanwhile: Callable[[Callable[[], object]], None], daemon: DockerDaemon
    ):
        """The wait names the share, and has an end; nothing stays once it is back."""
        samba = pushing.sandbox.samba
        meanwhile(samba.freeze)
        pushing.environ["JENKINS_RELEASE_SHARE_TIMEOUT_S"] = "4"
        pushing.environ["JENKINS_RELEASE_RETRY_DEADLINE_S"] = "8"
        begun = time.monotonic()
        try:
            done = pushing.run(*EXPORT, "61")
        finally:
            samba.thaw()
        assert done.status == 5, done.text
        assert time.monotonic() - begun < 45
        told = re.search(r"export images/\S+: .*, waiting for (\S+) since .* until ", done.err)
        assert told, done.err
        assert told[1] in done.err.partition("\nerror: ")[2], done.err
        whole(pushing, daemon, "61")

    def test_a_signal_while_it_stands_still(self, pushing: Product, daemon: DockerDaemon):
        def ready() -> bool:
            if not temporary_names(daemon):
                return False
            pushing.sandbox.samba.freeze()
            return True

        process = started([sys.executable, "-m", "jenkins_release", *EXPORT, "61"], pushing.environ)
        try:
            ended = signalled(process, signal.SIGINT, ready, settle_s=4.0)
        finally:
            pushing.sandbox.samba.thaw()
        assert (ended.status, ended.err.splitlines()[-1]) == SIGNALS[signal.SIGINT], ended.err
        assert ended.took_s < ENDS_S
        assert not temporary_names(daemon)
        whole(pushing, daemon, "61")

    def test_its_connection_is_cut(
        self,
        pushing: Product,
        daemon: DockerDaemon,
        meanwhile: Callable[[Callable[[], object]], None],
        make_tap: Callable[[int], Tap],
    ):
        """The export goes on."""
        tap = make_tap(pushing.sandbox.samba.port)
        pushing.edit(f":{pushing.sandbox.samba.port}/", f":{tap.port}/")
        meanwhile(tap.cut)
        whole(pushing, daemon, "61")


def test_somebody_else_on_the_machine(
    pushing: Product, daemon: DockerDaemon, monkeypatch: pytest.MonkeyPatch
):
    """A thousand connections, half of them slow; requests without the login learn nothing."""
    enter, answers, intruders = LoopbackServer.__enter__, [], []

    def intrude(host: str, stack: ExitStack) -> None:
        address = ("127.0.0.1", int(host.rpartition(":")[2]))
        for number in range(1000):
            with suppress(OSError):
                connection = stack.enter_context(socket.create_connection(address, 5))
                if number % 2:
                    connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nSlow: ")
                elif number % 10 == 0:
                    path = f"/v2/jenkins-release/0/blobs/sha256:{number:064x}"
                    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                    answers.append(connection.recv(1 << 16))

    with ExitStack() as stack:

        def begin(self: LoopbackServer) -> LoopbackServer:
            entered = enter(self)
            intruders.append(threading.Thread(target=intrude, args=(self.host, stack)))
            intruders[-1].start()
            return entered

        monkeypatch.setattr(LoopbackServer, "__enter__", begin)
        done = pushing.ok(*EXPORT, "61")
        for each in intruders:
            each.join()
    assert done["source"] == "push"
    told = {answer for answer in answers if answer}
    assert told
    assert {answer.split(b" ", 2)[1] for answer in told} == {b"401"}
    assert not any(b"sha256" in answer for answer in told)
    monkeypatch.undo()
    pushing.ok("candidate", "verify", "8.1.0/61")
