"""The fast data path on real servers: every dialect, protection and limit, over good wires and bad ones."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jenkins_release.base.errors import RemoteError
from jenkins_release.sandbox.samba import SambaServer, SambaShare
from jenkins_release.share import PathNotFound, SmbShare
from tests.fixtures.share import OpenSmb, StartSamba, Tap, starting

SIZE = 9_000_001
FALLBACK = "the fast data path does not support"


def check_both_ways(share: SmbShare, folder: Path) -> None:
    content = os.urandom(SIZE)
    with share.create("file") as writer:
        for start in range(0, SIZE, 2_000_000):
            writer.write(content[start : start + 2_000_000])
    assert (folder / "file").read_bytes() == content
    assert b"".join(share.read("file")) == content
    assert b"".join(share.read("file", offset=1_234_567, length=3_000_000)) == content[1_234_567:4_234_567]


def pinned(dialect: str) -> dict[str, str]:
    return {"server max protocol": dialect, "server min protocol": dialect}


SERVERS = {
    "signing disabled": ({"server signing": "disabled"}, False),
    "signing offered": ({"server signing": "auto"}, False),
    "signing required": ({"server signing": "mandatory"}, False),
    "encryption required": ({"smb encrypt": "required"}, True),
    "SMB 2.1, HMAC-SHA256": (pinned("SMB2_10"), False),
    "SMB 3.0, AES-CMAC": (pinned("SMB3_00"), False),
    "SMB 3.0, AES-128-CCM": (pinned("SMB3_00"), True),
    "SMB 3.0.2, AES-CMAC": (pinned("SMB3_02"), False),
    "SMB 3.0.2, AES-128-CCM": (pinned("SMB3_02"), True),
    "SMB 3.1.1, AES-GMAC": ({"server smb3 signing algorithms": "AES-128-GMAC"}, False),
    "SMB 3.1.1, AES-CMAC": ({"server smb3 signing algorithms": "AES-128-CMAC"}, False),
    "SMB 3.1.1, HMAC-SHA256": ({"server smb3 signing algorithms": "HMAC-SHA256"}, False),
    "SMB 3.1.1, AES-128-GCM": ({"server smb3 encryption algorithms": "AES-128-GCM"}, True),
    "SMB 3.1.1, AES-256-GCM": ({"server smb3 encryption algorithms": "AES-256-GCM"}, True),
    "SMB 3.1.1, AES-128-CCM": ({"server smb3 encryption algorithms": "AES-128-CCM"}, True),
    "SMB 3.1.1, AES-256-CCM": ({"server smb3 encryption algorithms": "AES-256-CCM"}, True),
    "requests of 64 KiB": ({"smb2 max write": "65536", "smb2 max read": "65536"}, False),
    "odd requests, encrypted": ({"smb2 max write": "100000", "smb2 max read": "70000"}, True),
    "few credits": ({"smb2 max credits": "20"}, False),
    "hardly any credits, encrypted": ({"smb2 max credits": "4"}, True),
}


@pytest.fixture(scope="class", params=SERVERS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, smb_password: str
) -> Iterator[tuple[SambaServer, bool]]:
    """A server of each kind, and whether it is asked to encrypt."""
    options, encrypt = SERVERS[request.param]
    with starting(tmp_path_factory, smb_password) as start:
        yield start(options=options), encrypt


class TestServers:
    @pytest.mark.parametrize("packed", [True, False], ids=["packed", "library"])
    def test_files_arrive_whole(
        self,
        server: tuple[SambaServer, bool],
        open_smb: OpenSmb,
        caplog: pytest.LogCaptureFixture,
        packed: bool,
    ) -> None:
        """Both data paths on every kind of server; the fast one does not quietly give way."""
        samba, encrypt = server
        folder = samba.shares["data"].path / str(packed)
        folder.mkdir()
        check_both_ways(open_smb(samba, "data", folder.name, encrypt=encrypt, packed=packed), folder)
        assert FALLBACK not in caplog.text

    def test_a_share_that_demands_encryption(self, start_samba: StartSamba, open_smb: OpenSmb) -> None:
        """A demand of the share alone is met too."""
        path = start_samba().folder / "data"
        server = start_samba({"data": SambaShare(path, options={"smb encrypt": "required"})})
        check_both_ways(open_smb(server), path)

    def test_an_old_dialect_falls_back_and_says_so(
        self, start_samba: StartSamba, open_smb: OpenSmb, caplog: pytest.LogCaptureFixture
    ) -> None:
        """SMB 2.0.2 goes through smbprotocol's own calls; the log has one line about it."""
        server = start_samba(options=pinned("SMB2_02"))
        with caplog.at_level(logging.WARNING):
            check_both_ways(open_smb(server, encrypt=False), server.shares["data"].path)
        told = [record.getMessage() for record in caplog.records if FALLBACK in record.getMessage()]
        assert len(told) == 1
        assert "dialect 0x0202" in told[0]
        assert r"\\127.0.0.1\data" in told[0]

    @pytest.mark.parametrize("allowed", ["512", "128", "24", "2", "1"])
    def test_credits_are_never_overdrawn(
        self, start_samba: StartSamba, open_smb: OpenSmb, allowed: str
    ) -> None:
        """At no moment did we use a number that the server had not granted (MS-SMB2 section 3.2.4.1.6)."""
        server = start_samba(options={"smb2 max credits": allowed})
        tap = Tap(server.port)
        check_both_ways(open_smb(server, port=tap.port, encrypt=False), server.shares["data"].path)
        granted, highest = 1, 0
        for way, header in tap.headers:
            credit = int.from_bytes(header[14:16], "little")
            number = int.from_bytes(header[24:32], "little")
            if way == "received":
                granted += credit
            else:
                charge = max(1, int.from_bytes(header[6:8], "little"))
                assert number + charge <= granted
                highest = max(highest, number + charge)
        assert highest > SIZE // 65536
        tap.close()


