"""Shares without room: a full disk, a quota that the server tells, one that shows in mid-transfer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jenkins_release.sandbox.samba import SambaServer, SambaShare
from jenkins_release.share import ShareFull, SmbShare
from jenkins_release.share.smb.transfer import PIECE
from jenkins_release.share.staging import stage_folder, write_new
from tests.fixtures.liar import Liar, number
from tests.fixtures.share import OpenSmb, StartSamba, Tap, eventually, in_own_mounts, starting

MIB = 1 << 20
ROOM = 8 * MIB
FLUSH, WRITE, SET_INFO = 7, 9, 17
QUOTAS = {"STATUS_QUOTA_EXCEEDED": 0xC0000044, "STATUS_DISK_QUOTA_EXCEEDED": 0xC0000802}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, smb_password: str) -> Iterator[SambaServer]:
    """A server with a disk of 8 MiB."""
    folder = tmp_path_factory.mktemp("small")
    with starting(tmp_path_factory, smb_password) as start:
        mount = "mount -t tmpfs -o size=8m,mode=0777 none {}"
        yield start({"data": SambaShare(folder)}, launcher=in_own_mounts(mount, str(folder)))


@pytest.fixture
def share(server: SambaServer, open_smb: OpenSmb) -> SmbShare:
    """The share, empty."""
    opened = open_smb(server)
    for entry in opened.list(""):
        opened.remove(entry.name)
    return opened


def fill(share: SmbShare, left: int) -> None:
    """Leave so many bytes free."""
    room = share.free_space()
    assert room is not None
    with share.create("others") as writer:
        writer.write(bytes(room - left))


def told(error: ShareFull) -> tuple[int, int]:
    """Return the bytes that were written and those that are free, as a message tells them."""
    found = re.search(r", after (\d+) bytes of it; the server says that (\d+) bytes are free", error.message)
    assert found is not None, error.message
    return int(found[1]), int(found[2])


class TestDisks:
    def test_a_staged_file(self, share: SmbShare) -> None:
        """What, where, how much; not tried again; and nothing of it stays."""
        fill(share, 3 * MIB)
        with (
            pytest.raises(ShareFull, match=r"cannot (write|finish) .*one\.tar: the share is full") as caught,
            stage_folder(share, "8.1.0", "42") as staging,
            staging.create("images/one.tar") as writer,
        ):
            writer.write(bytes(MIB))
            # The server writes several blocks at once, and any may be the one without room: not the first.
            assert eventually(lambda: (share.free_space() or 0) <= 2 * MIB)
            for _ in range(15):
                writer.write(bytes(MIB))
        assert not caught.value.retryable
        written, free = told(caught.value)
        assert MIB <= written <= 3 * MIB
        assert free < MIB
        assert "free some space on the share, or ask for a larger volume or quota" in caught.value.hint
        assert share.list("8.1.0") == []
        room = share.free_space()
        assert room is not None
        assert room >= 2 * MIB

    @pytest.mark.parametrize("resumable", [True, False])
    def test_a_copy_by_the_server(self, share: SmbShare, resumable: bool) -> None:
        """The server's own copy runs into the same wall."""
        with share.create("source") as writer:
            writer.write(bytes(4 * MIB))
        fill(share, MIB)
        with (
            pytest.raises(ShareFull, match="cannot copy into"),
            share.create("copy", resumable=resumable) as writer,
        ):
            share.copy_into(writer, "source")
        assert [entry.name for entry in share.list("")] == ["others", "source"]

    def test_a_record(self, share: SmbShare) -> None:
        """A record is there completely or not at all, and no hidden rest of it is."""
        share.make_folder("folder")
        fill(share, 0)
        with pytest.raises(ShareFull) as caught:
            write_new(share, "folder", "record", bytes(10_000))
        assert not caught.value.retryable
        assert share.list("folder") == []

    def test_what_is_there_stays_usable(self, share: SmbShare) -> None:
        """A full share is read from, renamed and removed on."""
        fill(share, 0)
        assert share.stat("others").size > 0
        share.rename("others", "renamed")
        share.remove("renamed")
        assert share.list("") == []


class TestQuotas:
    def test_one_that_the_server_tells_is_what_is_free(
        self, start_samba: StartSamba, open_smb: OpenSmb, tmp_path: Path
    ) -> None:
        """So an export that does not fit is refused before it begins: the disk has more room."""
        script = tmp_path / "quota"
        # smb.conf(5), get quota command: flags; used, soft and hard limit; those of files; size of a block.
        script.write_text("#!/bin/sh\necho 2 1000 4096 4096 0 0 0 1024\n")
        script.chmod(0o755)
        server = start_samba(options={"get quota command": str(script)})
        assert open_smb(server).free_space() == (4096 - 1000) * 1024

    @pytest.mark.parametrize("status", QUOTAS)
    @pytest.mark.parametrize("command", [WRITE, FLUSH])
    @pytest.mark.parametrize("resumable", [True, False])
    def test_one_that_shows_in_mid_transfer(
        self,
        samba: SambaServer,
        smb_folder: Path,
        tap: Tap,
        open_smb: OpenSmb,
        liar: Liar,
        status: str,
        command: int,
        resumable: bool,
    ) -> None:
        """The disk has room, so the hint says that it is a quota. No second attempt, and no file."""
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, encrypt=False)
        share.list("")
        liar.lie(command, refused(QUOTAS[status], after=0 if command == FLUSH else 2))
        with (
            pytest.raises(
                ShareFull, match=rf"quota is used up: {status} .*, after \d+ bytes of it"
            ) as caught,
            share.create("file", resumable=resumable) as writer,
        ):
            writer.write(bytes(6 * MIB))
        assert not caught.value.retryable
        assert "a quota that is used up, of a folder or of the account" in caught.value.hint
        assert share.list("") == []
        assert tap.connections == 1

    @pytest.mark.parametrize("resumable", [True, False])
    def test_what_the_server_took_counts_though_its_answer_is_late(
        self, smb_folder: Path, tap: Tap, open_smb: OpenSmb, samba: SambaServer, liar: Liar, resumable: bool
    ) -> None:
        """Of two blocks, the second is refused before the first is acknowledged."""
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, encrypt=False)
        share.list("")
        answers: list[bytearray] = []

        def second_first(message: bytearray) -> list[bytearray]:
            answers.append(message)
            if len(answers) < 2:
                return []
            taken, no_room = sorted(answers, key=lambda each: int.from_bytes(each[24:32], "little"))
            return [refused(QUOTAS["STATUS_QUOTA_EXCEEDED"], after=0)(no_room), taken]

        liar.lie(WRITE, second_first)
        with pytest.raises(ShareFull) as caught, share.create("file", resumable=resumable) as writer:
            writer.write(bytes(2 * PIECE))
        assert told(caught.value)[0] == PIECE


def refused(status: int, after: int) -> Callable[[bytearray], bytearray]:
    """Answer with a status, after some successes."""
    seen = 0

    def forge(message: bytearray) -> bytearray:
        nonlocal seen
        seen += 1
        if seen <= after:
            return message
        # MS-SMB2 section 2.2.2: an error has a body of nine bytes.
        return number(message[:64] + bytes([9, 0, 0, 0, 0, 0, 0, 0, 0]), 8, 4, status)

    return forge
