"""Servers that go away and come back, and connections that are ended while a command does something else."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jenkins_release.base.errors import IntegrityError, LeaseHeld, RemoteError
from jenkins_release.base.retry import RetryPolicy
from jenkins_release.sandbox.samba import SambaServer
from jenkins_release.share import SmbShare
from jenkins_release.share.smb import share as smb_share_module
from jenkins_release.share.smb import writer as writer_module
from jenkins_release.share.staging import stage_folder, write_new
from tests.fixtures.share import OpenSmb, StartSamba, Tap, eventually, unchanged

PATIENT = RetryPolicy(attempts=2, deadline_s=60, first_wait_s=0.05, max_wait_s=0.2, jitter_s=0)
"""Fewer attempts than it takes to wait for a server that is away."""
AWAY_S = 1.0
MIB = 1 << 20
IOCTL, WRITE = 11, 9


@pytest.fixture
def server(start_samba: StartSamba) -> SambaServer:
    """A server of the test's own."""
    return start_samba()


@pytest.fixture
def folder(server: SambaServer) -> Path:
    """The folder behind its share."""
    return server.shares["data"].path


@pytest.fixture
def share(server: SambaServer, open_smb: OpenSmb) -> SmbShare:
    """Its share, reached once."""
    opened = open_smb(server, resume=PATIENT)
    opened.list("")
    return opened


@contextmanager
def away(server: SambaServer) -> Iterator[None]:
    """Stop the server; it starts again on its port while the block runs."""
    server.stop()

    def come_back() -> None:
        time.sleep(AWAY_S)
        server.start(tied=True)

    thread = threading.Thread(target=come_back)
    thread.start()
    try:
        yield
    finally:
        thread.join()


