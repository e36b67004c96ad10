"""A Docker daemon that stalls, drips, never ends, or says what no daemon says."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jenkins_release.base.errors import ReleaseError, RemoteError
from jenkins_release.images import DockerEngine
from jenkins_release.registry.protocol import RegistryLogin
from jenkins_release.sandbox.process import as_root
from tests.fixtures.process import says, started, stopped_at_once, waiting_program
from tests.fixtures.raw_server import RawServer, Speech, answer, drip, flood, stall
from tests.fixtures.share import eventually
from tests.fixtures.together import Together

GENEROUS_S = 15.0
JSON = "application/json"
VERSION = answer(200, b'{"ApiVersion": "1.41"}', Content_Type=JSON)
LOGIN = RegistryLogin("127.0.0.1:1", "AWS", "x")
CALLS: dict[str, Callable[[DockerEngine], Any]] = {
    "ping": lambda engine: engine.ping(),
    "inspect": lambda engine: engine.inspect("a:1"),
    "save": lambda engine: list(engine.save(["a:1"])),
    "load": lambda engine: engine.load([b"x" * 3_000_000]),
    "push": lambda engine: engine.push("127.0.0.1:1/a:1", LOGIN),
    "tag": lambda engine: engine.tag("a:1", "b:1"),
    "untag": lambda engine: engine.untag("a:1"),
}
TEXTS = {name: call for name, call in CALLS.items() if name in {"inspect", "load", "push"}}


def _daemon(speech: Speech) -> Speech:
    """Answer the version as a daemon, all else by a speech."""
    return lambda request: VERSION if request.target == "/version" else speech(request)


def _engine(server: RawServer) -> DockerEngine:
    return DockerEngine(
        server.url.replace("http:", "tcp:"),
        timeout_s=0.6,
        stream_timeout_s=0.6,
        least_rate=1 << 20,
        environ={},
    )


def _failed(server: RawServer, call: Callable[[DockerEngine], Any]) -> ReleaseError:
    begun = time.monotonic()
    with _engine(server) as engine, pytest.raises(ReleaseError) as caught:
        call(engine)
    assert time.monotonic() - begun < GENEROUS_S
    return caught.value


LATE: dict[str, bytes | None] = {
    "silence": None,
    "headers": b"HTTP/1.1 200 OK\r\nX: ",
    "body": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n{",
    "error": b"HTTP/1.1 500 No\r\nContent-Length: 99999\r\n\r\n{",
}


def _late(begun: bytes | None, call: Callable[[DockerEngine], Any]) -> ReleaseError:
    with RawServer(_daemon(lambda _: None if begun is None else drip(begun))) as server:
        return _failed(server, call)


late = Together({(a, b): partial(_late, LATE[a], CALLS[b]) for a in LATE for b in CALLS})


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("begun", LATE)
def test_an_answer_that_does_not_come_in_time(begun: str, call: str):
    """Silence, and a byte now and then: no single read is late."""
    error = late((begun, call))
    assert isinstance(error, RemoteError)
    assert error.retryable
    assert "did not answer in time" in error.message


STATUSES = ["200 OK", "500 No"]


def _stalled(status: str, call: Callable[[DockerEngine], Any]) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{{"
    with RawServer(_daemon(lambda _: stall(head.encode()))) as server:
        address = server.url.replace("http:", "tcp:")
        with (
            DockerEngine(address, timeout_s=0.5, stream_timeout_s=0.5, environ={}) as engine,
            pytest.raises(RemoteError, match="did not answer in time"),
        ):
            call(engine)


stalled = Together({(a, b): partial(_stalled, a, CALLS[b]) for a in STATUSES for b in CALLS})


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", STATUSES)
def test_a_body_of_which_no_more_comes(status: str, call: str):
    """The SDK's own limit for a read is the first to end: what may come buys a call some time."""
    stalled((status, call))


def test_a_save_by_the_socket_of_this_machine_of_which_no_more_comes(tmp_path: Path):
    """Likewise, for http.client's limit."""
    with (
        RawServer(_daemon(lambda _: stall(b"HTTP/1.0 200 OK\r\n\r\nx")), tmp_path / "d.sock") as server,
        DockerEngine(server.url, timeout_s=0.5, stream_timeout_s=0.5, environ={}) as engine,
        pytest.raises(RemoteError, match="did not answer in time"),
    ):
        CALLS["save"](engine)


@pytest.mark.parametrize("begun", [None, b"HTTP/1.0 200 OK\r\nX: ", b"HTTP/1.0 200 OK\r\n\r\n"])
def test_a_save_by_the_socket_of_this_machine(tmp_path: Path, begun: bytes | None):
    """It has a connection of its own."""
    speech = _daemon(lambda _: None if begun is None else drip(begun))
    with RawServer(speech, tmp_path / "d.sock") as server:
        error = _failed(server, CALLS["save"])
    assert "did not answer in time" in error.message


def test_a_connection_that_is_not_answered():
    """The version is asked for first."""
    with RawServer(lambda _: drip(b"HTTP/1.1 200 OK\r\nX: ")) as server:
        assert "did not answer in time" in _failed(server, CALLS["ping"]).message


@pytest.mark.parametrize(
    ("status", "name"),
    # What is not there to be untagged is no error.
    [(s, c) for s in ("500 No", "404 No", "409 No") for c in CALLS if (s, c) != ("404 No", "untag")],
)
def test_an_error_without_end(status: str, name: str):
    """Its beginning is read."""
    call = CALLS[name]
    with RawServer(_daemon(lambda _: flood(f"HTTP/1.1 {status}\r\n\r\n".encode()))) as server:
        error = _failed(server, call)
        sent = server.sent
    assert sent < 16 << 20
    assert len(error.message) < 4000


