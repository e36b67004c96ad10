"""The observer of the matrix sees what it is there to see, and proxies do what they say."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from jenkins_release.sandbox.process import LOOPBACK
from tests.faults import http_proxy, wire
from tests.faults.catalogue import Deed
from tests.faults.commands import COMMANDS, Play
from tests.faults.http_proxy import HttpProxy, Order
from tests.faults.matrix import Watcher
from tests.faults.stage import BUCKET, REF, VERSION, Stage
from tests.faults.wire import RECEIVED, SENT, At, AtCommand, Wire
from tests.fixtures.listener import Listener
from tests.fixtures.share import eventually


@pytest.fixture
def play(stage: Stage) -> Iterator[Play]:
    """A release that is out, about to be withdrawn."""
    made = Play(stage, COMMANDS["release withdraw"])
    made.prepare()
    yield made
    made.prepare()
    made.close()


class TestTheObserver:
    def test_finds_nothing_wrong_with_a_release(self, play: Play):
        """Otherwise every cell would fail."""
        assert play.look() == []
        assert play.visible() == "the release"

    @pytest.mark.parametrize("name", ["candidate.json", "SHA256SUMS", "installers/SkyDRM-8.1.0.msi"])
    def test_sees_a_candidate_that_is_not_complete(self, play: Play, name: str):
        """A file is missing."""
        (play.product.share / "SkyDRM" / REF / name).unlink()
        (told,) = play.look()
        assert "is visible and not complete" in told

    def test_sees_a_wrong_byte(self, play: Play):
        """In a published release."""
        path = play.product.releases / "SkyDRM" / VERSION / "installers" / "SkyDRM-8.1.0.msi"
        data = bytearray(path.read_bytes())
        data[5000] ^= 1
        path.write_bytes(data)
        (told,) = play.look()
        assert "has other bytes than SHA256SUMS says" in told

    def test_sees_half_a_statement(self, play: Play):
        """An attestation under its own name."""
        path = play.product.share / "SkyDRM" / REF / "attestations" / "0009-qa.dsse.json"
        path.write_text('{"payload": "')
        (told,) = play.look()
        assert "is visible and not complete" in told

    def test_sees_a_release_tag_on_another_image(self, play: Play):
        """The tag of one image's repository leads to the image of another version."""
        name = play.product.repositories[0]
        client = play.stage.registry
        client.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": VERSION}])
        other = play.product.manifests[name, "8.2.0"][1]
        client.put_image(repositoryName=name, imageManifest=other, imageTag=VERSION)
        assert any(f"{name}:{VERSION} is" in told for told in play.look())

    def test_sees_half_a_release(self, play: Play):
        """One repository has the release tag, another one lacks the image."""
        name = play.product.repositories[1]
        digest = play.product.manifests[name, VERSION][0]
        play.stage.registry.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": digest}])
        assert f"{VERSION} is released and {name} has no such image" in play.look()

    def test_sees_what_is_wrong_at_the_portal(self, stage: Stage):
        """Other bytes, and a page that shows what is not there."""
        made = Play(stage, COMMANDS["release portal"])
        made.prepare()
        assert stage.runner.run(*made.words(), environ=made.environ()).status == 0
        assert made.look() == []
        prefix, file = f"p{made.number}/SkyDRM/{VERSION}/", f"installers/SkyDRM-{VERSION}.msi"
        stage.bucket.put_object(Bucket=BUCKET, Key=prefix + file, Body=b"other")
        assert made.look() == [f"SkyDRM/{VERSION}/{file} has other bytes than the release area"]
        stage.bucket.delete_object(Bucket=BUCKET, Key=prefix + file)
        assert made.look() == [f"the page shows the release, and {file} is missing"]
        made.close()

    def test_sees_a_service_that_runs_something_else(self, stage: Stage):
        """Neither what ran before nor the release."""
        made = Play(stage, COMMANDS["saas refresh"])
        made.prepare()
        assert made.look() == []
        image = f"{stage.sandbox.ecr.host}/released/rms@sha256:{'0' * 64}"
        container = {"name": "rms", "image": image, "essential": True}
        wrong = stage.services.register_task_definition(family="wrong", containerDefinitions=[container])
        revision = wrong["taskDefinition"]["taskDefinitionArn"]
        stage.services.update_service(cluster=made.cluster, service="rms", taskDefinition=revision)
        assert made.look() == [f"the service rms is to run {image}"]
        made.close()

    def test_sees_half_a_setup_zip(self, stage: Stage):
        """A file that breaks off."""
        made = Play(stage, COMMANDS["bundle build"])
        made.prepare()
        assert made.look() == []
        whole = made.product.snapshots["setup"].read_bytes()
        (made.folder / "setup.zip").write_bytes(whole[: len(whole) // 2])
        assert made.look() == ["the setup zip is not whole"]
        made.close()


class TestTheWatcher:
    """The observer's thread: a cell holds only if it has looked."""

    def test_reports_that_it_could_not_look(self):
        """A thread that ended without a word would have seen nothing wrong."""
        blind = SimpleNamespace(look=lambda: {}["nothing"])
        with Watcher(blind) as watcher:  # type: ignore[arg-type]
            told = ["the observer cannot look: KeyError: 'nothing'"]
            assert eventually(lambda: watcher.problems() == told)

    def test_reports_that_it_never_looked(self):
        """The command was quicker than its first look."""
        with Watcher(SimpleNamespace(look=list)) as watcher:  # type: ignore[arg-type]
            pass
        assert watcher.problems() == ["the observer never looked"]

    def test_reports_once_what_it_sees_again_and_again(self):
        """Each problem is one line of the result."""
        looks: list[str] = []

        def look() -> list[str]:
            looks.append("")
            return ["a wrong byte"]

        with Watcher(SimpleNamespace(look=look)) as watcher:  # type: ignore[arg-type]
            assert eventually(lambda: len(looks) > 2)
        assert watcher.problems() == ["a wrong byte"]


class TestADeed:
    """What is done to a server counts once it is done."""

    def test_counts_when_it_is_done(self):
        """Not when it is due."""
        free = threading.Event()
        deed = Deed(free.wait)
        assert not deed.came()
        deed.begin()
        free.set()
        assert deed.came()

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    @pytest.mark.parametrize("action", [lambda: False, lambda: {}["nothing"]])
    def test_that_fails_is_no_fault(self, action: Callable[[], object]):
        """No process to kill, or a program that is not installed: the cell would test nothing."""
        deed = Deed(action)
        deed.begin()
        assert not deed.came()


@pytest.fixture
def line() -> Iterator[tuple[Wire, list[socket.socket]]]:
    """A wire before a server that takes connections, and its ends of them."""
    ends: list[socket.socket] = []
    server = Listener(ends.append)
    made = Wire(server.port)
    yield made, ends
    made.close()
    server.close()
    for each in ends:
        each.close()


def joined(line: tuple[Wire, list[socket.socket]]) -> tuple[socket.socket, socket.socket]:
    """Return both ends of a new connection."""
    made, ends = line
    before = len(ends)
    client = socket.create_connection((LOOPBACK, made.port), timeout=10)
    assert eventually(lambda: len(ends) > before)
    ends[-1].settimeout(10)
    return client, ends[-1]


class TestTheWire:
    def test_hands_on_what_is_said(self, line: tuple[Wire, list[socket.socket]]):
        """Both ways, and the end."""
        client, server = joined(line)
        with client:
            client.sendall(b"ask")
            assert server.recv(9) == b"ask"
            server.sendall(b"answer")
            assert client.recv(9) == b"answer"
        assert server.recv(9) == b""

    def test_stalls_at_a_byte_and_keeps_both_sockets(self, line: tuple[Wire, list[socket.socket]]):
        """What came before the byte passes; neither end hears of an end, until it is healed."""
        line[0].suffer(At("stall", 3, SENT))
        client, server = joined(line)
        with client:
            client.sendall(b"abcdef")
            assert server.recv(9) == b"abc"
            client.sendall(b"more")
            for each in (client, server):
                each.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    each.recv(9)
            line[0].heal()
            client.settimeout(10)
            with pytest.raises(ConnectionResetError):
                client.recv(9)

    def test_loses_one_way(self, line: tuple[Wire, list[socket.socket]]):
        """The server hears the client, and is not heard."""
        line[0].suffer(At("oneway", 3, SENT, wire=line[0]))
        client, server = joined(line)
        with client:
            client.sendall(b"abcd")
            heard = b""
            while len(heard) < 4:
                heard += server.recv(9)
            assert heard == b"abcd"
            server.sendall(b"answer")
            client.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.recv(9)

    def test_resets(self, line: tuple[Wire, list[socket.socket]]):
        """With RST, at both ends; the next connection passes."""
        line[0].suffer(At("reset", 3, SENT))
        client, server = joined(line)
        with client:
            client.sendall(b"abcdef")
            with pytest.raises(ConnectionResetError):
                client.recv(9)
            with pytest.raises(ConnectionResetError):
                while server.recv(9):
                    pass
        client, server = joined(line)
        with client:
            client.sendall(b"abcdef")
            assert server.recv(9) == b"abcdef"

    def test_changes_one_byte(self, line: tuple[Wire, list[socket.socket]]):
        """And no other."""
        line[0].suffer(At("change", 2, RECEIVED))
        client, server = joined(line)
        with client:
            server.sendall(b"abcdef")
            assert client.recv(9) == b"abCdef"
            server.sendall(b"ghi")
            assert client.recv(9) == b"ghi"

    def test_refuses_for_a_while(self, line: tuple[Wire, list[socket.socket]]):
        """On the same port it listens again."""
        line[0].refuse(0.5)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK, line[0].port), timeout=10)

        def connects() -> bool:
            with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, line[0].port), timeout=1):
                return True
            return False

        assert eventually(connects)

    def test_a_refusal_that_ends_later_does_not_end_another_trouble(
        self, line: tuple[Wire, list[socket.socket]]
    ):
        """A cell is over sooner than its fault, and the next one begins."""
        line[0].refuse(0.3)
        line[0].heal()
        line[0].suffer(wire.Deaf())

        def connects() -> bool:
            with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, line[0].port), timeout=1):
                return True
            return False

        assert not eventually(connects, within_s=1)
        line[0].heal()
        assert connects()

    def test_an_answer_counts_as_lost_when_it_comes(self, line: tuple[Wire, list[socket.socket]]):
        """Not when its request passes: the server may never answer."""
        client, _ = joined(line)
        with client:
            (flow,) = line[0].flows()
            trouble = AtCommand("CREATE", "lose", wire=line[0])
            assert list(trouble.passes(flow, SENT, b"ask", ("CREATE",))) == [b"ask"]
            assert not trouble.came
            with pytest.raises(wire.Dropped):
                trouble.passes(flow, RECEIVED, b"answer", ("CREATE",))
            assert trouble.came

    def test_says_nothing_to_whom_it_accepted(self, line: tuple[Wire, list[socket.socket]]):
        """Not even that it ends."""
        line[0].suffer(wire.Mute())
        client, _ = joined(line)
        with client:
            client.sendall(b"ask")
            client.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.recv(9)


