"""Copies that the server makes: between shares, within its limits, and where it offers none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jenkins_release.base.errors import RemoteError
from jenkins_release.sandbox.samba import SambaServer, SambaShare
from jenkins_release.share import SmbShare
from jenkins_release.share.smb import copy as smb_copy
from tests.fixtures.liar import Liar, number
from tests.fixtures.share import OpenSmb, StartSamba, Tap

IOCTL, READ, ECHO = 11, 8, 13
RESUME_KEY, COPY_CHUNK = 0x00140078, 0x001480F2


@pytest.fixture(scope="module")
def two_shares(_start: StartSamba, tmp_path_factory: pytest.TempPathFactory) -> SambaServer:
    """A server with the shares ``data`` and ``releases``."""
    folder = tmp_path_factory.mktemp("two")
    return _start({name: SambaShare(folder / name) for name in ("data", "releases")})


@pytest.fixture
def share(samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb, liar: Liar) -> SmbShare:
    """A signed share behind the tap, with a file on it."""
    (smb_folder / "source").write_bytes(os.urandom(20_000_000))
    return open_smb(samba, "data", smb_folder.name, port=tap.port, encrypt=False)


class TestShares:
    @pytest.mark.parametrize("encrypt", [True, False], ids=["encrypted", "signed"])
    @pytest.mark.parametrize("folder", ["", "8.1.0"])
    def test_from_one_share_into_another(
        self, two_shares: SambaServer, open_smb: OpenSmb, encrypt: bool, folder: str
    ) -> None:
        """Two shares of one server, with roots of their own: what a publish does."""
        content = os.urandom(3_000_000)
        source = two_shares.shares["data"].path / "deep"
        source.mkdir(exist_ok=True)
        (source / "file").write_bytes(content)
        target = two_shares.shares["releases"].path / folder
        target.mkdir(exist_ok=True)
        data = open_smb(two_shares, "data", "deep", encrypt=encrypt)
        releases = open_smb(two_shares, "releases", folder, encrypt=encrypt)
        with releases.create("file") as writer:
            assert data.copy_into(writer, "file")
            assert data.copy_into(writer, "file", offset=10, length=20)
            writer.write(b"end")
        assert (target / "file").read_bytes() == content + content[10:30] + b"end"
        releases.remove("file")

    def test_from_another_server(
        self, two_shares: SambaServer, samba: SambaServer, smb_folder: Path, open_smb: OpenSmb
    ) -> None:
        """It says that it cannot; nothing is appended, and the writer goes on."""
        (smb_folder / "file").write_bytes(b"x" * 100)
        releases = open_smb(two_shares, "releases")
        with releases.create("file") as writer:
            writer.write(b"before, ")
            assert not open_smb(samba, "data", smb_folder.name).copy_into(writer, "file")
            writer.write(b"after")
        assert b"".join(releases.read("file")) == b"before, after"
        releases.remove("file")


class TestServer:
    def test_no_byte_crosses_the_wire(self, share: SmbShare, tap: Tap) -> None:
        """Twenty megabytes cost some hundred bytes of requests."""
        with share.create("new") as writer:
            before = len(tap.sent) + len(tap.received)
            assert share.copy_into(writer, "source")
            assert len(tap.sent) + len(tap.received) - before < 20_000
        assert share.stat("new").size == 20_000_000

    def test_its_limits_are_learned(
        self, share: SmbShare, smb_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A request beyond them is refused with the limits, and made again within (MS-SMB2 3.3.5.15.6.2)."""
        monkeypatch.setattr(smb_copy, "_CHUNKS", 1000)
        monkeypatch.setattr(smb_copy, "_CHUNK", 4 << 20)
        monkeypatch.setattr(smb_copy, "_TOTAL", 64 << 20)
        with share.create("new") as writer:
            assert share.copy_into(writer, "source")
        assert (smb_folder / "new").read_bytes() == (smb_folder / "source").read_bytes()

    @pytest.mark.parametrize("code", [RESUME_KEY, COPY_CHUNK], ids=["resume key", "copy"])
    @pytest.mark.parametrize("status", [0xC00000BB, 0xC0000010])
    def test_one_that_does_not_offer_it(
        self, share: SmbShare, smb_folder: Path, liar: Liar, code: int, status: int
    ) -> None:
        """False, nothing appended: the caller sends the bytes itself."""

        def refuse(message: bytearray) -> bytearray:
            if int.from_bytes(message[68:72], "little") != code:
                return message
            body = bytes([9, 0, 0, 0, 0, 0, 0, 0, 0])
            return number(message[:64] + bytearray(body), 8, 4, status)

        share.list("")
        liar.lie(IOCTL, refuse)
        # What the server may have copied before it "refused" is overwritten by what follows.
        with share.create("new") as writer:
            writer.write(b"before, ")
            assert not share.copy_into(writer, "source", length=3)
            writer.write(b"after")
        assert (smb_folder / "new").read_bytes() == b"before, after"

    def test_one_that_copies_less(self, share: SmbShare, liar: Liar) -> None:
        """A copy that is too short is an error, and the new file goes."""

        def shorten(message: bytearray) -> bytearray:
            if int.from_bytes(message[68:72], "little") == COPY_CHUNK:
                number(message, len(message) - 4, 4, 17)
            return message

        share.list("")
        liar.lie(IOCTL, shorten)
        with pytest.raises(RemoteError, match="copied 17 of"), share.create("new") as writer:
            share.copy_into(writer, "source")
        assert liar.lies >= 2

    def test_one_that_falls_silent_is_waited_for_once(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """The source is not closed over a connection that answers nothing any more."""
        (smb_folder / "source").write_bytes(bytes(1000))
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, encrypt=False, timeout_s=1.0)
        unheard: list[int] = []

        def swallow(message: bytes) -> list[bytes]:
            if not unheard and message[12] != IOCTL:
                return [message]
            unheard.append(message[12])
            return []

        with pytest.raises(RemoteError, match="did not answer in time"), share.create("new") as writer:
            tap.change_sent = swallow
            share.copy_into(writer, "source")
        assert unheard == [IOCTL, ECHO]