@pytest.mark.parametrize("call", TEXTS.values(), ids=TEXTS)
def test_a_line_without_end(call: Callable[[DockerEngine], Any]):
    """As long as JSON may be, and no longer."""
    begun = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"status": "'
    with RawServer(_daemon(lambda _: flood(begun))) as server:
        error = _failed(server, call)
        sent = server.sent
    assert sent < 64 << 20
    assert isinstance(error, RemoteError)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_redirect_is_not_followed(call: Callable[[DockerEngine], Any]):
    """As Docker's own client: no daemon sends one. The login for the registry goes nowhere else."""
    with RawServer(lambda _: answer(200, b"{}", Content_Type=JSON)) as other:
        place = f"{other.url}/elsewhere"
        with RawServer(_daemon(lambda _: answer(307, Location=place))) as server:
            error = _failed(server, call)
        assert other.requests == []
    assert isinstance(error, RemoteError)
    assert "answers with a redirect (status 307)" in error.message


def test_a_redirect_without_end():
    """None of it is read."""
    head = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"
    with RawServer(_daemon(lambda _: flood(head))) as server:
        _failed(server, CALLS["inspect"])
        sent = server.sent
    assert sent < 16 << 20


WRONG = [
    b"",
    b"<html>",
    b"[]",
    b"null",
    b'"text"',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"Size": ' + b"9" * 5000 + b"}",
    b'{"Id": "\\ud800"}',
    b'{"Id": 1, "RootFS": []}',
    b'{"RootFS": {"Layers": [1]}}',
    b'{"RootFS": {"Layers": "x"}}',
    b'{"Size": "x"}',
    b'{"errorDetail": {"message": {"a": []}}}',
    b'{"error": 5}',
    b'{"id": [], "progressDetail": {"current": 1e999}, "aux": {"Digest": []}}',
    b'{"progressDetail": {"current": true}}\n[]\n',
    b"\xff\xfe",
]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("body", WRONG, ids=lambda body: repr(body[:24]))
@pytest.mark.parametrize("status", ["200 OK", "500 No", "404 No"])
def test_what_no_daemon_says(body: bytes, status: str, call: Callable[[DockerEngine], Any]):
    """A failure that is documented, never an error of this program's own."""
    with (
        RawServer(_daemon(lambda _: answer(status, body, Content_Type=JSON))) as server,
        _engine(server) as engine,
    ):
        try:
            call(engine)
        except ReleaseError as error:
            assert error.exit_status != 70


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"ApiVersion": 1}', b'{"ApiVersion": "x.y"}', *WRONG[:7]])
def test_a_version_that_is_none(body: bytes):
    """Something else listens there."""
    with RawServer(lambda _: answer(200, body, Content_Type=JSON)) as server:
        assert _failed(server, CALLS["ping"]).exit_status in {2, 5}


OPERATION = (
    """
from jenkins_release.images import DockerEngine
from jenkins_release.registry.protocol import RegistryLogin
from jenkins_release.sandbox.sample_images import demo_archive
url, operation, image = sys.argv[1:]
engine = DockerEngine(url, environ={})
target = "127.0.0.1:1/" + image
engine.tag(image, target)
next(engine.save([image]))
calls = {
    "inspect": lambda: engine.inspect(image),
    "save": lambda: list(engine.save([image])),
    "load": lambda: engine.load(demo_archive("8.1.0", "42", base_size=8 << 20, own_size=1 << 20)),
    "push": lambda: engine.push(target, RegistryLogin("127.0.0.1:1", "AWS", "x")),
}
print("ready", flush=True)
sys.stdin.readline()
""",
    "map_parallel(lambda _: calls[operation](), [1, 2])",
)


@pytest.mark.root
@pytest.mark.parametrize(
    ("operation", "how"),
    [
        ("inspect", "threads"),
        ("save", "threads"),
        ("load", "threads"),
        ("push", "threads"),
        ("push", "signal"),
    ],
)
def test_ctrl_c_while_the_daemon_is_stopped(
    docker_daemon: Any, demo_images: list[str], operation: str, how: str, warm_python: str
):
    """Two threads wait for a daemon that gets no processor time; they end by themselves."""
    program = waiting_program(*OPERATION, how)
    command = [warm_python, "-c", program, docker_daemon.base_url, operation, demo_images[0]]
    process = started(command, os.environ, stdin=subprocess.PIPE)
    with contextlib.ExitStack() as stack:

        def ready() -> bool:
            assert process.stdin is not None
            assert says(process, "ready")
            stack.enter_context(_stopped(docker_daemon.pid()))
            process.stdin.write("go\n")
            process.stdin.flush()
            return True

        stopped_at_once(process, how, ready, settle_s=1.0)


@contextlib.contextmanager
def _stopped(pid: int) -> Iterator[None]:
    subprocess.run(as_root(["kill", "-STOP", str(pid)]), check=True)
    # A thread that runs on another processor stops a moment later.
    assert eventually(lambda: _states(pid) == {"T"}), _states(pid)
    try:
        yield
    finally:
        subprocess.run(as_root(["kill", "-CONT", str(pid)]), check=True)


def _states(pid: int) -> set[str]:
    """Return the states of a process's threads (proc(5)): ``T`` is stopped."""
    return {stat.read_text().rpartition(") ")[2][0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")}


@pytest.fixture(autouse=True)
def untagged(request: pytest.FixtureRequest) -> Iterator[None]:
    """Take away the tag that the last test sets."""
    if "demo_images" not in request.fixturenames:
        yield
        return
    engine, images = request.getfixturevalue("engine"), request.getfixturevalue("demo_images")
    yield
    engine.untag(f"127.0.0.1:1/{images[0]}")
