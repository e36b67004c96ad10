"""Waits for an SMB server: each has an end, says what it is for, and stops when the process has to."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from smbprotocol.connection import SMB2Echo

from jenkins_release.base import waits
from jenkins_release.base.errors import RemoteError
from jenkins_release.base.retry import RetryPolicy
from jenkins_release.base.waits import Stopped, ThreadGroup, Waits
from jenkins_release.sandbox.samba import SambaServer
from jenkins_release.share import SmbShare
from jenkins_release.share.smb.connection import SmbConnection
from jenkins_release.share.smb.patience import Patience
from tests.fixtures.damage import flipped
from tests.fixtures.share import OpenSmb, Tap, eventually
from tests.fixtures.worker import Worker

GENEROUS_S = 15.0
"""Far from the limits that would count otherwise; the machine may be busy."""
LONG_S = 60.0
NEGOTIATE, FLUSH, ECHO = 0, 7, 13
QUICK = RetryPolicy(attempts=3, deadline_s=30, first_wait_s=0.05, max_wait_s=0.1, jitter_s=0)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """The waits of a process that may be asked to stop."""
    made = Waits()
    monkeypatch.setattr(waits, "PROCESS", made)
    return made


@pytest.fixture
def share(samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb) -> SmbShare:
    """A share behind the tap whose own limit is long."""
    (smb_folder / "file").write_bytes(os.urandom(30_000_000))
    opened = open_smb(samba, "data", smb_folder.name, port=tap.port, timeout_s=LONG_S, resume=QUICK)
    opened.list("")
    return opened


def _read(share: SmbShare) -> None:
    while True:
        for _ in share.read("file"):
            pass


def _write(share: SmbShare, *, resumable: bool = False) -> None:
    with share.create("new", resumable=resumable) as writer:
        while True:
            writer.write(bytes(1 << 20))


def _lease(share: SmbShare) -> None:
    with share.lease("lock", "me") as lease:
        while True:
            lease.confirm()
            time.sleep(0.05)


OPERATIONS: dict[str, Callable[[SmbShare], object]] = {
    "list": lambda share: share.list(""),
    "read": _read,
    "write": _write,
    "write through breaks": lambda share: _write(share, resumable=True),
    "lease": _lease,
    "copy": lambda share: [share.copy_into(w, "file") for w in [share.create("copy").__enter__()]],
    "heads": lambda share: share.read_heads(["file"] * 100),
    "rename": lambda share: share.rename("file", "other"),
}


class TestStopping:
    def test_a_thread_that_must_not_wait_does_not_log_off(self, share: SmbShare) -> None:
        """What it cleans up is not the place to find out that it has to stop."""
        group = ThreadGroup()

        def work() -> list[SmbConnection]:
            with contextlib.ExitStack() as lent:
                borrowed = [lent.enter_context(share._pool.borrow()) for _ in range(10)]
                group.end()
            return borrowed

        assert {connection.alive for connection in group.run(work)} == {True, False}

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_a_thread_that_waits_for_a_stalled_server_ends(
        self, share: SmbShare, tap: Tap, process: Waits, operation: str
    ) -> None:
        """At once, with its clean-up, though the share's limit is a minute."""
        thread = Worker(lambda: OPERATIONS[operation](share))
        if operation in {"read", "write", "write through breaks", "lease"}:
            thread.start()
            time.sleep(0.2)
            tap.flowing.clear()
        else:
            tap.flowing.clear()
            thread.start()
        assert eventually(lambda: bool(process.active()))
        begun = time.monotonic()
        process.stop()
        thread.join(GENEROUS_S)
        took = time.monotonic() - begun
        assert not thread.is_alive()
        assert took < GENEROUS_S
        assert isinstance(thread.error, Stopped)

    @pytest.mark.parametrize("resumable", [False, True])
    def test_who_cleans_up_after_ctrl_c_has_the_grace(
        self, share: SmbShare, tap: Tap, process: Waits, smb_folder: Path, resumable: bool
    ) -> None:
        """The main thread of a put that stalls: its clean-up waits for a second, not for a minute."""
        begun = 0.0
        with pytest.raises(KeyboardInterrupt), share.create("new", resumable=resumable) as writer:
            writer.write(bytes(5 << 20))
            tap.flowing.clear()
            writer.write(bytes(2 << 20))
            begun = time.monotonic()
            process.stop(grace_s=1.0)
            raise KeyboardInterrupt
        assert time.monotonic() - begun < GENEROUS_S
        if not resumable:
            tap.close()
            assert eventually(lambda: not (smb_folder / "new").exists())

    def test_a_connection_that_is_not_taken(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb, process: Waits
    ) -> None:
        """The login too."""
        tap.flowing.clear()
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, timeout_s=LONG_S)
        thread = Worker(lambda: share.list(""))
        thread.start()
        assert eventually(lambda: any("to answer the login" in wait.what for wait in process.active()))
        process.stop()
        thread.join(GENEROUS_S)
        assert isinstance(thread.error, Stopped)