@pytest.mark.parametrize("encrypt", [True, False], ids=["encrypted", "signed"])
class TestWires:
    def test_latency_is_hidden(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb, encrypt: bool
    ) -> None:
        """With a slow wire several requests are under way before the first answer comes."""
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, encrypt=encrypt)
        share.list("")
        tap.latency_s = 0.05
        tap.headers.clear()
        check_both_ways(share, smb_folder)
        tap.latency_s = 0.0
        ahead = most = 0
        for way, _ in tap.headers:
            ahead += 1 if way == "sent" else -1
            most = max(most, ahead)
        assert 4 <= most <= 18

    @pytest.mark.parametrize("reading", [True, False], ids=["get", "put"])
    def test_a_wire_that_stalls(
        self,
        samba: SambaServer,
        smb_folder: Path,
        tap: Tap,
        open_smb: OpenSmb,
        encrypt: bool,
        reading: bool,
    ) -> None:
        """Silence ends a transfer after its time limit, not sooner and not never."""
        (smb_folder / "file").write_bytes(bytes(40_000_000))
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, encrypt=encrypt, timeout_s=1.0)
        share.list("")

        def run() -> None:
            if reading:
                for _ in share.read("file"):
                    tap.flowing.clear()
                return
            with share.create("new") as writer:
                while True:
                    writer.write(bytes(1_000_000))
                    tap.flowing.clear()

        with pytest.raises(RemoteError) as caught:
            run()
        tap.flowing.set()
        assert caught.value.retryable

    @pytest.mark.parametrize("where", [100_000, 1_500_000, 6_000_001])
    @pytest.mark.parametrize("reading", [True, False], ids=["get", "put"])
    def test_a_wire_that_is_cut(
        self,
        samba: SambaServer,
        smb_folder: Path,
        tap: Tap,
        open_smb: OpenSmb,
        encrypt: bool,
        reading: bool,
        where: int,
    ) -> None:
        """In the middle of a message or between two: a retryable error, no file, and then it works."""
        content = os.urandom(SIZE)
        (smb_folder / "file").write_bytes(content)
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, encrypt=encrypt)
        share.list("")
        tap.cut_after = where
        with pytest.raises(RemoteError) as caught:
            if reading:
                b"".join(share.read("file"))
            else:
                with share.create("new") as writer:
                    writer.write(content)
        assert caught.value.retryable
        tap.cut_after = None
        assert b"".join(share.read("file")) == content
        assert not (smb_folder / "new").exists() or (smb_folder / "new").stat().st_size < SIZE


class TestCancelling:
    def test_an_interrupt_while_waiting(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """Ctrl-C comes out at once, and the next operation has a new connection."""
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, timeout_s=60.0)
        share.list("")
        (smb_folder / "file").write_bytes(bytes(SIZE))
        pieces = iter(share.read("file"))
        next(pieces)
        tap.flowing.clear()
        # A shell starts what runs in the background with SIGINT ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            for _ in pieces:
                pass
        signal.signal(signal.SIGINT, before)
        tap.flowing.set()
        assert tap.connections == 1
        assert share.stat("file").size == SIZE
        assert tap.connections == 2

    def test_a_reader_that_has_enough(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """What was read ahead is thrown away; answers on their way reach nobody."""
        share = open_smb(samba, "data", smb_folder.name, port=tap.port)
        (smb_folder / "file").write_bytes(bytes(40_000_000))
        (smb_folder / "other").write_bytes(b"other")
        pieces = iter(share.read("file"))
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]  # it is a generator
        assert b"".join(share.read("other")) == b"other"


class TestCredits:
    @pytest.mark.parametrize("allowed", ["128", "8", "2", "1"])
    def test_everything_works_with_few(
        self, start_samba: StartSamba, open_smb: OpenSmb, allowed: str
    ) -> None:
        """Transfers side by side, copies, compound messages: fewer at a time, down to one after another."""
        server = start_samba(options={"smb2 max credits": allowed})
        share, folder = open_smb(server), server.shares["data"].path
        content = os.urandom(4_000_000)

        def transfer(name: str) -> bytes:
            with share.create(name, resumable=True) as writer:
                writer.write(content)
                assert share.copy_into(writer, "source")
            return b"".join(share.read(name))

        with share.lease("lock", "me") as lease:
            with share.create("source") as writer:
                writer.write(content)
            with ThreadPoolExecutor(4) as pool:
                assert all(data == content * 2 for data in pool.map(transfer, "abcd"))
            lease.confirm()
        for number in range(60):
            (folder / f"folder {number}").mkdir()
            (folder / f"folder {number}" / "file").write_bytes(b"%d" % number)
        paths = [f"folder {number}" for number in range(60)]
        heads = share.read_heads([f"{path}/file" for path in paths] + ["nothing"])
        assert heads[:-1] == [b"%d" % number for number in range(60)]
        assert isinstance(heads[-1], PathNotFound)
        listings = share.list_each([*paths, "nothing"])
        assert all([e.name for e in each] == ["file"] for each in listings[:-1] if isinstance(each, list))
        assert isinstance(listings[-1], PathNotFound)
        assert len(share.list("")) == 60 + 4 + 2
        share.remove("folder 1")
