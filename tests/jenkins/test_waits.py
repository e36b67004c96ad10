"""A controller that stalls, drips, never ends, or says what Jenkins never says."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pydantic import SecretStr

from jenkins_release.base.errors import ReleaseError, RemoteError
from jenkins_release.jenkins import Controller
from jenkins_release.jenkins.console import ConsoleLines
from tests.fixtures.cross import some_pairs
from tests.fixtures.raw_server import RawServer, Speech, answer, drip, flood, stall
from tests.fixtures.together import Together

GENEROUS_S = 15.0
CALLS: dict[str, Callable[[Controller], Any]] = {
    "user": lambda jenkins: jenkins.user(),
    "job": lambda jenkins: jenkins.job("a/b"),
    "trigger": lambda jenkins: jenkins.trigger("a/b", {"X": "y"}),
    "queued": lambda jenkins: jenkins.queued("a/b"),
    "queue_item": lambda jenkins: jenkins.queue_item(7),
    "builds": lambda jenkins: jenkins.builds("a/b"),
    "build": lambda jenkins: jenkins.build("a/b", 7),
    "pending_inputs": lambda jenkins: jenkins.pending_inputs("a/b", 7),
    "proceed": lambda jenkins: jenkins.proceed("a/b", 7, "x"),
    "console": lambda jenkins: jenkins.console("a/b", 7, 0),
    "config": lambda jenkins: jenkins.config("a/b"),
    "inside": lambda jenkins: jenkins.inside("a"),
    "create": lambda jenkins: jenkins.create("a/b", "<x/>"),
    "update": lambda jenkins: jenkins.update("a/b", "<x/>"),
}


def _jenkins(speech: Speech) -> Speech:
    """Say that no crumb is needed, and all else by a speech."""
    return lambda request: answer(404) if "/crumbIssuer/" in request.target else speech(request)


def _controller(server: RawServer) -> Controller:
    return Controller(server.url, "bob", SecretStr("t"), timeout_s=0.6, least_rate=1 << 20)


def _failed(server: RawServer, call: Callable[[Controller], Any]) -> ReleaseError:
    begun = time.monotonic()
    with pytest.raises(ReleaseError) as caught:
        call(_controller(server))
    assert time.monotonic() - begun < GENEROUS_S
    return caught.value


LATE: dict[str, bytes | None] = {
    "silence": None,
    "headers": b"HTTP/1.1 200 OK\r\nX: ",
    "body": b"HTTP/1.1 200 OK\r\n\r\n",
    "error": b"HTTP/1.1 500 No\r\n\r\n",
}


def _late(begun: bytes | None, call: Callable[[Controller], Any]) -> ReleaseError:
    with RawServer(_jenkins(lambda _: None if begun is None else drip(begun))) as server:
        return _failed(server, call)


late = {begun: Together({name: partial(_late, LATE[begun], CALLS[name]) for name in CALLS}) for begun in LATE}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("begun", LATE)
def test_an_answer_that_does_not_come_in_time(begun: str, call: str):
    """A byte now and then was progress."""
    error = late[begun](call)
    assert isinstance(error, RemoteError)
    assert error.retryable or "Jenkins' API" in error.message


@pytest.mark.parametrize("name", ["job", "console", "trigger"])
def test_a_body_of_which_no_more_comes(name: str):
    """The libraries' own limit for a read is the first to end: a call gives what may come a little longer."""
    head = b"HTTP/1.1 200 OK\r\nX-Text-Size: 5\r\nContent-Length: 99\r\n\r\n"
    begun = head if name == "console" else head + b"{"
    with RawServer(_jenkins(lambda _: stall(begun))) as server, pytest.raises(RemoteError) as caught:
        CALLS[name](Controller(server.url, "bob", SecretStr("t"), timeout_s=0.5))
    assert "did not answer in time" in caught.value.message


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("status", ["200 OK", "403 No", "500 No"])
def test_an_answer_without_end(status: str, call: Callable[[Controller], Any]):
    """It is read up to a bound; the beginning of a console is what was asked for."""
    head = f"HTTP/1.1 {status}\r\nX-Text-Size: 5\r\nX-More-Data: true\r\n\r\n".encode()
    with RawServer(_jenkins(lambda _: flood(head))) as server:
        if status == "200 OK" and call is CALLS["console"]:
            assert len(call(_controller(server)).data) < 2 << 20
        else:
            _failed(server, call)
        sent = server.sent
    assert sent < 128 << 20


WRONG = [
    b"",
    b"<html><body>Sign in</body></html>",
    b"[]",
    b"[1]",
    b"null",
    b'"text"',
    b"[" * 100_000,
    b'{"id": 1e999, "number": 1e999}',
    b'{"id": ' + b"9" * 5000 + b"}",
    b'{"id": "\\ud800", "message": "\\ud800"}',
    b'{"id": {}, "number": [], "task": [], "items": [[]], "builds": [5], "jobs": [""], "buildable": 1}',
    b'{"id": 1, "task": {"url": "http://[::1/job/x"}, "property": [5], "buildable": true}',
    b'{"number": 1, "actions": [{"causes": [5]}]}',
    b'{"number": 1, "actions": [{"parameters": "x"}]}',
    b"\xff\xfe",
]


REFUSED = ["400 No", "401 No", "403 No", "404 No", "429 No", "500 No", "503 No"]


@pytest.mark.parametrize(
    ("status", "body"),
    [*(("200 OK", body) for body in WRONG), *some_pairs(REFUSED, WRONG, 3)],
    ids=lambda each: repr(each[:24]) if isinstance(each, bytes) else each,
)
def test_what_no_controller_says(body: bytes, status: str):
    """A failure that is documented, never an error of this program's own."""
    location = "http://[::1/\xe4 x/queue/item/\xb2/"
    headers = {"X_Text_Size": "\xb2", "Retry_After": "\xb2", "Location": location}
    with RawServer(_jenkins(lambda _: answer(status, body, **headers))) as server:
        for call in CALLS.values():
            try:
                call(_controller(server))
            except ReleaseError as error:
                assert error.exit_status != 70


@pytest.mark.parametrize("place", ["http://[::1/\xe4 x", "//", "/\x00", "mailto:x", "/again"])
def test_a_redirect_that_leads_nowhere(place: str):
    """Or in a circle: five of them are followed."""
    with RawServer(_jenkins(lambda _: answer(302, Location=place))) as server:
        error = _failed(server, CALLS["job"])
        assert len(server.requests) < 20
    assert error.exit_status != 70


@pytest.mark.parametrize("body", WRONG, ids=lambda body: repr(body[:24]))
def test_a_crumb_that_is_none(body: bytes):
    """It is asked for before everything else."""
    with RawServer(lambda _: answer(200, body)) as server:
        assert _failed(server, CALLS["job"]).exit_status != 70


def test_many_beginnings_of_notes_without_an_end():
    """Each was followed to the end of the line."""
    begun = time.monotonic()
    lines = ConsoleLines().feed(b"\x1b[8mha:" * 500_000 + b"\n")
    assert len(lines) == 1
    assert time.monotonic() - begun < GENEROUS_S