class TestTelling:
    def test_a_long_wait_says_what_it_is_for(self, share: SmbShare, tap: Tap, process: Waits) -> None:
        """Once it has lasted a second, with its end."""
        tap.flowing.clear()
        thread = threading.Thread(target=lambda: share.stat("file"), daemon=True)
        thread.start()
        assert eventually(lambda: bool(process.active()))
        (wait,) = process.active()
        assert wait.what == rf"the share {share.name} to find file"
        assert LONG_S / 2 < wait.until - wait.since <= LONG_S + 1
        tap.flowing.set()
        thread.join(GENEROUS_S)
        assert process.active() == []

    def test_a_flush_that_takes_long(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb, process: Waits
    ) -> None:
        """From its beginning, though echoes go back and forth meanwhile."""
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, encrypt=False, timeout_s=2.0)
        held: list[bytes] = []
        seen: list[waits.Wait] = []

        def hold(message: bytes) -> list[bytes]:
            if message[12] == FLUSH:
                held.append(message)
                return []
            if message[12] == ECHO and held:
                seen.extend(process.active())
                return [message, *held] if len(seen) > 3 else [message]
            return [message]

        share.list("")
        tap.change = hold
        with share.create("new") as writer:
            writer.write(b"data")
        assert {wait.what for wait in seen} == {rf"the share {share.name} to finish new"}
        assert len({wait.since for wait in seen}) == 1

    def test_the_end_that_is_told_moves_with_the_wait(self, process: Waits) -> None:
        """Bytes that came put it off; a step that ends sooner brings it nearer."""
        now = time.monotonic()
        with Patience(100.0, lambda: "the share", lambda: now) as patience:
            now += 2.0
            patience.step(now + 10.0)
            (wait,) = process.active()
            for left, told in [(10.0, 10.0), (40.0, 40.0), (5.0, 5.0), (1000.0, 98.0)]:
                patience.step(now + left)
                assert wait.until == pytest.approx(now + told)
            now += 4.0
            patience.step()
            assert wait.until == pytest.approx(now + 94.0)


