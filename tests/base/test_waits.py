"""Waits end when they are late and when the process has to stop, whatever library is inside of them."""

from __future__ import annotations

import gc
import http.client
import itertools
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import requests

from jenkins_release.base import waits as waits_module
from jenkins_release.base.waits import Call, Stopped, ThreadGroup, Wait, Waits, apart
from tests.fixtures.process import started
from tests.fixtures.worker import Worker

GENEROUS_S = 10.0


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Takes connections; what it says is up to the test."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        yield listening


def test_only_the_time_that_sending_takes_counts():
    """Whoever makes what is sent has waits of its own."""

    def slow() -> Iterator[bytes]:
        for _ in range(3):
            time.sleep(0.3)
            yield b"x"

    with Call("the server to take it", 0.2) as call:
        assert b"".join(call.sending(slow())) == b"xxx"


def test_a_piece_that_is_not_taken_ends_the_call(server: socket.socket, waits: Waits):
    """Each piece has the time for an answer, and what its bytes buy."""
    sent: list[int] = []

    def endless() -> Iterator[bytes]:
        while True:
            sent.append(1)
            yield bytes(1 << 20)

    call = Call("the server to take it", 0.3, least_rate=1 << 30, waits=waits)
    with pytest.raises(TimeoutError, match="not done after"), call:
        client = socket.create_connection(server.getsockname())
        for piece in call.sending(endless()):
            client.sendall(piece)
    assert sent
    client.close()


_FORKED = """
import os, socket, sys
from jenkins_release.base import waits
from jenkins_release.base.waits import Call
waits.pause(0.3)
if os.fork() == 0:
    try:
        with Call("the server to answer", 1.0):
            socket.create_connection(("127.0.0.1", int(sys.argv[1]))).recv(1)
    except TimeoutError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
"""


def test_a_process_that_forked_keeps_the_limits_in_its_child(server: socket.socket, warm_python: str):
    """What looks after them is a thread, which a fork leaves behind."""
    process = started([warm_python, "-c", _FORKED, str(_port(server))], os.environ)
    try:
        out, err = process.communicate(timeout=2 * GENEROUS_S)
    finally:
        process.kill()
    assert out == "the server to answer: not done after 1 s\n", err


