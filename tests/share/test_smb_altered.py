"""A request that is changed on its way: Samba answers "access denied", signed as a refusal would be."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jenkins_release.base.errors import RemoteError
from jenkins_release.base.retry import RetryPolicy
from jenkins_release.sandbox.samba import SambaServer, SambaShare
from jenkins_release.share import SmbShare
from tests.fixtures.share import OpenSmb, StartSamba, Tap

QUICK = RetryPolicy(attempts=3, deadline_s=30, first_wait_s=0.05, max_wait_s=0.1, jitter_s=0)
COMMANDS = {
    "tree connect": 3,
    "create": 5,
    "close": 6,
    "flush": 7,
    "query directory": 14,
    "query info": 16,
    "set info": 17,
}


def _flip_once(command: int) -> tuple[Callable[[bytes], list[bytes]], list[bytes]]:
    """Flip the last bit of the first message with that command, in a compound one too."""
    flipped: list[bytes] = []

    def change(message: bytes) -> list[bytes]:
        start = 0
        while True:
            following = int.from_bytes(message[start + 20 : start + 24], "little")
            if message[start + 12] == command and not flipped:
                at = start + following - 1 if following else len(message) - 1
                flipped.append(message)
                return [message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]]
            if not following:
                return [message]
            start += following

    return change, flipped


def _everything(share: SmbShare) -> None:
    assert share.read_heads(["file", "file"]) == [b"x" * 1000] * 2
    assert not any(isinstance(found, RemoteError) for found in share.list_each(["", ""]))
    assert share.list("")
    share.make_folder("a/b")
    for resumable in (False, True):
        with share.create(f"a/new-{resumable}", resumable=resumable) as writer:
            writer.write(b"content")
        share.rename(f"a/new-{resumable}", f"a/b/new-{resumable}")
        assert b"".join(share.read(f"a/b/new-{resumable}")) == b"content"
    assert share.protect("a/b/new-True")
    with share.lease("lock", "me") as lease:
        lease.confirm()
    share.remove("a")


@pytest.fixture
def share(samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb) -> SmbShare:
    """A share that is signed, not encrypted, behind the tap."""
    (smb_folder / "file").write_bytes(b"x" * 1000)
    return open_smb(samba, "data", smb_folder.name, port=tap.port, encrypt=False, resume=QUICK)


@pytest.mark.parametrize("command", COMMANDS)
def test_one_changed_request_is_asked_again(
    share: SmbShare, tap: Tap, smb_folder: Path, command: str
) -> None:
    """Nothing fails, and nobody is told to change permissions."""
    tap.change_sent, flipped = _flip_once(COMMANDS[command])
    _everything(share)
    assert flipped
    assert {path.name for path in smb_folder.iterdir()} == {"file", "lock"}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("command", [8, 9])
def test_a_changed_transfer_goes_on(
    samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb, command: int, packed: bool
) -> None:
    """A READ or WRITE of an open file cannot be refused in earnest: it is a break, and goes on after it."""
    content = os.urandom(20_000_000)
    (smb_folder / "file").write_bytes(content)
    share = open_smb(
        *(samba, "data", smb_folder.name), port=tap.port, encrypt=False, resume=QUICK, packed=packed
    )
    tap.change_sent, flipped = _flip_once(command)
    with share.create("new", resumable=True) as writer:
        for start in range(0, len(content), 1 << 20):
            writer.write(content[start : start + (1 << 20)])
    assert b"".join(share.read("file")) == content
    assert (smb_folder / "new").read_bytes() == content
    assert flipped


def test_a_changed_write_of_a_file_that_does_not_go_on(share: SmbShare, tap: Tap) -> None:
    """The error is one of the connection, worth another attempt."""
    tap.change_sent, _ = _flip_once(9)
    with pytest.raises(RemoteError, match="changed on its way") as caught, share.create("new") as writer:
        writer.write(b"content")
    assert caught.value.retryable


def test_a_refusal_that_is_meant(start_samba: StartSamba, open_smb: OpenSmb, tmp_path: Path) -> None:
    """It comes again, and is told as what it is."""
    (tmp_path / "file").write_bytes(b"data")
    share = open_smb(start_samba({"data": SambaShare(tmp_path, read_only=True)}), encrypt=False)
    for call in (
        lambda: share.create("new").__enter__(),
        lambda: share.make_folder("new"),
        lambda: share.rename("file", "new"),
    ):
        with pytest.raises(RemoteError, match=r"STATUS_(ACCESS_DENIED|MEDIA_WRITE_PROTECTED)") as caught:
            call()
        assert not caught.value.retryable
        assert "permission" in caught.value.hint
