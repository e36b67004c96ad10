"""A server that lies, with the session's own keys: a clear error each time, never a wrong file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jenkins_release.base.errors import ReleaseError, RemoteError
from jenkins_release.sandbox.samba import SambaServer
from jenkins_release.share import SmbShare
from jenkins_release.share.smb.wire import SmbWire
from tests.fixtures.liar import Forge, Liar, number
from tests.fixtures.share import OpenSmb, Tap

CLOSE, READ, WRITE, QUERY_DIRECTORY = 6, 8, 9, 14
SIZE = 5_000_000


@pytest.fixture
def share(samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb, liar: Liar) -> SmbShare:
    """A signed share behind the liar, with a file on it."""
    (smb_folder / "file").write_bytes(os.urandom(SIZE))
    opened = open_smb(samba, "data", smb_folder.name, port=tap.port, encrypt=False, timeout_s=3.0)
    opened.list("")
    return opened


LIES_ABOUT_READS: dict[str, tuple[Forge, str]] = {
    "another message id": (lambda m: number(m, 24, 8, 999_999), "999999 that was not made"),
    "the id of nothing asked yet": (lambda m: number(m, 24, 8, m[24] + 100), "that was not made"),
    "more data than asked for": (lambda m: number(m, 68, 4, 2 << 20) + bytes(1 << 20), "expected at most"),
    "announces more than asked for": (lambda m: number(m, 68, 4, 2 << 20), "expected at most"),
    "announces more than it has": (lambda m: m[:-1000], "it announces"),
    "data inside the header": (lambda m: number(m, 66, 1, 10), "malformed"),
    "data beyond its end": (lambda m: number(m, 66, 1, 255), "it announces"),
    "the answer of a WRITE": (lambda m: number(m, 12, 2, WRITE), "answers with command 9"),
    "a request instead of an answer": (lambda m: number(m, 16, 4, 8), "it is a request"),
    "no header at all": (lambda m: bytearray(b"\xfeXYZ") + m[4:], "does not begin"),
    "a truncated header": (lambda m: m[:40], "packet of 40 bytes"),
    "an empty packet": (lambda m: bytearray(), "packet of 0 bytes"),
}


class TestReading:
    @pytest.mark.parametrize("lie", LIES_ABOUT_READS)
    def test_a_lie_is_an_error(self, share: SmbShare, liar: Liar, lie: str) -> None:
        """It says what was wrong, in time, and yields nothing."""
        forge, message = LIES_ABOUT_READS[lie]
        liar.lie(READ, forge, sign="header" not in lie and "empty" not in lie)
        with pytest.raises(RemoteError, match=message):
            for _ in share.read("file"):
                raise AssertionError("a forged piece came out")
        assert liar.lies

    def test_fewer_bytes_than_asked_for(self, share: SmbShare, liar: Liar) -> None:
        """A short READ is a file that has become shorter: an integrity error."""
        liar.lie(READ, lambda m: number(m, 68, 4, int.from_bytes(m[68:72], "little") - 10)[:-10])
        with pytest.raises(ReleaseError, match=r"expected from offset .*, but the file ends at"):
            b"".join(share.read("file"))

    def test_answers_in_any_order(self, share: SmbShare, liar: Liar, smb_folder: Path) -> None:
        """That is no lie: the bytes come out in the order of the file."""
        held: list[bytearray] = []

        def shuffle(message: bytearray) -> list[bytearray]:
            held.append(message)
            if len(held) < 5:
                return []
            found = held[::-1]
            held.clear()
            return found

        liar.lie(READ, shuffle)
        assert b"".join(share.read("file")) == (smb_folder / "file").read_bytes()
        assert liar.lies == 5

    def test_the_same_answer_twice(self, share: SmbShare, liar: Liar) -> None:
        """The second is to a request that is not under way any more."""
        liar.lie(READ, lambda m: [m, bytearray(m)])
        with pytest.raises(RemoteError, match="that was not made"):
            b"".join(share.read("file"))

    def test_a_wrong_signature(self, share: SmbShare, liar: Liar) -> None:
        """Without the key nobody changes a byte."""
        liar.lie(READ, lambda m: m[:-1] + bytes([m[-1] ^ 1]), sign=False)
        with pytest.raises(RemoteError, match="signature of an answer could not be verified"):
            b"".join(share.read("file"))

    def test_an_interim_answer(self, share: SmbShare, liar: Liar, smb_folder: Path) -> None:
        """STATUS_PENDING is not the answer; it may come unsigned (MS-SMB2 section 3.2.5.1.5)."""

        def pending(message: bytearray) -> list[bytearray]:
            interim = bytearray(message[:64]) + bytes([9, 0, 0, 0, 0, 0, 0, 0, 0])
            number(interim, 8, 4, 0x103)
            number(interim, 14, 2, 0)
            number(interim, 16, 4, 0x03)
            return [interim, message]

        liar.lie(READ, pending)
        assert b"".join(share.read("file")) == (smb_folder / "file").read_bytes()

    def test_a_packet_without_end(self, share: SmbShare, tap: Tap) -> None:
        """A length beyond what the server may send is refused before a byte of it is stored."""
        announced = 200 * 2**20

        def huge(message: bytes) -> list[bytes]:
            return [message] if message[12] != READ else [bytes(announced // 16)]

        tap.change = huge
        with pytest.raises(RemoteError, match="announces a packet of"):
            b"".join(share.read("file"))


LIES_ABOUT_HEADS: dict[str, tuple[Forge, str]] = {
    "data inside the header": (lambda m: number(m, 66, 1, 10), "malformed"),
    "data beyond its end": (lambda m: number(m, 66, 1, 255), "announces"),
    "announces more than it has": (lambda m: m[:-1000], "announces"),
    "more data than asked for": (
        lambda m: number(m, 68, 4, 70_000)[:80] + bytes(70_000),
        "expected at most 65536",
    ),
    "nothing after its header": (lambda m: m[:64], "READ response has"),
    "the answer of a WRITE": (lambda m: number(m, 12, 2, WRITE), "command 9"),
}
_FIRST = 72
"""Where the entries of a folder begin in an answer."""
LIES_ABOUT_FOLDERS: dict[str, tuple[Forge, str]] = {
    "entries inside the header": (lambda m: number(m, 66, 2, 10), "malformed"),
    "entries beyond its end": (lambda m: number(m, 66, 2, 60_000), "announces"),
    "announces more than it has": (lambda m: number(m, 68, 4, 60_000), "announces"),
    "nothing after its header": (lambda m: m[:64], "listing"),
    "an entry inside the one before": (lambda m: number(m, _FIRST, 4, 8), "entry of a folder"),
    "an entry beyond the last": (lambda m: number(m, _FIRST, 4, 1 << 20), "entry of a folder"),
    "a name beyond its end": (lambda m: number(m, _FIRST + 60, 4, 1 << 20), "entry of a folder"),
    "a name inside the next entry": (lambda m: number(m, _FIRST + 60, 4, 60), "entry of a folder"),
    "half a character": (lambda m: number(m, _FIRST + 60, 4, 1), "entry of a folder"),
    "the answer of a CLOSE": (lambda m: number(m, 12, 2, CLOSE), "command 6"),
}


class TestCompounds:
    """Answers to several requests in one packet, as a listing makes them."""

    @pytest.mark.parametrize("lie", LIES_ABOUT_HEADS)
    def test_a_lie_about_a_small_file_is_an_error(self, share: SmbShare, liar: Liar, lie: str) -> None:
        """Never bytes that the file has not."""
        forge, message = LIES_ABOUT_HEADS[lie]
        liar.lie(READ, forge)
        with pytest.raises(RemoteError, match=message):
            share.read_heads(["file"])
        assert liar.lies

    @pytest.mark.parametrize("lie", LIES_ABOUT_FOLDERS)
    def test_a_lie_about_a_folder_is_an_error(self, share: SmbShare, liar: Liar, lie: str) -> None:
        """Never a name that the folder has not, asked for among others or alone."""
        forge, message = LIES_ABOUT_FOLDERS[lie]
        liar.lie(QUERY_DIRECTORY, forge)
        for ask in (lambda: share.list_each([""]), lambda: share.list("")):
            with pytest.raises(RemoteError, match=message):
                ask()
        assert liar.lies == 2

    def test_a_listing_without_end(self, share: SmbShare, liar: Liar) -> None:
        """The server names the folder itself again and again: that ends, too."""
        kept: list[bytearray] = []

        def again(message: bytearray) -> bytearray:
            if not kept:
                kept.append(bytearray(message))
                return message
            number(message, 8, 4, 0)
            itself = number(kept[0][:138], 72, 4, 0)
            return message[:64] + number(number(itself, 68, 4, 66), 132, 4, 2)[64:]

        liar.lie(QUERY_DIRECTORY, again, errors=True)
        with pytest.raises(RemoteError, match="has no entry"):
            share.list("")

    def test_a_file_of_fewer_bytes_is_no_lie(self, share: SmbShare, liar: Liar) -> None:
        """What is asked for is the most that is wanted."""
        liar.lie(READ, lambda m: number(m, 68, 4, 10)[:90])
        (head,) = share.read_heads(["file"])
        assert isinstance(head, bytes)
        assert len(head) == 10


def test_a_packet_is_bounded_whatever_the_server_announces() -> None:
    """At the size that a packet over TCP has at most (MS-SMB2 section 2.1)."""
    wire = SmbWire("127.0.0.1", 445, 1.0)
    assert wire.largest_packet() == 1 << 20
    wire.max_read_size = wire.max_transact_size = 0xFFFFFFFF
    assert wire.largest_packet() == (1 << 24) - 1


def test_an_answer_of_another_kind(share: SmbShare, liar: Liar) -> None:
    """Not read as if it was one to what was asked for."""
    liar.lie(CLOSE, lambda m: number(m, 12, 2, WRITE))
    with pytest.raises(RemoteError, match="answered with command 9"):
        share.stat("file")


class TestWriting:
    @pytest.mark.parametrize(
        ("forge", "message"),
        [
            (lambda m: number(m, 68, 4, 1), r"took 1 of \d+ bytes"),
            (lambda m: number(m, 68, 4, 0), r"took 0 of \d+ bytes"),
            (lambda m: number(m, 68, 4, 1 << 30), r"took 1073741824 of \d+ bytes"),
            (lambda m: number(m, 24, 8, 999_999), "999999 that was not made"),
            (lambda m: number(m, 64, 2, 9), "malformed"),
            (lambda m: m + bytes(70_000), "expected at most"),
        ],
        ids=["short", "nothing", "too much", "another message id", "malformed", "oversized"],
    )
    def test_a_lie_is_an_error(
        self, share: SmbShare, liar: Liar, smb_folder: Path, forge: Forge, message: str
    ) -> None:
        """And the file is not there, for the server never heard that it is complete."""
        liar.lie(WRITE, forge)
        with pytest.raises(RemoteError, match=message), share.create("new") as writer:
            for _ in range(20):
                writer.write(bytes(1_000_000))
        assert liar.lies

    def test_a_short_write_of_a_resumable_file(self, share: SmbShare, liar: Liar) -> None:
        """It is no break: not tried again."""
        liar.lie(WRITE, lambda m: number(m, 68, 4, 1))
        with (
            pytest.raises(RemoteError, match=r"took 1 of \d+ bytes") as caught,
            share.create("new", resumable=True) as writer,
        ):
            writer.write(bytes(3_000_000))
        assert not caught.value.retryable


class TestEncrypted:
    @pytest.fixture
    def sealed(self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb) -> SmbShare:
        """An encrypted share with a file on it."""
        (smb_folder / "file").write_bytes(os.urandom(SIZE))
        opened = open_smb(samba, "data", smb_folder.name, port=tap.port, timeout_s=3.0)
        opened.list("")
        return opened

    def test_a_changed_answer_of_the_library(self, sealed: SmbShare, tap: Tap) -> None:
        """Whose error says nothing."""
        tap.change = lambda each: [each[:-1] + bytes([each[-1] ^ 1])]
        with pytest.raises(RemoteError, match="authentication tag"):
            sealed.stat("file")

    def test_an_answer_again(self, sealed: SmbShare, tap: Tap) -> None:
        """It is to a request that is not under way any more, and changes nothing."""
        tap.change = lambda each: [each, each]
        with pytest.raises(RemoteError, match="that was not made"):
            for _ in range(20):
                assert sealed.stat("file").size == SIZE

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda m: m[:-1] + bytes([m[-1] ^ 1]), "authentication tag"),
            (lambda m: m[:4] + bytes(16) + m[20:], "authentication tag"),
            (lambda m: m[:20] + bytes(12) + m[32:], "authentication tag"),
            (lambda m: m[:-5], "makes no sense"),
            (lambda m: m[:42] + b"\2\0" + m[44:], "makes no sense"),
            (lambda m: b"\xfeSMB\x40\0" + bytes(len(m) - 6), "not made|unencrypted"),
        ],
        ids=["content", "tag", "nonce", "shorter", "flags", "in the clear"],
    )
    def test_a_changed_answer(
        self, sealed: SmbShare, tap: Tap, change: Callable[[bytes], bytes], message: str
    ) -> None:
        """Whatever is changed on the way is noticed."""
        tap.change = lambda each: [each if len(each) < 500_000 else change(each)]
        with pytest.raises(RemoteError, match=message):
            for _ in sealed.read("file"):
                raise AssertionError("a forged piece came out")