class TestTheProxy:
    def test_a_lost_answer_is_one_to_a_request_that_was_done(self, stage: Stage):
        """The server has acted; the client's connection is reset."""
        proxy = HttpProxy(stage.sandbox.registry.port)
        try:
            proxy.suffer(Order("POST blobs/uploads", http_proxy.lose, times=1))
            there = _uploads(stage)
            client = http.client.HTTPConnection(LOOPBACK, proxy.port, timeout=10)
            client.request("POST", "/v2/lost/blobs/uploads/", headers={"Content-Length": "0"})
            with pytest.raises(ConnectionResetError):
                client.getresponse()
            client.close()
            assert _uploads(stage) == there + 1
            client = http.client.HTTPConnection(LOOPBACK, proxy.port, timeout=10)
            client.request("POST", "/v2/lost/blobs/uploads/", headers={"Content-Length": "0"})
            answer = client.getresponse()
            assert answer.status == 202
            assert f":{proxy.port}/" in (answer.getheader("Location") or "")
            client.close()
        finally:
            proxy.close()

    def test_an_upload_that_was_changed_is_refused_as_s3_does(self, stage: Stage):
        """The server behind would keep it, and the portal would hold wrong bytes."""
        digest = base64.b64encode(hashlib.sha256(b"sent").digest()).decode()
        for body, status in ((b"sEnt", 400), (b"sent", 200)):
            client = http.client.HTTPConnection(LOOPBACK, stage.aws_proxy.port, timeout=10)
            client.request("PUT", f"/{BUCKET}/changed", body, {"x-amz-checksum-sha256": digest})
            assert client.getresponse().status == status
            client.close()
            found = stage.bucket.list_objects_v2(Bucket=BUCKET, Prefix="changed")
            assert found["KeyCount"] == (status == 200)
        stage.bucket.delete_object(Bucket=BUCKET, Key="changed")


def _uploads(stage: Stage) -> int:
    folder = stage.sandbox.folder / "registry" / "data"
    return len(list(folder.glob("docker/registry/v2/repositories/lost/_uploads/*")))