class TestProgress:
    @pytest.mark.parametrize("packed", [True, False])
    def test_a_server_that_sends_hardly_anything(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb, packed: bool
    ) -> None:
        """A byte now and then is no progress."""
        # More than is requested in advance: that much may be here before the wire slows down.
        (smb_folder / "file").write_bytes(bytes(40_000_000))
        share = open_smb(
            *(samba, "data", smb_folder.name),
            port=tap.port,
            timeout_s=1.0,
            least_rate=1 << 20,
            packed=packed,
        )
        reading = share.read("file")
        next(reading)
        tap.pace_s["received"] = 0.1
        begun = time.monotonic()
        with pytest.raises(RemoteError, match="did not answer in time") as caught:
            for _ in reading:
                pass
        assert caught.value.retryable
        assert time.monotonic() - begun < GENEROUS_S

    def test_a_server_that_takes_hardly_anything(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """Likewise."""
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, timeout_s=1.0, least_rate=1 << 20)
        begun = 0.0
        with (
            pytest.raises(RemoteError, match="did not answer in time") as caught,
            share.create("new") as writer,
        ):
            writer.write(bytes(1 << 20))
            tap.pace_s["sent"] = 0.1
            begun = time.monotonic()
            for _ in range(100):
                writer.write(bytes(1 << 20))
        assert caught.value.retryable
        assert time.monotonic() - begun < GENEROUS_S

    def test_a_slow_line_is_one_that_moves(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """A piece may take longer than the time limit, at the least rate."""
        (smb_folder / "file").write_bytes(b"x" * 3_000)
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, timeout_s=1.0, least_rate=500)
        share.list("")
        tap.pace_s["received"] = 0.0008
        assert b"".join(share.read("file")) == b"x" * 3_000

    def test_a_flush_that_never_comes_counts_against_the_policy(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """As many attempts as the policy has, then no more."""
        share = open_smb(
            *(samba, "data", smb_folder.name),
            port=tap.port,
            encrypt=False,
            timeout_s=1.0,
            resume=QUICK,
        )
        share.list("")
        flushes = 0
        silent = False

        def hold(message: bytes) -> list[bytes]:
            nonlocal flushes, silent
            if message[12] == FLUSH:
                flushes += 1
                silent = True
                return []
            if message[12] == NEGOTIATE:
                silent = False
            return [] if silent and message[12] == ECHO else [message]

        tap.change_sent = hold
        with pytest.raises(RemoteError) as caught, share.create("new", resumable=True) as writer:
            writer.write(bytes(3 << 20))
        assert flushes == QUICK.attempts
        assert not caught.value.retryable
        assert f"{QUICK.attempts} attempts" in str(caught.value.hint)

    def test_a_flush_that_is_asked_again_is_asked_once(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """The first was changed on its way, the second takes long: it is the second that is waited for."""
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, encrypt=False, timeout_s=1.0)
        share.list("")
        flushes, echoes = 0, 0
        held: list[bytes] = []

        def change(message: bytes) -> list[bytes]:
            nonlocal flushes
            if message[12] != FLUSH:
                return [message]
            flushes += 1
            return [flipped(message, -1) if flushes == 1 else message]

        def hold(message: bytes) -> list[bytes]:
            nonlocal echoes
            if message[12] == FLUSH and flushes > 1:
                held.append(message)
                return []
            echoes += message[12] == ECHO and bool(held)
            return [message, held.pop()] if held and echoes == 3 else [message]

        tap.change_sent, tap.change = change, hold
        with share.create("new") as writer:
            writer.write(b"content")
        assert (flushes, echoes) == (2, 3)

    def test_a_disk_that_never_answers_counts_against_the_deadline(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """Though the server answers everything else."""
        policy = RetryPolicy(attempts=20, deadline_s=2.0, first_wait_s=0.0, max_wait_s=0.0, jitter_s=0.0)
        share = open_smb(
            *(samba, "data", smb_folder.name), port=tap.port, encrypt=False, timeout_s=1.0, resume=policy
        )
        share.list("")
        tap.change_sent = lambda message: [] if message[12] == FLUSH else [message]
        begun = time.monotonic()
        with pytest.raises(RemoteError) as caught, share.create("new", resumable=True) as writer:
            writer.write(bytes(3 << 20))
        assert not caught.value.retryable
        assert time.monotonic() - begun < GENEROUS_S


def test_no_traceback_of_the_receiving_thread(
    share: SmbShare, tap: Tap, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ended it is the error that comes out, or recovery: nothing is printed on the way."""
    printed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", printed.append)
    damaged = [0]

    def damage(message: bytes) -> list[bytes]:
        if len(message) > 500_000 and damaged[0] < 2:
            damaged[0] += 1
            return [flipped(message, -1)]
        return [message]

    with caplog.at_level(logging.DEBUG):
        tap.change = damage
        assert sum(len(piece) for piece in share.read("file")) == 30_000_000
        tap.change = lambda message: [message[:60]]
        with pytest.raises(RemoteError):
            share.list("")
    assert damaged[0] == 2
    assert printed == []
    assert [record for record in caplog.records if record.exc_info] == []


class _Knot:
    """Holds itself: only the garbage collector frees it, and with it the generator."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self.source, self.itself = source, self


class TestForgotten:
    """A file that is half read and forgotten: the garbage collector closes it, in any thread."""

    @pytest.fixture(autouse=True)
    def uncollected(self) -> Iterator[None]:
        """It comes when the test says so."""
        gc.collect()
        gc.disable()
        yield
        gc.enable()

    @pytest.fixture
    def share(self, samba: SambaServer, smb_folder: Path, open_smb: OpenSmb) -> SmbShare:
        """A share with a long file and a short one."""
        (smb_folder / "long").write_bytes(bytes(64 << 20))
        (smb_folder / "short").write_bytes(b"content")
        return open_smb(samba, "data", smb_folder.name, timeout_s=LONG_S)

    def _forget(self, share: SmbShare, name: str) -> SmbConnection:
        """Read a piece of a file, and forget the rest; return its connection."""
        lent = []
        take = share._pool._take
        share._pool._take = lambda: lent.append(take()) or lent[-1]  # type: ignore[method-assign, func-returns-value]
        knot = _Knot(share.read(name))
        assert next(knot.source)
        share._pool._take = take  # type: ignore[method-assign]
        return lent[0]

    @pytest.mark.parametrize("name", ["long", "short"])
    def test_by_a_thread_that_must_not_wait(
        self, share: SmbShare, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """Nothing is printed, and the connection serves nobody else while an answer is outstanding."""
        printed: list[Any] = []
        monkeypatch.setattr(sys, "unraisablehook", printed.append)
        connection = self._forget(share, name)
        group = ThreadGroup()
        group.end()
        group.run(gc.collect)
        assert printed == []
        assert not connection.alive
        assert b"".join(share.read("short")) == b"content"

    def test_while_a_lost_session_is_noted(self, share: SmbShare, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its own session is lost too."""
        connection = self._forget(share, "long")

        class Collecting(dict[Any, dict[int, bool]]):
            def setdefault(self, *given: Any) -> dict[int, bool]:
                gc.collect()
                return super().setdefault(*given)

        monkeypatch.setattr(share._lost, "_found", Collecting())
        noting = threading.Thread(target=share._lost.add, args=[connection.target, 7], daemon=True)
        noting.start()
        noting.join(GENEROUS_S)
        assert not noting.is_alive()
        assert not connection.alive

    @pytest.mark.parametrize("where", ["waits", "counts credits"])
    @pytest.mark.parametrize("name", ["long", "short"])
    def test_in_the_thread_that_receives(
        self, share: SmbShare, monkeypatch: pytest.MonkeyPatch, name: str, where: str
    ) -> None:
        """No answer comes while that thread waits for one."""
        connection = self._forget(share, name)
        wire = connection.wire
        assert eventually(lambda: not wire.exchange._under_way)
        came = threading.Event()

        def collect() -> None:
            if threading.current_thread() is wire._t_worker and not came.is_set():
                gc.collect()
                came.set()

        class Collecting(dict[str, int]):
            def __getitem__(self, key: str) -> int:
                collect()
                return super().__getitem__(key)

        poll = select.poll
        if where == "waits":
            monkeypatch.setattr(select, "poll", lambda: collect() or poll())
        else:
            wire.sequence_window = Collecting(wire.sequence_window)
        wire.send(SMB2Echo(), sid=connection.session.session_id)
        assert came.wait(GENEROUS_S)
        wire._t_worker.join(GENEROUS_S)
        assert not wire._t_worker.is_alive()
        assert not connection.alive
