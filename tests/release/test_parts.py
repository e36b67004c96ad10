"""What goes wrong at moments which a whole run does not come to by itself: real steps, simulated services."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from jenkins_release.aws.ecs import RunningTask
from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.http.exchange import NoAnswer, location
from jenkins_release.images.protocol import LocalImage
from jenkins_release.rules.saas.stack import StackHistory
from jenkins_release.steps.candidate.opened import open_candidate
from jenkins_release.steps.promotion.image_push import ImagePush
from jenkins_release.steps.promotion.promote import PromoteRequest, promote
from jenkins_release.steps.promotion.push_docker import DockerPusher
from jenkins_release.steps.saas.history import StackKnowledge
from jenkins_release.steps.saas.refresh import RefreshRequest, refresh_stack
from jenkins_release.steps.trust import document as trust
from tests.fixtures.memory import MemoryCluster, MemoryEngine, MemoryRegistry
from tests.fixtures.raw_server import RawServer, Request
from tests.release.adversary import NAMES, REF, Scene, World
from tests.rules.test_trust import draft

ATTEMPTS = 2
"""Those of the scene's ``release.toml``."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A product with an approved candidate, promoted through a Docker daemon."""
    return Scene(tmp_path_factory.mktemp("parts"), "docker", "plain")


class LateTasks(MemoryCluster):
    """A cluster that lists no task at first."""

    late = 0

    def tasks(self, service: str) -> list[RunningTask]:
        """Describe the running tasks."""
        self.late -= 1
        return [] if self.late >= 0 else super().tasks(service)


@pytest.mark.parametrize(("late", "proven"), [(0, True), (ATTEMPTS - 1, True), (ATTEMPTS, False)])
def test_a_service_is_proven_by_its_tasks(scene: Scene, late: int, proven: bool) -> None:
    """No task in the list says nothing about what the service runs."""
    world = scene.world(scene.files)
    promote(PromoteRequest(REF), world.services)
    cluster = LateTasks(NAMES)
    world.services.__dict__["ecs"] = cluster
    cluster.late = late
    if proven:
        assert refresh_stack(RefreshRequest(str(REF)), world.services).changed
    else:
        with pytest.raises(RemoteError, match=f"lists 0 of 1 tasks of {NAMES[0]}"):
            refresh_stack(RefreshRequest(str(REF)), world.services)


def test_a_return_quotes_the_note_about_its_own_release() -> None:
    """8.1/4 is not 8.1/42."""
    notes = ("8.1/42: of 42", "8.1/4 cannot be read: of 4")
    knowledge = StackKnowledge(StackHistory(), (), notes, lost=(), opened={})
    assert knowledge.why_unproven("8.1/4") == "8.1/4 cannot be read: of 4"
    assert knowledge.why_unproven("8.1") == "it is not on the share"


class FailingEngine(MemoryEngine):
    """A daemon that fails at first.

    Args:
        registry: Where it pushes to.
        failures: How often it does not answer.
    """

    def __init__(self, registry: MemoryRegistry, failures: int) -> None:
        super().__init__(registry)
        self.failures = failures

    def inspect(self, reference: str) -> LocalImage:
        self._answer()
        return super().inspect(reference)

    def untag(self, reference: str) -> None:
        self._answer()
        super().untag(reference)

    def _answer(self) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise RemoteError("no Docker daemon answers", retryable=True)


def failing(scene: Scene, failures: int) -> tuple[World, FailingEngine]:
    """Return a world whose daemon fails at first."""
    world = scene.world(scene.files)
    engine = FailingEngine(world.registry, failures)
    world.services.__dict__["engine"] = engine
    return world, engine


def test_a_daemon_that_fails_for_a_moment_is_asked_again(scene: Scene) -> None:
    """As an export and a load do; and the images that were not there before do not stay."""
    world, engine = failing(scene, ATTEMPTS - 1)
    report = promote(PromoteRequest(REF), world.services)
    assert {image.name for image in report.plan.images} == set(NAMES)
    assert engine.failures < 0
    assert engine.images == {}


def test_what_this_run_did_not_push_is_cleaned_without_a_warning(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """An image that is in the registry already needs no daemon; nothing of this run stays on it."""
    world, engine = failing(scene, 0)
    opened = open_candidate(REF, world.services)
    record = opened.record.images[0]
    push = ImagePush(record, world.registry.create_repository("skydrm/rms"), "a-tag")
    caplog.set_level(logging.INFO)
    with DockerPusher(opened, world.services) as pusher:
        engine.failures = 1
        pusher.clean(push)
        assert caplog.text == ""
        pusher.prepare([push])
        pusher.push(push)
        engine.failures = 1
        pusher.clean(push)
    assert f"{push.target} stays on the Docker daemon" in caplog.text


@pytest.mark.parametrize(
    ("stated", "shown"),
    [
        ("https://layers.example:x/a?X-Amz-Signature=hunter2", "Location at 'layers.example:x'"),
        ("ftp://user:hunter2@files.example/a", "Location at 'files.example'"),
        ("/a b?hunter2", "an unusable Location: "),
    ],
)
def test_a_location_that_cannot_be_used_is_told_without_its_secrets(stated: str, shown: str) -> None:
    """The rest of a signed URL opens what it leads to."""
    with pytest.raises(NoAnswer) as caught:
        location(stated, "https://registry.example/v2/", "registry.example")
    assert shown in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_root_key_in_kms_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_aws: None) -> None:
    """Its connections end with the command, also if it is no root key of the draft."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    answer = {
        "PublicKey": base64.b64encode(public.public_bytes(serialization.Encoding.DER, form)).decode(),
        "KeySpec": "ECC_NIST_P256",
        "KeyUsage": "SIGN_VERIFY",
        "SigningAlgorithms": ["ECDSA_SHA_256"],
    }
    body = json.dumps(answer).encode()

    def speech(_: Request) -> bytes:
        kind = b"Content-Type: application/x-amz-json-1.1"
        return b"HTTP/1.1 200 OK\r\n%s\r\nContent-Length: %d\r\n\r\n%s" % (kind, len(body), body)

    file = tmp_path / "draft.json"
    file.write_bytes(draft().to_bytes(draft=True))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with RawServer(speech) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", server.url)
        before = _connections(server)
        with pytest.raises(ConfigurationError, match="is no root key of"):
            trust.sign_trust(trust.SignTrustRequest(file, "awskms:alias/root", "eu-central-1"), environ={})
        assert server.requests
        assert _connections(server) == before


def _connections(server: RawServer) -> int:
    """Count this process's own ends of established connections to a server."""
    port = f":{int(server.host.rpartition(':')[2]):04X}"
    lines = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return sum(line[2].endswith(port) and line[3] == "01" for line in lines)