def _port(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def _serving(
    server: socket.socket, answer: bytes, every_s: float = 0.0, rest: bytes = b""
) -> threading.Thread:
    """Send ``answer``, then ``rest`` byte by byte, until the other side goes."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)
            try:
                for byte in rest:
                    time.sleep(every_s)
                    connection.sendall(bytes([byte]))
                connection.recv(1)
            except OSError:
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def _get(server: socket.socket, **how: object) -> requests.Response:
    return requests.get(f"http://127.0.0.1:{_port(server)}/", timeout=60, **how)  # type: ignore[arg-type]


def test_a_server_that_says_nothing(server: socket.socket, waits: Waits):
    _serving(server, b"")
    begun = time.monotonic()
    with (
        pytest.raises(TimeoutError, match="the registry to answer"),
        Call("the registry to answer", 0.5, waits=waits),
    ):
        _get(server)
    assert time.monotonic() - begun < GENEROUS_S
    assert waits.active() == []


@pytest.mark.parametrize(
    "begun", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"]
)
def test_a_byte_now_and_then_is_no_progress(server: socket.socket, waits: Waits, begun: bytes):
    """Before the status line, in the headers, in the body: no single read is late."""
    _serving(server, begun, 0.1, b"x" * 9999)
    start = time.monotonic()
    with pytest.raises(TimeoutError), Call("the registry", 1.0, waits=waits):
        _get(server)
    assert time.monotonic() - start < GENEROUS_S


def test_a_body_that_comes_too_slowly(server: socket.socket, waits: Waits):
    _serving(server, b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", 0.1, b"x" * 9999)
    call = Call("the registry", 1.0, least_rate=1000, waits=waits)
    with call:
        answer = _get(server, stream=True)
    got = 0
    with pytest.raises(TimeoutError):
        for piece in call.pieces(answer.iter_content(1), size=1):
            got += len(piece)
    assert got < 1000


def test_many_short_waits_do_not_hide_that_all_of_them_are_late(waits: Waits):
    """Nothing but the pieces is late: no socket whose end would show it."""

    def source() -> Iterator[bytes]:
        while True:
            time.sleep(0.02)
            yield b"x"

    got = 0
    with pytest.raises(TimeoutError):
        for piece in Call("the registry", 0.2, least_rate=100, waits=waits).pieces(source(), size=1):
            got += len(piece)
    assert got < 60


def test_a_body_at_the_least_rate_takes_longer_than_an_answer(server: socket.socket, waits: Waits):
    body = b"x" * 30
    _serving(server, b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n", 0.05, body)
    call = Call("the registry", 0.8, least_rate=5, waits=waits)
    with call:
        answer = _get(server, stream=True)
    assert b"".join(call.pieces(answer.iter_content(1), size=1)) == body


def test_time_in_which_the_taker_works_does_not_count(server: socket.socket, waits: Waits):
    _serving(server, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
    call = Call("the registry", 0.5, waits=waits)
    with call:
        answer = _get(server, stream=True)
    pieces = call.pieces(answer.iter_content(1), size=1)
    assert next(pieces) == b"a"
    time.sleep(1.0)
    assert b"".join(pieces) == b"bc"


def test_what_is_sent_adds_to_the_limit(server: socket.socket, waits: Waits):
    """A part of 1,000 bytes at 500 bytes a second may take two seconds more."""
    _serving(server, b"", 1.0, b"H")
    begun = time.monotonic()
    with pytest.raises(TimeoutError), Call("the registry", 0.5, size=1000, least_rate=500, waits=waits):
        _get(server)
    assert time.monotonic() - begun > 2.0


@pytest.mark.parametrize("state", ["connecting", "answer"])
def test_another_thread_stops_at_once(server: socket.socket, waits: Waits, state: str):
    """Main threads get an exception by the signal; the sockets of the others are shut down."""
    if state == "connecting":
        # A full backlog: the connect neither fails nor ends.
        server.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())

    def work() -> None:
        with Call("the registry", 60.0, waits=waits):
            _get(server)

    thread = Worker(work)
    thread.start()
    while not waits.active():
        time.sleep(0.01)
    time.sleep(0.3)
    waits.stop()
    thread.join(GENEROUS_S)
    assert not thread.is_alive()
    assert isinstance(thread.error, Stopped)


def test_a_pause_ends(waits: Waits):
    thread = Worker(lambda: waits.pause(600.0))
    thread.start()
    while not waits.active():
        time.sleep(0.01)
    waits.stop()
    thread.join(GENEROUS_S)
    assert isinstance(thread.error, Stopped)


def test_whoever_cleans_up_has_a_grace(server: socket.socket, waits: Waits):
    """The main thread may still call servers, not for long; others may not begin anything."""
    _serving(server, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    waits.stop(grace_s=1.0)
    assert waits.remaining(60.0) <= 1.0
    with Call("the registry", 60.0, waits=waits):
        assert _get(server).text == "ok"
    _serving(server, b"")
    begun = time.monotonic()
    with pytest.raises(Stopped), Call("the registry", 60.0, waits=waits):
        _get(server)
    assert time.monotonic() - begun < GENEROUS_S
    with pytest.raises(Stopped):
        waits.check()
    with pytest.raises(Stopped), Call("the registry", 60.0, waits=waits):
        raise AssertionError("it began after the grace")


def test_others_begin_nothing_once_it_stops(waits: Waits):
    waits.stop(grace_s=60.0)
    thread = Worker(waits.check)
    thread.start()
    thread.join(GENEROUS_S)
    assert isinstance(thread.error, Stopped)
    waits.check()


def test_a_failure_that_is_not_late_stays_what_it_is(waits: Waits):
    with pytest.raises(http.client.BadStatusLine), Call("the registry", 60.0, waits=waits):
        raise http.client.BadStatusLine("x")


def test_a_call_inside_of_another(server: socket.socket, waits: Waits):
    """The inner one's sockets are its own; the outer one goes on afterwards."""
    _serving(server, b"")
    with Call("all of it", 60.0, waits=waits):
        with pytest.raises(TimeoutError, match="inner"), Call("inner", 0.3, waits=waits):
            _get(server)
        assert [wait.what for wait in waits.active()] == ["all of it"]


def test_tls(server: socket.socket, waits: Waits):
    """A handshake that is not answered."""
    kept: list[object] = []
    threading.Thread(target=lambda: kept.append(server.accept()), daemon=True).start()
    context = ssl.create_default_context()
    begun = time.monotonic()
    with pytest.raises(TimeoutError), Call("the registry", 0.5, waits=waits):
        http.client.HTTPSConnection("127.0.0.1", _port(server), timeout=60, context=context).request(
            "GET", "/"
        )
    assert time.monotonic() - begun < GENEROUS_S


def test_a_group_that_has_ended_waits_for_nothing(server: socket.socket, waits: Waits):
    """A call and a pause of its threads end; others go on."""
    group, found = ThreadGroup(waits), []
    _serving(server, b"")

    def call() -> None:
        with Call("the registry", 60.0, waits=waits):
            _get(server)

    def run(action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - what it is is the question
            found.append(error)

    members = [call, lambda: waits.pause(600.0)]
    threads = [threading.Thread(target=group.run, args=(run, each), daemon=True) for each in members]
    stranger = threading.Thread(target=run, args=(lambda: waits.pause(1.5),), daemon=True)
    for thread in [*threads, stranger]:
        thread.start()
    while len(waits.active()) < 3:
        time.sleep(0.01)
    time.sleep(0.2)
    group.end()
    for thread in threads:
        thread.join(GENEROUS_S)
    assert [type(error) for error in found] == [Stopped, Stopped]
    assert stranger.is_alive()
    stranger.join(GENEROUS_S)
    assert len(found) == 2


def test_a_connection_of_others_outlives_a_group(waits: Waits):
    """A share's connection carries the lease too: its waits keep their limits."""
    ours, theirs = socket.socketpair()
    group, got = ThreadGroup(waits), []

    def wait() -> None:
        with Call("the share", 60.0, waits=waits) as call:
            call.uses(ours)
            got.append(ours.recv(1))

    thread = threading.Thread(target=group.run, args=(wait,), daemon=True)
    with ours, theirs:
        thread.start()
        while not waits.active():
            time.sleep(0.01)
        group.end()
        time.sleep(0.5)
        theirs.send(b"x")
        thread.join(GENEROUS_S)
    assert got == [b"x"]


def test_a_group_within_another_ends_with_it(waits: Waits):
    outer = ThreadGroup(waits)
    inner = outer.run(lambda: ThreadGroup(waits))
    assert not inner.ended
    outer.end()
    with pytest.raises(Stopped):
        inner.run(waits.check)
    with apart():
        waits.check()


def test_whoever_cleans_up_leaves_the_group(server: socket.socket, waits: Waits):
    _serving(server, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    group = ThreadGroup(waits)
    group.end()

    def clean() -> str:
        with apart(), Call("the registry", 60.0, waits=waits):
            return _get(server).text

    assert group.run(clean) == "ok"


def test_what_is_no_socket_leaves_nothing_open(waits: Waits, tmp_path: Path):
    """A descriptor that has become another file meanwhile, or was never a socket."""
    with (tmp_path / "file").open("wb") as file:
        call = Call("the registry", 60.0, waits=waits)
        call.uses(file, alone=True)
        with pytest.raises(Stopped), call:
            waits.stop(grace_s=0.0)
        descriptors = Path("/proc/self/fd").iterdir()
        assert sum(each.exists() and each.samefile(file.name) for each in descriptors) == 1


class _Knot:
    """Holds itself: only the garbage collector frees it, and with it the generator."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self.source, self.itself = source, self


def _forgotten(waits: Waits, server: socket.socket, group: ThreadGroup | None = None) -> None:
    """Leave a generator behind that is suspended in the middle of a call."""

    def source() -> Iterator[bytes]:
        with (
            Call("a forgotten server", 60.0, waits=waits),
            socket.create_connection(("127.0.0.1", _port(server))),
        ):
            yield b"x"

    knot = _Knot(source())
    take = next if group is None else lambda source: group.run(next, source)
    assert take(knot.source) == b"x"


def _ends(call: Callable[[], object]) -> None:
    """Check that a call comes back."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(GENEROUS_S)
    assert not thread.is_alive()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The garbage collector works when the test says so."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_the_garbage_collector_leaves_a_call_that_is_being_ended(
    server: socket.socket, waits: Waits, uncollected: None, monkeypatch: pytest.MonkeyPatch
):
    """It may run wherever something is made: here, where the socket of the call is copied."""
    group = ThreadGroup(waits)
    _forgotten(waits, server, group)
    dup = os.dup

    def collecting(descriptor: int) -> int:
        copy = dup(descriptor)
        gc.collect()
        return copy

    monkeypatch.setattr(os, "dup", collecting)
    _ends(group.end)
    assert waits.active() == []


def test_the_garbage_collector_leaves_a_call_while_they_are_counted(
    server: socket.socket, waits: Waits, uncollected: None, monkeypatch: pytest.MonkeyPatch
):
    """The lock is held then."""
    _forgotten(waits, server)

    class Collecting(dict[int, object]):
        def values(self) -> Any:
            gc.collect()
            return super().values()

    monkeypatch.setattr(waits, "_going_on", Collecting(waits._going_on))
    _ends(waits.active)
    assert waits.active() == []


def test_a_call_keeps_its_sockets_when_a_forgotten_one_is_left(
    server: socket.socket, waits: Waits, uncollected: None
):
    """In the thread that began it, and in another one."""
    _forgotten(waits, server)
    with pytest.raises(TimeoutError), Call("the registry to answer", 0.5, waits=waits):
        gc.collect()
        _get(server)
    made = threading.Thread(target=_forgotten, args=[waits, server])
    made.start()
    made.join()
    begun = time.monotonic()
    with pytest.raises(TimeoutError), Call("the registry to answer", 0.5, waits=waits):
        gc.collect()
        _get(server)
    assert time.monotonic() - begun < GENEROUS_S


def _interrupted(waits: Waits, at: int, action: Callable[[Waits], object]) -> list[Wait] | None:
    """Raise KeyboardInterrupt at one of the moments at which a signal's handler may run.

    Returns:
        What was waited for then; None if the action ended before.
    """
    seen, found, before = 0, None, sys.gettrace()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal seen, found
        # The interpreter looks for signals where a function begins, and where a call has come back. Between
        # a block and what leaves it nothing can be done about them.
        between = (event, frame.f_code) in {
            ("return", Call.__enter__.__code__),
            ("call", Call.__exit__.__code__),
            ("call", Call._over.__code__),
        }
        if event in {"call", "return"} and not between:
            seen += 1
            if seen == at:
                found = list(waits._going_on.values())
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        action(waits)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return found


def _calls(waits: Waits) -> None:
    with Call("the registry", 60.0, waits=waits):
        pass


@pytest.mark.parametrize("action", [_calls, lambda waits: waits.pause(0.0)], ids=["call", "pause"])
def test_an_interrupt_at_any_moment_leaves_nothing_locked(action: Callable[[Waits], object]):
    """The main thread may be anywhere in a wait; who ends the waits of the others must not wait for it."""
    for at in itertools.count(1):
        waits = Waits()
        _calls(waits)  # its thread runs: the interpreter's own locks are not in question
        found = _interrupted(waits, at, action)
        if found is None:
            break
        left = waits.active()
        for end in (*(wait.end for wait in found), waits.stop, waits.active):
            _ends(end)
        # It would shut down whatever this thread connects from now on.
        assert [wait for wait in left if not getattr(wait, "_over", True)] == []
        call, waits_module._thread.call = waits_module._thread.call, None
        assert call is None or call._wait is None
        waits._going_on.clear()
    assert at > 10


def test_a_wait_that_is_entered_late_ends_with_the_grace(waits: Waits):
    """Not before it was entered: people see until when it goes on."""
    waits.stop(grace_s=60.0)
    now = time.monotonic()
    wait = Wait("the share to answer", now - 300.0, now + 300.0, threading.get_ident())
    waits.begin(wait)
    assert now + 30.0 < wait.until < now + 90.0
    waits.finish(wait)