class TestServers:
    def test_an_upload_goes_on(
        self, server: SambaServer, share: SmbShare, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As an export streams it: what the server confirmed is not sent again. The wait is said."""
        content = os.urandom(24 * MIB)
        with share.lease("lock", "me") as lease, share.create("file", resumable=True) as writer:
            writer.write(content[: 12 * MIB])
            with away(server):
                writer.write(content[12 * MIB :])
            lease.confirm()
        assert (folder / "file").read_bytes() == content
        assert "a new connection goes on there" in caplog.text
        assert r"reach \\127.0.0.1\data again: attempt 2 failed" in caplog.text
        assert "was lost with its connection and taken again: no one else had it meanwhile" in caplog.text

    def test_a_download_goes_on(self, server: SambaServer, share: SmbShare, folder: Path) -> None:
        """As a candidate is loaded and promoted."""
        content = os.urandom(30 * MIB)
        (folder / "file").write_bytes(content)
        pieces = share.read("file")
        got = bytearray(next(pieces))
        with away(server):
            for piece in pieces:
                got += piece
        assert bytes(got) == content

    def test_a_copy_by_the_server_goes_on(
        self,
        server: SambaServer,
        open_smb: OpenSmb,
        folder: Path,
        make_tap: Callable[[int], Tap],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Behind the last part that is on the server's disk, not at the beginning of the range."""
        monkeypatch.setattr(writer_module, "_COPIED", 2 * MIB)
        content = os.urandom(20 * MIB)
        (folder / "source").write_bytes(content)
        tap = make_tap(server.port)
        share = open_smb(server, port=tap.port, encrypt=False, resume=PATIENT)
        copies = cut_at_copy(tap, 8)
        with share.create("file", resumable=True) as writer:
            writer.write(b"before")
            assert share.copy_into(writer, "source")
        assert (folder / "file").read_bytes() == b"before" + content
        assert 10 <= len(copies) <= 12

    def test_a_source_that_changed_meanwhile(
        self,
        server: SambaServer,
        open_smb: OpenSmb,
        folder: Path,
        make_tap: Callable[[int], Tap],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Half of one file and half of another are no file."""
        monkeypatch.setattr(writer_module, "_COPIED", 2 * MIB)
        (folder / "source").write_bytes(bytes(20 * MIB))
        tap = make_tap(server.port)
        share = open_smb(server, port=tap.port, encrypt=False, resume=PATIENT)
        cut_at_copy(tap, 8, lambda: (folder / "source").write_bytes(os.urandom(21 * MIB)))
        with (
            pytest.raises(IntegrityError, match="source was changed while it was copied: it had 20971520"),
            share.create("file", resumable=True) as writer,
        ):
            share.copy_into(writer, "source")
        assert [entry.name for entry in share.list("")] == ["source"]

    def test_other_operations_wait_too(
        self, server: SambaServer, share: SmbShare, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What stands between two transfers: folders, names, records, a lease."""
        with away(server):
            share.make_folder("8.1.0")
        with away(server):
            write_new(share, "8.1.0", "record", b"signed")
        with away(server), share.lease("lock", "me") as lease:
            lease.confirm()
        assert b"".join(share.read("8.1.0/record")) == b"signed"
        assert "reach" in caplog.text

    def test_one_that_does_not_come_back(
        self, server: SambaServer, share: SmbShare, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The wait has an end, for all attempts together; the error says where it cannot be reached."""
        monkeypatch.setattr(smb_share_module, "_AWAY_S", 0.6)
        server.stop()
        begun = time.monotonic()
        for _ in range(5):
            with pytest.raises(RemoteError, match=r"Failed to connect|connection") as caught:
                share.list("")
            assert caught.value.retryable
        assert 0.3 < time.monotonic() - begun < 10
        assert "Failed to connect" in caught.value.message

    def test_one_that_was_never_reached_is_not_waited_for(
        self, server: SambaServer, open_smb: OpenSmb
    ) -> None:
        """Its name or port may be wrong."""
        server.stop()
        share = open_smb(server, resume=PATIENT)
        begun = time.monotonic()
        with pytest.raises(RemoteError, match="Failed to connect"):
            share.list("")
        assert time.monotonic() - begun < 5


def cut_at_copy(tap: Tap, number: int, then: Callable[[], object] = lambda: None) -> list[bytes]:
    """Cut the wire at a request for a copy. Returns these requests, as they come."""
    seen: list[bytes] = []

    def change(message: bytes) -> list[bytes]:
        # MS-SMB2 section 2.2.31: FSCTL_SRV_COPYCHUNK_WRITE.
        if message[12] == IOCTL and int.from_bytes(message[68:72], "little") == 0x001480F2:
            seen.append(message)
            if len(seen) == number:
                then()
                tap.cut()
                return []
        return [message]

    tap.change_sent = change
    return seen


class TestIdle:
    @pytest.fixture
    def share(self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb) -> SmbShare:
        """A share behind a wire that ends connections on which nothing passes."""
        opened = open_smb(samba, "data", smb_folder.name, port=tap.port, resume=PATIENT)
        opened.list("")
        tap.idle_s = 0.3
        return opened

    def test_an_operation_reconnects(self, share: SmbShare, tap: Tap) -> None:
        """After a scan or an approval that took its time."""
        for number in range(2):
            self.idle(tap)
            share.make_folder(f"folder {number}")
            assert len(share.list("")) == number + 1
        assert tap.connections == 3

    def test_a_file_that_nothing_was_written_to_for_a_while(
        self, share: SmbShare, tap: Tap, smb_folder: Path
    ) -> None:
        """While Docker prepares a layer, it says nothing."""
        content = os.urandom(6 * MIB)
        with share.create("file", resumable=True) as writer:
            for start in range(0, len(content), 2 * MIB):
                writer.write(content[start : start + 2 * MIB])
                self.idle(tap)
        assert (smb_folder / "file").read_bytes() == content

    def test_a_file_that_is_read_slowly(self, share: SmbShare, tap: Tap, smb_folder: Path) -> None:
        """While a registry takes its time with a layer."""
        content = os.urandom(30 * MIB)
        (smb_folder / "file").write_bytes(content)
        got = bytearray()
        for number, piece in enumerate(share.read("file")):
            got += piece
            if number in {0, 20}:
                self.idle(tap)
        assert bytes(got) == content

    def test_a_lease_that_was_held_over_it(
        self, share: SmbShare, tap: Tap, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is lost with its connection, and taken again before the step that needs it."""
        with (
            caplog.at_level(logging.WARNING),
            share.lease("lock", "me") as lease,
            stage_folder(share, "8.1.0", "42", lease=lease) as staging,
        ):
            staging.write("file", b"content")
            self.idle(tap)
            staging.commit()
        assert [entry.name for entry in share.list("8.1.0")] == ["42"]
        assert "taken again: no one else had it meanwhile" in caplog.text

    def test_a_lease_that_someone_else_took_over_it(
        self, share: SmbShare, tap: Tap, samba: SambaServer, smb_folder: Path, open_smb: OpenSmb
    ) -> None:
        """Then nothing becomes visible."""
        other = open_smb(samba, "data", smb_folder.name)
        with (
            pytest.raises(RemoteError, match="another process held it in the meantime") as caught,
            share.lease("lock", "me") as lease,
            stage_folder(share, "8.1.0", "42", lease=lease) as staging,
        ):
            staging.write("file", b"content")
            self.idle(tap)
            assert eventually(lambda: taken(other))
            staging.commit()
        assert not caught.value.retryable
        tap.change = unchanged
        assert share.list("8.1.0") == []

    @staticmethod
    def idle(tap: Tap) -> None:
        """Do nothing until every connection was ended."""
        before = tap.idle_ends
        assert eventually(lambda: tap.idle_ends > before and not tap.open)


def taken(share: SmbShare) -> bool:
    try:
        with share.lease("lock", "the other"):
            return True
    except LeaseHeld:
        return False
