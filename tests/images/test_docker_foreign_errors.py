"""Every exception of the Docker SDK, and of what it lets through, becomes one of ours."""

from __future__ import annotations

import http.client
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import paramiko
import pytest
import requests
import urllib3

from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.cli.runtime import configure_logging
from jenkins_release.images import DockerEngine
from jenkins_release.registry.protocol import RegistryLogin
from tests.fixtures.foreign import SYSTEM, Breaking, Made, classes, ending, http_makers, makers, raises
from tests.fixtures.listener import talking
from tests.fixtures.raw_server import RawServer, answer

VERSION_TOLD = answer(200, b'{"ApiVersion": "1.44"}', Content_Type="application/json")
LOGIN = RegistryLogin("registry.example", "AWS", "hunter2")
IMAGE = "registry.example/rms:1"


def _a_key() -> paramiko.PKey:
    return paramiko.ECDSAKey.generate()


GIVEN = {
    docker.errors.BuildError: ("x", []),
    docker.errors.ContainerError: (None, 1, "x", "x", "x"),
    paramiko.BadHostKeyException: ("x", _a_key(), _a_key()),
    paramiko.pkey.UnknownKeyType: ("x", b"x"),
    paramiko.ssh_exception.NoValidConnectionsError: ({("127.0.0.1", 22): ConnectionRefusedError()},),
}
OWN = {**makers(classes("docker"), GIVEN), **http_makers()}
SSH = makers([*classes("paramiko"), EOFError, *SYSTEM], GIVEN)
CALLS: dict[str, Callable[[DockerEngine], object]] = {
    "ping": DockerEngine.ping,
    "inspect": lambda engine: engine.inspect(IMAGE),
    "tag": lambda engine: engine.tag(IMAGE, "registry.example/rms:2"),
    "untag": lambda engine: engine.untag(IMAGE),
    "load": lambda engine: engine.load([b"archive"]),
    "save": lambda engine: list(engine.save([IMAGE])),
    "push": lambda engine: engine.push(IMAGE, LOGIN),
}


@pytest.fixture
def daemon() -> Iterator[RawServer]:
    """A daemon that tells its version."""
    with RawServer(lambda _: VERSION_TOLD) as server:
        yield server


@pytest.fixture
def engine(daemon: RawServer) -> Iterator[DockerEngine]:
    """An engine that has connected to it, for both kinds of calls."""
    with DockerEngine(f"tcp://{daemon.host}", timeout_s=5, stream_timeout_s=5) as made:
        for streaming in (False, True):
            made._client(streaming=streaming)
        yield made


def send_raises(monkeypatch: pytest.MonkeyPatch, make: Made) -> None:
    """Raise what requests and the SDK do where requests does, and all else where urllib3 does."""
    if type(make()).__module__.startswith(("requests", "docker")):
        monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", raises(make))
    else:
        monkeypatch.setattr(urllib3.connectionpool.HTTPConnectionPool, "urlopen", raises(make))


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails(monkeypatch: pytest.MonkeyPatch, engine: DockerEngine, call: str):
    """Status 5, or 2 if only the caller can mend it; removing what is not there has nothing to do."""
    found = {}
    for name, make in OWN.items():
        send_raises(monkeypatch, make)
        found[name] = ending(lambda: CALLS[call](engine))
    absent = {"docker.errors.NotFound", "docker.errors.ImageNotFound"}
    right = {name: {0} if call == "untag" and name in absent else {2, 5} for name in found}
    assert {name: status for name, status in found.items() if status not in right[name]} == {}


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("call", CALLS)
def test_an_answer_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, engine: DockerEngine, call: str, status: int
):
    """The same while an answer comes."""
    found = {}
    for name, make in http_makers().items():
        monkeypatch.setattr(urllib3.connectionpool.HTTPConnectionPool, "urlopen", _answered(make, status))
        found[name] = ending(lambda: CALLS[call](engine))
    assert {name: status for name, status in found.items() if status not in {2, 5}} == {}


