"""Transfers that go on after their connection broke: at the last confirmed byte, or not at all."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.base.retry import RetryPolicy
from jenkins_release.sandbox.samba import SambaServer
from jenkins_release.share import PathNotFound, SmbShare
from tests.fixtures.share import OpenSmb, StartSamba, Tap, eventually, unchanged

QUICK = RetryPolicy(attempts=6, deadline_s=30, first_wait_s=0.05, max_wait_s=0.5, jitter_s=0)
SIZE = 30_000_000
WRITE = 9


@pytest.fixture(params=["packed", "library"])
def share(
    request: pytest.FixtureRequest, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb
) -> SmbShare:
    """A share behind the tap that goes on after breaks, over each data path."""
    packed = request.param == "packed"
    opened = open_smb(
        samba, "data", smb_folder.name, port=tap.port, encrypt=False, packed=packed, resume=QUICK
    )
    opened.list("")
    return opened


class TestReading:
    def test_a_cut_in_the_middle(self, share: SmbShare, smb_folder: Path, tap: Tap) -> None:
        """Every byte once, in order, whatever was on its way."""
        content = os.urandom(SIZE)
        (smb_folder / "file").write_bytes(content)
        got = bytearray()
        for number, piece in enumerate(share.read("file")):
            got += piece
            if number in {0, 5, 11}:
                tap.cut()
        assert bytes(got) == content
        assert tap.connections == 4

    def test_a_cut_after_the_last_byte(self, share: SmbShare, smb_folder: Path, tap: Tap) -> None:
        """The file is read: a connection that ends before its handle is closed costs nothing."""
        content = os.urandom(3_000_000)
        (smb_folder / "file").write_bytes(content)
        got = bytearray()
        for piece in share.read("file"):
            got += piece
            if len(got) == len(content):
                tap.cut_after = 0
        assert bytes(got) == content
        assert tap.connections == 1

    def test_a_file_that_changed_meanwhile(self, share: SmbShare, smb_folder: Path, tap: Tap) -> None:
        """The old half and the new half are no file: it is told, and not tried again."""
        (smb_folder / "file").write_bytes(bytes(SIZE))
        with pytest.raises(IntegrityError, match="was changed while it was read"):
            for number, _ in enumerate(share.read("file")):
                if number == 5:
                    (smb_folder / "file").write_bytes(b"x" * SIZE)
                    tap.cut()

    def test_a_file_that_is_gone(self, share: SmbShare, smb_folder: Path, tap: Tap) -> None:
        """There is nothing to go on with."""
        (smb_folder / "file").write_bytes(bytes(SIZE))
        with pytest.raises(PathNotFound, match="file"):
            for number, _ in enumerate(share.read("file")):
                if number == 5:
                    (smb_folder / "file").unlink()
                    tap.cut()

    def test_a_server_that_breaks_each_time(self, share: SmbShare, smb_folder: Path, tap: Tap) -> None:
        """Breaks without a byte of progress are counted, and come to an end."""
        (smb_folder / "file").write_bytes(bytes(SIZE))

        def damage(message: bytes) -> list[bytes]:
            return [message if len(message) < 500_000 else message[:-1] + b"x"]

        tap.change = damage
        with pytest.raises(RemoteError) as caught:
            for _ in share.read("file"):
                raise AssertionError("a damaged piece came out")
        assert not caught.value.retryable
        assert "6 attempts" in caught.value.hint
        assert tap.connections == QUICK.attempts


class TestWriting:
    @pytest.mark.parametrize("where", [500_000, 3_000_000, 11_111_111])
    def test_a_cut_in_the_middle(self, share: SmbShare, smb_folder: Path, tap: Tap, where: int) -> None:
        """The file is what was written, though the caller reuses its buffer."""
        content = os.urandom(SIZE)
        buffer = bytearray(1_000_000)
        with share.create("file", resumable=True) as writer:
            tap.cut_after = where
            for start in range(0, SIZE, len(buffer)):
                buffer[:] = content[start : start + len(buffer)]
                writer.write(buffer)
        assert (smb_folder / "file").read_bytes() == content
        assert tap.connections == 2
        assert [entry.size for entry in share.list("")] == [SIZE]

    def test_only_what_was_not_confirmed_is_sent_again(
        self, share: SmbShare, smb_folder: Path, tap: Tap
    ) -> None:
        """A break late in the file costs some requests, not the file."""
        with share.create("file", resumable=True) as writer:
            for number in range(30):
                writer.write(bytes(1 << 20))
                if number == 25:
                    tap.cut()
        written = sum(1 for way, header in tap.headers if way == "sent" and header[12] == WRITE)
        assert 30 <= written <= 30 + 16

    def test_at_the_very_end(self, share: SmbShare, smb_folder: Path, tap: Tap) -> None:
        """A break between the last byte and the flush is no loss."""
        with share.create("file", resumable=True) as writer:
            writer.write(b"x" * 3_000_000)
            tap.cut()
        assert (smb_folder / "file").read_bytes() == b"x" * 3_000_000

    def test_acknowledged_bytes_that_the_server_lost(
        self, share: SmbShare, smb_folder: Path, tap: Tap
    ) -> None:
        """As after a power failure: it is noticed, whether the file became shorter or lost its middle."""
        for damage in ("shorter", "hole"):
            with (
                pytest.raises(IntegrityError, match="lost bytes that the server had acknowledged"),
                share.create("file", resumable=True) as writer,
            ):
                for _ in range(20):
                    writer.write(b"x" * (1 << 20))
                with (smb_folder / "file").open("r+b") as file:
                    if damage == "shorter":
                        file.truncate(1_000)
                    else:
                        file.seek(1_000_000)
                        file.write(bytes(4096))
                tap.cut()
                writer.write(b"x" * (10 << 20))
            assert eventually(lambda: share.list("") == [])

    def test_after_a_server_side_copy(self, share: SmbShare, smb_folder: Path, tap: Tap) -> None:
        """Copied and written bytes are both there after a break."""
        source = os.urandom(5_000_000)
        (smb_folder / "source").write_bytes(source)
        with share.create("file", resumable=True) as writer:
            writer.write(b"a" * 2_000_000)
            assert share.copy_into(writer, "source")
            tap.cut()
            writer.write(b"b" * 2_000_000)
            tap.cut()
            assert share.copy_into(writer, "source", length=10)
        expected = b"a" * 2_000_000 + source + b"b" * 2_000_000 + source[:10]
        assert (smb_folder / "file").read_bytes() == expected

    def test_a_file_that_is_not_resumable(self, share: SmbShare, tap: Tap) -> None:
        """The break comes out, and the server removes what was written."""
        with pytest.raises(RemoteError) as caught, share.create("file") as writer:
            writer.write(bytes(3_000_000))
            tap.cut()
            writer.write(bytes(3_000_000))
            writer.write(bytes(30_000_000))
        assert caught.value.retryable
        assert eventually(lambda: share.list("") == [])

    def test_a_failure_after_a_break_removes_the_file(self, share: SmbShare, tap: Tap) -> None:
        """Nothing partial stays where this side can help it."""
        with pytest.raises(KeyError), share.create("file", resumable=True) as writer:
            writer.write(bytes(3_000_000))
            tap.cut()
            raise KeyError("source")
        assert share.list("") == []


class TestServers:
    def test_a_server_process_that_was_killed(self, start_samba: StartSamba, open_smb: OpenSmb) -> None:
        """A crashed server process costs a new connection, in both directions."""
        server = start_samba()
        share = open_smb(server, resume=QUICK)
        content = os.urandom(SIZE)
        with share.create("file", resumable=True) as writer:
            for start in range(0, SIZE, 1_000_000):
                writer.write(content[start : start + 1_000_000])
                if start == 15_000_000:
                    assert eventually(lambda: len(server.client_pids()) == 1)
                    assert server.kill_clients() == 1
        got = bytearray()
        for number, piece in enumerate(share.read("file")):
            got += piece
            if number == 10:
                assert server.kill_clients() == 1
        assert bytes(got) == content

    def test_a_server_that_holds_on_to_the_lost_session(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """The new login ends the old session, which has the file open exclusively still."""
        share = open_smb(
            samba, "data", smb_folder.name, port=tap.port, timeout_s=1.0, resume=QUICK, encrypt=False
        )
        with share.create("file", resumable=True) as writer:
            writer.write(bytes(5_000_000))
            tap.strand()
            writer.write(bytes(20_000_000))
        assert (smb_folder / "file").stat().st_size == 25_000_000
        assert tap.connections == 2

    def test_a_server_that_ends_the_connection_and_takes_nothing_more(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """Who is sending hears of the end at once, not when the time limit has passed."""
        share = open_smb(
            samba, "data", smb_folder.name, port=tap.port, timeout_s=60.0, resume=QUICK, encrypt=False
        )
        content, released = os.urandom(SIZE), threading.Event()

        def block(message: bytes) -> list[bytes]:
            released.wait()
            return [message]

        def end() -> None:
            tap.change_sent = unchanged
            tap.end_answers()

        with share.create("file", resumable=True) as writer:
            writer.write(content[:3_000_000])
            tap.change_sent = block
            timer = threading.Timer(0.5, end)
            timer.start()
            begun = time.monotonic()
            writer.write(content[3_000_000:])
        assert time.monotonic() - begun < 20
        released.set()
        timer.join()
        assert (smb_folder / "file").read_bytes() == content
