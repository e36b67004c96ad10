"""Asking an HTTP server once, as a stranger."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from jenkins_release.http.probe import MAX_BODY, HttpProber
from jenkins_release.sandbox.process import free_port
from tests.fixtures.raw_server import RawServer, answer, drip
from tests.fixtures.silence import GENEROUS_S


def test_status_and_body_are_answered(raw_server: RawServer):
    """Whatever the status is."""
    raw_server.speech = lambda _: answer(503, b'{"version": "8.1.0"}')
    said = HttpProber().ask(f"{raw_server.url}/health?full=1", 5)
    assert (said.status, said.body, said.problem) == (503, b'{"version": "8.1.0"}', "")
    assert raw_server.requests[0].target == "/health?full=1"


def test_a_redirect_is_not_followed(raw_server: RawServer):
    """What it leads to was not asked for: it may be another host."""
    raw_server.speech = lambda _: answer(302, b"", Location="http://127.0.0.1:1/elsewhere")
    assert HttpProber().ask(raw_server.url, 5).status == 302
    assert len(raw_server.requests) == 1


def test_no_login_of_the_machine_is_sent(
    raw_server: RawServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Requests would send what .netrc has for the host."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login dana password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    raw_server.speech = lambda _: answer(200, b"ok")
    assert HttpProber().ask(raw_server.url, 5).status == 200
    assert not raw_server.requests[0].header("Authorization")
    assert not raw_server.requests[0].header("Cookie")


def test_of_a_large_body_only_the_beginning_is_read(raw_server: RawServer):
    """A health page that never ends fills no memory."""
    raw_server.speech = lambda _: answer(200, b"x" * (MAX_BODY + 100_000))
    assert len(HttpProber().ask(raw_server.url, 5).body) == MAX_BODY


def test_an_answer_that_does_not_come_is_a_problem(raw_server: RawServer):
    """Within the given time, not longer."""
    raw_server.speech = lambda _: None
    begin = time.monotonic()
    said = HttpProber().ask(raw_server.url, 0.2)
    assert time.monotonic() - begin < 5
    assert (said.status, said.problem) == (0, "no answer within 0.2 s")


def test_an_answer_that_drips_is_cut_off(raw_server: RawServer):
    """Every byte comes in time, the whole does not."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    raw_server.speech = lambda _: drip(head, b"x" * 16384, 0.05)
    assert HttpProber().ask(raw_server.url, 0.3).problem == "no answer within 0.3 s"


@pytest.mark.parametrize("begin", [b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_head_that_drips_is_cut_off(raw_server: RawServer, begin: bytes):
    """Before there is a body whose time could be measured."""
    raw_server.speech = lambda _: drip(begin, b"0")
    begun = time.monotonic()
    assert HttpProber().ask(f"{raw_server.url}/", 0.5).problem == "no answer within 0.5 s"
    assert time.monotonic() - begun < GENEROUS_S


def test_a_refused_connection_is_told_in_one_line():
    """The reason itself, not what requests wraps around it."""
    said = HttpProber().ask(f"http://127.0.0.1:{free_port()}/", 5)
    assert said.problem == "no answer: [Errno 111] Connection refused"


def test_an_answer_that_is_no_http_is_a_problem(raw_server: RawServer):
    """A broken server is an unhealthy one, no failure of the program."""
    raw_server.speech = lambda _: b"nonsense\r\n\r\n"
    said = HttpProber().ask(raw_server.url, 5)
    assert said.status == 0
    assert said.problem
