"""Every exception of requests, urllib3, http.client and sockets becomes one of ours, wherever it comes up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jenkins
import pytest
import requests
import urllib3
from pydantic import SecretStr

from jenkins_release.aws.iam import Credentials
from jenkins_release.base.waits import Limits
from jenkins_release.http.probe import HttpProber
from jenkins_release.jenkins import Controller
from jenkins_release.notify import Message
from jenkins_release.notify.webhook import WebhookNotifier
from jenkins_release.registry.distribution import DistributionRegistry
from jenkins_release.registry.key_access import KeyAccess
from jenkins_release.registry.protocol import BlobPart, RegistryLogin
from jenkins_release.registry.transport import Transport
from jenkins_release.registry.uploads import RegistryUploads
from tests.fixtures.foreign import Breaking, Made, classes, ending, http_makers, makers, raises

HOST = "127.0.0.1:9"
LOGIN = RegistryLogin(HOST, "AWS", "hunter2")
LIMITS = Limits(5.0)
DIGEST = f"sha256:{'0' * 64}"
MAKERS = http_makers()
MESSAGE = Message("0af7", datetime(2026, 11, 5, tzinfo=UTC), "title", "text", document=b"{}")


def uploads() -> RegistryUploads:
    return RegistryUploads(Transport(lambda: LOGIN, limits=LIMITS))


def send() -> None:
    with uploads().upload("skydrm/rms") as upload:
        upload.send(BlobPart([b"a layer"]))
        upload.finish(DIGEST)


def fetch() -> None:
    key = Credentials("AKIA", SecretStr("hunter2"))
    access = KeyAccess(
        key, "eu-central-1", "1", now=lambda: datetime.now(UTC), client=object(), limits=LIMITS
    )
    access._login = LOGIN
    access.fetch("skydrm/rms", "8.1.0")


def controller() -> Controller:
    return Controller(f"http://{HOST}", "bob", SecretStr("hunter2"), timeout_s=5)


CALLS: dict[str, Callable[[], Any]] = {
    "ask the registry": lambda: uploads().holds("skydrm/rms", DIGEST, 9),
    "push a layer": send,
    "push a manifest": lambda: uploads().put_manifest("skydrm/rms", "8.1.0", "x", b"{}"),
    "read a layer": lambda: b"".join(uploads().read("skydrm/rms", DIGEST)),
    "read any registry's manifest": lambda: DistributionRegistry(HOST, limits=LIMITS).manifest("rms", "1"),
    "read any registry's layer": lambda: b"".join(DistributionRegistry(HOST).blob("rms", DIGEST)),
    "pull with a key": fetch,
    "ask Jenkins who this is": lambda: controller().user(),
    "start a job": lambda: controller().trigger("SkyDRM/promote", {}),
    "read a console": lambda: controller().console("SkyDRM/promote", 1, 0),
    "read a job": lambda: controller().config("SkyDRM/promote"),
    "create a job": lambda: controller().create("SkyDRM/promote", "<x/>"),
    "call a webhook": lambda: WebhookNotifier(SecretStr(f"http://{HOST}/x"), "HOOK").deliver(MESSAGE, 5),
}


def send_raises(monkeypatch: pytest.MonkeyPatch, make: Made) -> None:
    """Raise what requests does where requests does, and all else where urllib3 does."""
    if type(make()).__module__.startswith("requests"):
        monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", raises(make))
    else:
        monkeypatch.setattr(urllib3.connectionpool.HTTPConnectionPool, "urlopen", raises(make))


def read_raises(monkeypatch: pytest.MonkeyPatch, make: Made, status: int) -> None:
    """Answer every request, with a body that cannot be read."""

    def answered(*_: Any, **__: Any) -> urllib3.HTTPResponse:
        return urllib3.HTTPResponse(
            body=Breaking(make), headers={"Content-Length": "9"}, status=status, preload_content=False
        )

    monkeypatch.setattr(urllib3.connectionpool.HTTPConnectionPool, "urlopen", answered)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine stands between."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("call", CALLS)
def test_a_request_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch, call: str):
    """Status 5, or 2 for what only the caller can mend; never 70."""
    found = {}
    for name, make in MAKERS.items():
        send_raises(monkeypatch, make)
        found[name] = ending(CALLS[call])
    assert {name: status for name, status in found.items() if status not in {2, 5}} == {}


@pytest.mark.parametrize("status", [200, 202, 500])
@pytest.mark.parametrize("call", CALLS)
def test_an_answer_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, call: str, status: int):
    """The same if the connection ends behind the head of an answer; if that says enough, it is one."""
    found = {}
    for name, make in MAKERS.items():
        read_raises(monkeypatch, make, status)
        found[name] = ending(CALLS[call])
    assert {name: status for name, status in found.items() if status not in {0, 2, 5}} == {}


@pytest.mark.parametrize("call", [name for name in CALLS if "Jenkins" in name or "job" in name])
def test_what_python_jenkins_raises_itself(monkeypatch: pytest.MonkeyPatch, call: str):
    """From any of its requests, also the one for a crumb."""
    made = makers(classes("jenkins"), {})
    assert "jenkins.EmptyResponseException" in made
    for place in ("jenkins_request", "maybe_add_crumb", "_maybe_add_auth"):
        found = {}
        for name, make in made.items():
            monkeypatch.setattr(jenkins.Jenkins, place, raises(make))
            found[name] = ending(CALLS[call])
        assert set(found.values()) == {5}, found
        monkeypatch.undo()


def test_a_health_check_gets_no_answer(monkeypatch: pytest.MonkeyPatch):
    """For a prober that is an answer too, whether nothing is sent or nothing comes."""
    for make in MAKERS.values():
        send_raises(monkeypatch, make)
        found = HttpProber().ask(f"http://{HOST}/", 5)
        assert found.status == 0
        assert found.problem
        monkeypatch.undo()
        read_raises(monkeypatch, make, 200)
        assert HttpProber().ask(f"http://{HOST}/", 5).problem


def test_there_are_exceptions():
    """The list is made of the libraries' modules."""
    assert len(MAKERS) > 80
    assert {"requests.exceptions.ChunkedEncodingError", "urllib3.exceptions.ProtocolError"} < set(MAKERS)
    assert {"http.client.IncompleteRead", "ssl.SSLEOFError", "requests.cookies.CookieConflictError"} < set(
        MAKERS
    )