def _answered(make: Made, status: int) -> Callable[..., urllib3.HTTPResponse]:
    def urlopen(*_: Any, **__: Any) -> urllib3.HTTPResponse:
        return urllib3.HTTPResponse(body=Breaking(make), status=status, preload_content=False)

    return urlopen


def test_saving_without_the_sdk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A daemon on this machine is asked for an archive by http.client itself."""
    plain = makers([*classes("http.client"), *SYSTEM], {http.client.IncompleteRead: (b"", 1)})
    with (
        RawServer(lambda _: VERSION_TOLD, tmp_path / "d.sock") as server,
        DockerEngine(server.url, timeout_s=5) as engine,
    ):
        engine._client(streaming=True)
        for place in ("request", "getresponse"):
            found = {}
            for name, make in plain.items():
                monkeypatch.setattr(http.client.HTTPConnection, place, raises(make))
                found[name] = ending(lambda: list(engine.save([IMAGE])))
            assert {name: status for name, status in found.items() if status not in {2, 5}} == {}
            monkeypatch.undo()


def test_a_first_call_that_fails(monkeypatch: pytest.MonkeyPatch, daemon: RawServer):
    """While the SDK asks for the version of the API."""
    found = {}
    for name, make in OWN.items():
        send_raises(monkeypatch, make)
        found[name] = ending(DockerEngine(f"tcp://{daemon.host}", timeout_s=5).ping)
    assert {name: status for name, status in found.items() if status not in {2, 5}} == {}


@pytest.mark.parametrize("place", ["load_system_host_keys", "connect"])
def test_a_connection_by_ssh_that_fails(monkeypatch: pytest.MonkeyPatch, place: str):
    """The SDK lets through what paramiko raises, also what is none of its own."""
    found = {}
    for name, make in SSH.items():
        monkeypatch.setattr(paramiko.SSHClient, place, raises(make))
        found[name] = ending(DockerEngine("ssh://ci@127.0.0.1:9", timeout_s=5).ping)
    assert {name: status for name, status in found.items() if status not in {2, 5}} == {}


NO_NAMES = (b"\0\0\0\x3c\x04\x14" + bytes(16) + b"\0\0\0\x02\xff\xff").ljust(64, b"\0")
"""Algorithms of a host whose names are no UTF-8 (SSH_MSG_KEXINIT, RFC 4253 section 7.1)."""


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-x\r\n",
        b"SSH-1.5-x\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-x\r\n" + NO_NAMES,
    ],
)
def test_a_host_that_says_nothing_of_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str], said: bytes
):
    """The library for SSH raises an EOFError, or whatever ended its thread, and would log a traceback."""
    monkeypatch.setenv("HOME", str(tmp_path))
    configure_logging(logging.WARNING, {})

    def say(connection: socket.socket) -> None:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(5)
        while connection.recv(4096):
            pass

    with talking(say) as port, pytest.raises(RemoteError) as caught:
        DockerEngine(f"ssh://ci@127.0.0.1:{port}", timeout_s=5).ping()
    assert caught.value.retryable
    assert "`ssh ci@127.0.0.1" in caught.value.hint
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("known", ["127.0.0.1 ssh-rsa AAAA!", "127.0.0.1 ssh-rsa AAA", "\0", "x"])
def test_a_file_of_known_hosts_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, known: str
):
    """It is the caller's, or it is passed over; it is no bug."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "known_hosts").write_text(f"{known}\n")
    with pytest.raises((RemoteError, ConfigurationError)):
        DockerEngine("ssh://ci@127.0.0.1:9", timeout_s=5).ping()


def test_there_are_exceptions():
    """The lists are made of the libraries' modules."""
    assert {"docker.errors.StreamParseError", "docker.credentials.errors.StoreError"} < set(OWN)
    assert {"paramiko.ssh_exception.SSHException", "paramiko.hostkeys.InvalidHostKey"} < set(SSH)
