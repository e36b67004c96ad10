"""Asking an HTTP server once, as a stranger."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jenkins_release.probe import MAX_BODY, HttpProber
from jenkins_release.sandbox.process import free_port
from tests.fixtures.raw_http import RawServer, slowly
from tests.fixtures.silence import GENEROUS_S

Handle = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """A server that answers as a test wants it, and keeps the headers of its requests."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        self.answer: Handle = lambda handler: handler.send_error(404)
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.seen.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
                site.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that hang up
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """Its root."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/"


@pytest.fixture
def site() -> Iterator[Site]:
    """A server on loopback."""
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


def body(status: int, data: bytes, **headers: str) -> Handle:
    """Answer with a body."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def test_status_and_body_are_answered(site: Site):
    """Whatever the status is."""
    site.answer = body(503, b'{"version": "8.1.0"}')
    answer = HttpProber().ask(f"{site.url}health?full=1", 5)
    assert (answer.status, answer.body, answer.problem) == (503, b'{"version": "8.1.0"}', "")
    assert site.seen[0]["path"] == "/health?full=1"


def test_a_redirect_is_not_followed(site: Site):
    """What it leads to was not asked for: it may be another host."""
    site.answer = body(302, b"", Location="http://127.0.0.1:1/elsewhere")
    assert HttpProber().ask(site.url, 5).status == 302
    assert len(site.seen) == 1


def test_no_login_of_the_machine_is_sent(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Requests would send what .netrc has for the host."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login dana password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    site.answer = body(200, b"ok")
    assert HttpProber().ask(site.url, 5).status == 200
    assert "authorization" not in site.seen[0]
    assert "cookie" not in site.seen[0]


def test_of_a_large_body_only_the_beginning_is_read(site: Site):
    """A health page that never ends fills no memory."""
    site.answer = body(200, b"x" * (MAX_BODY + 100_000))
    assert len(HttpProber().ask(site.url, 5).body) == MAX_BODY


def test_an_answer_that_does_not_come_is_a_problem(site: Site):
    """Within the given time, not longer."""
    released = threading.Event()
    site.answer = lambda _: released.wait(10) and None
    begin = time.monotonic()
    answer = HttpProber().ask(site.url, 0.2)
    assert time.monotonic() - begin < 5
    released.set()
    assert (answer.status, answer.problem) == (0, "no answer within 0.2 s")


def test_an_answer_that_drips_is_cut_off(site: Site):
    """Every byte comes in time, the whole does not."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x" * 16384)
            time.sleep(0.05)

    site.answer = drip
    assert HttpProber().ask(site.url, 0.3).problem == "no answer within 0.3 s"


@pytest.mark.parametrize("begin", [b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_head_that_drips_is_cut_off(raw_server: RawServer, begin: bytes):
    """Before there is a body whose time could be measured."""
    raw_server.answer = lambda _: slowly(raw_server, begin, b"0")
    begun = time.monotonic()
    assert HttpProber().ask(f"http://{raw_server.host}/", 0.5).problem == "no answer within 0.5 s"
    assert time.monotonic() - begun < GENEROUS_S


def test_a_refused_connection_is_told_in_one_line(site: Site):
    """The reason itself, not what requests wraps around it."""
    answer = HttpProber().ask(f"http://127.0.0.1:{free_port()}/", 5)
    assert answer.problem == "no answer: [Errno 111] Connection refused"


def test_an_answer_that_is_no_http_is_a_problem(site: Site):
    """A broken server is an unhealthy one, no failure of the program."""
    site.answer = lambda handler: handler.wfile.write(b"nonsense\r\n\r\n") and None
    answer = HttpProber().ask(site.url, 5)
    assert answer.status == 0
    assert answer.problem
