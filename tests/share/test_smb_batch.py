"""Many small files over SMB: on few credits, signed as well as encrypted, and when the line breaks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from jenkins_release.base.errors import RemoteError
from jenkins_release.sandbox.samba import SambaServer, SambaShare
from jenkins_release.share import SmbShare
from jenkins_release.share.protocol import AccessRefused
from tests.fixtures.share import OpenSmb, StartSamba, Tap

QUERY_DIRECTORY = 14
NAMES = [f"f{number}" for number in range(150)]


def fill(folder: Path) -> dict[str, bytes]:
    """Write small files behind a share."""
    data = {name: f"{name} ".encode() * 200 for name in NAMES}
    for name, content in data.items():
        (folder / name).write_bytes(content)
    return data


def commands(sent: bytes) -> list[list[int]]:
    """Return the commands of each message that went over an unencrypted wire (MS-SMB2 section 2.2.1)."""
    found, start = [], 0
    while start < len(sent):
        length = int.from_bytes(sent[start : start + 4], "big")
        message, inside, following = sent[start + 4 : start + 4 + length], [], 1
        while following and message[:4] == b"\xfeSMB":
            inside.append(int.from_bytes(message[12:14], "little"))
            following = int.from_bytes(message[20:24], "little")
            message = message[following:]
        found.append(inside)
        start += 4 + length
    return found


@pytest.mark.parametrize("encrypt", [False, True], ids=["signed", "encrypted"])
@pytest.mark.parametrize("limit", ["8", "8192"])
def test_few_credits_are_enough(
    start_samba: StartSamba, open_smb: OpenSmb, limit: str, encrypt: bool
) -> None:
    """What cannot be under way at the same time comes one after the other."""
    server = start_samba(options={"smb2 max credits": limit})
    data = fill(server.shares["data"].path)
    share = open_smb(server, encrypt=encrypt)
    assert share.read_heads(NAMES) == [data[name] for name in NAMES]
    assert share.list_each(["", ""]) == [share.list("")] * 2


def test_a_folder_is_one_message_and_so_is_a_file(
    samba: SambaServer, smb_folder: Path, open_smb: OpenSmb, tap: Tap
) -> None:
    """Opened, listed to its end and closed; opened, read and closed."""
    fill(smb_folder)
    share = open_smb(samba, "data", smb_folder.name, encrypt=False, port=tap.port)
    share.list("")
    before = len(tap.sent)
    share.list_each([""] * 20)
    share.read_heads(NAMES)
    messages = commands(bytes(tap.sent[before:]))
    assert len(messages) == 20 + len(NAMES)
    assert all(message.count(QUERY_DIRECTORY) == 2 for message in messages[:20])
    assert all(len(message) == 3 for message in messages[20:])
    assert tap.connections == 1


@pytest.mark.parametrize("encrypt", [True, False], ids=["encrypted", "signed"])
def test_a_refusal_is_asked_about_again_where_it_may_mean_a_changed_request(
    start_samba: StartSamba, open_smb: OpenSmb, make_tap: Callable[[int], Tap], encrypt: bool
) -> None:
    """What is encrypted cannot be changed on its way: there it is meant."""
    # Of root Samba refuses nothing; anyone else has to get as far as to this folder.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        (Path(name) / "closed").mkdir(mode=0)
        options = {"force user": "nobody"} if os.geteuid() == 0 else {}
        server = start_samba({"data": SambaShare(Path(name), options=options)})
        tap = make_tap(server.port)
        share = open_smb(server, encrypt=encrypt, port=tap.port)
        share.stat("")
        before = len(tap.sent)
        (refused,) = share.list_each(["closed"])
    assert isinstance(refused, AccessRefused)
    assert len(commands(bytes(tap.sent[before:]))) == (1 if encrypt else 2)


def test_a_line_that_breaks_is_worth_another_attempt(
    samba: SambaServer, smb_folder: Path, open_smb: OpenSmb, tap: Tap
) -> None:
    """The call fails as a whole, and the next one has a new connection."""
    data = fill(smb_folder)
    share: SmbShare = open_smb(samba, "data", smb_folder.name, port=tap.port)
    share.list("")

    def cut(_: bytes) -> list[bytes]:
        tap.change = lambda message: [message]
        tap.cut()
        return []

    tap.change = cut
    with pytest.raises(RemoteError) as caught:
        share.read_heads(NAMES)
    assert caught.value.retryable
    assert share.read_heads(NAMES) == list(data.values())


def test_a_file_that_someone_holds_alone_hides_no_other(smb_share: SmbShare, smb_folder: Path) -> None:
    """It is an error in its own place."""
    data = fill(smb_folder)
    with smb_share.lease("held", "me"):
        found = smb_share.read_heads(["f1", "held", "f2"])
    assert found[0] == data["f1"]
    assert isinstance(found[1], RemoteError)
    assert found[2] == data["f2"]
