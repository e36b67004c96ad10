"""Parts of steps that go wrong at moments which a whole run does not come to by itself."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jenkins_release.aws.ecs import RunningTask
from jenkins_release.base.errors import ConfigurationError, IntegrityError, RemoteError
from jenkins_release.base.retry import RetryPolicy, retry_call
from jenkins_release.config.saas import SaasSection
from jenkins_release.http.exchange import NoAnswer, location
from jenkins_release.images.protocol import ImageNotFound
from jenkins_release.records.refresh import RunningPart, StackState
from jenkins_release.steps.context.watcher import StackWatcher
from jenkins_release.steps.promotion import push_docker as _docker_push
from jenkins_release.steps.saas import rollback
from jenkins_release.steps.saas.ecs_stack import EcsStack
from tests.fixtures.memory import HOST, MemoryCluster

GONE = RemoteError("no Docker daemon answers", retryable=True)


def at_once(what: str, action: Any, *, policy: RetryPolicy | None = None) -> Any:
    del policy
    return retry_call(action, what=what, policy=RetryPolicy(3, 60.0, 0.001, 0.001), sleep=lambda *_: None)


class LateTasks(MemoryCluster):
    """A cluster that lists no task at first."""

    late = 0

    def tasks(self, service: str) -> list[RunningTask]:
        """Describe the running tasks."""
        self.late -= 1
        return [] if self.late >= 0 else super().tasks(service)


@pytest.mark.parametrize(("late", "proven"), [(0, True), (2, True), (3, False)])
def test_a_service_is_proven_by_its_tasks(late: int, proven: bool) -> None:
    """No task in the list says nothing about what the service runs."""
    cluster = LateTasks(["rms"])
    digest = f"sha256:{'1' * 64}"
    container = {"name": "rms", "image": f"{HOST}/rms@{digest}"}
    arn = cluster.register({"family": "skydrm-rms", "containerDefinitions": [container]})
    cluster.late = late
    section = SaasSection.model_construct(poll_s=0.001, deadline_s=60.0, services=())
    services: Any = SimpleNamespace(
        ecs=cluster,
        retry=at_once,
        wait=lambda *_: None,
        now=lambda: datetime.now(UTC),
        configuration=SimpleNamespace(saas=section),
    )
    stack = EcsStack(services, StackWatcher())
    state = StackState(parts=(RunningPart(name="rms", definition=arn, images={"rms": digest}),))
    if proven:
        assert stack.bring(state, StackState(), "run", None) == state
    else:
        with pytest.raises(RemoteError, match="lists 0 of 1 tasks of rms"):
            stack.bring(state, StackState(), "run", None)


def test_a_return_quotes_the_note_about_its_own_release() -> None:
    """8.1/4 is not 8.1/42."""
    knowledge: Any = SimpleNamespace(released=(), notes=("8.1/42: of 42", "8.1/4 cannot be read: of 4"))
    with pytest.raises(IntegrityError, match=r"in force: 8\.1/4 cannot be read: of 4"):
        rollback._require_proven("8.1/4", knowledge)
    with pytest.raises(IntegrityError, match="in force: it is not on the share"):
        rollback._require_proven("8.1", knowledge)


class Engine:
    """A daemon that fails at first."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def inspect(self, reference: str) -> None:
        self._answer()
        raise ImageNotFound(reference)

    def tag(self, reference: str, target: str) -> None:
        """It is tagged."""

    def push(self, reference: str, login: object) -> str:
        return "sha256:1"

    def untag(self, reference: str) -> None:
        self._answer()

    def _answer(self) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise GONE


def pusher(engine: Engine) -> _docker_push.DockerPusher:
    image = SimpleNamespace(reference="rms:1", archive="images.tar")
    opened: Any = SimpleNamespace(record=SimpleNamespace(images=(image,)))
    registry = SimpleNamespace(login=lambda: None)
    services: Any = SimpleNamespace(engine=engine, retry=at_once, registry=registry)
    return _docker_push.DockerPusher(opened, services)


def test_a_daemon_that_fails_for_a_moment_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an export and a load do."""
    monkeypatch.setattr(_docker_push, "load_images", lambda *_: None)
    push: Any = SimpleNamespace(record=SimpleNamespace(archive="images.tar"))
    engine = Engine(failures=2)
    made = pusher(engine)
    made.prepare([push])
    assert engine.failures == -1
    assert made._loaded == ["rms:1"]


def test_what_this_run_did_not_push_is_cleaned_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """An image that is in the registry already needs no daemon; nothing of this run stays on it."""
    push: Any = SimpleNamespace(target="host/rms:1", record=SimpleNamespace(reference="rms:1"))
    caplog.set_level(logging.INFO)
    made = pusher(Engine(failures=2))
    made.clean(push)
    assert caplog.text == ""
    made.push(push)
    made.clean(push)
    assert "host/rms:1 stays on the Docker daemon" in caplog.text


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


def test_a_root_key_in_kms_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections end with the command, also if it is no root key of the draft."""
    from jenkins_release.steps.trust import document as trust
    from tests.base.test_kms import Kms
    from tests.rules.test_trust import draft

    kms = Kms()
    monkeypatch.setattr("jenkins_release.aws.kms.aws_client", lambda *_, **__: kms)
    file = tmp_path / "draft.json"
    file.write_bytes(draft().to_bytes(draft=True))
    with pytest.raises(ConfigurationError, match="is no root key of"):
        trust.sign_trust(trust.SignTrustRequest(file, "awskms:alias/root", "eu-central-1"), environ={})
    assert kms.closed
