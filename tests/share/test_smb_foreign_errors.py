"""Every exception of smbprotocol and spnego, and of what they let through, becomes one of ours."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import spnego
from smbprotocol.connection import Connection
from smbprotocol.exceptions import (
    SMBLinkRedirectionError,
    SMBOSError,
    SMBResponseException,
    SMBUnsupportedFeature,
)
from smbprotocol.header import NtStatus, SMB2HeaderResponse
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect
from spnego.exceptions import ErrorCode, NegotiateOptions

from jenkins_release.sandbox.samba import SambaServer
from jenkins_release.share import SmbShare
from jenkins_release.share.smb.errors import translate
from jenkins_release.share.smb.packed.internals import BulkConnection
from tests.fixtures.cross import ALL
from tests.fixtures.foreign import Made, classes, ending, makers, raises
from tests.fixtures.share import OpenSmb


def header(status: int) -> SMB2HeaderResponse:
    found = SMB2HeaderResponse()
    found["status"] = status
    return found


BUILTIN: list[type[Exception]] = [
    OSError,
    TimeoutError,
    BlockingIOError,
    ConnectionResetError,
    BrokenPipeError,
    ValueError,
    KeyError,
    OverflowError,
    struct.error,
]
"""What sockets raise, and answers that cannot be unpacked."""


def made() -> dict[str, Made]:
    """What makes each exception."""
    answers = [kind for kind in classes("smbprotocol") if issubclass(kind, SMBResponseException)]
    given = {
        **dict.fromkeys(answers, ()),
        SMBResponseException: (header(0xCAFEF00D),),
        SMBLinkRedirectionError: ("x", "x", "x"),
        SMBOSError: (0xC0000001, "x"),
        SMBUnsupportedFeature: (0x311, 0x300, "x"),
        spnego.exceptions.SpnegoError: (ErrorCode.failure,),
        spnego.exceptions.FeatureMissingError: (NegotiateOptions.session_key,),
    }
    return makers([*classes("smbprotocol", "spnego"), *BUILTIN], given)


MADE = made()


def some(place: int, step: int) -> dict[str, Made]:
    """Return every so-many-th of the exceptions, others for each place, and all that come from Python."""
    return {
        name: make
        for number, (name, make) in enumerate(MADE.items(), place)
        if ALL or number % step == 0 or name.startswith(("builtins.", "struct."))
    }


CALLS: dict[str, Callable[[SmbShare], object]] = {
    "list": lambda share: share.list(""),
    "stat": lambda share: share.stat("file"),
    "read": lambda share: b"".join(share.read("file")),
    "read heads": lambda share: each(share.read_heads(["file", "file"])),
    "list each": lambda share: each(share.list_each(["", "folder"])),
    "create": lambda share: create(share, resumable=False),
    "create, resumable": lambda share: create(share, resumable=True),
    "make a folder": lambda share: share.make_folder("new/inner"),
    "rename": lambda share: share.rename("file", "folder/file"),
    "remove": lambda share: share.remove("folder"),
    "protect": lambda share: share.protect("file"),
    "free space": lambda share: share.free_space(),
    "lease": lambda share: lease(share),
}


def each(results: Iterable[object]) -> None:
    """Raise the first error: those of some files leave the others as they are."""
    for result in results:
        if isinstance(result, Exception):
            raise result


def create(share: SmbShare, *, resumable: bool) -> None:
    with share.create("made", resumable=resumable) as writer:
        writer.write(b"x" * 3_000_000)


def lease(share: SmbShare) -> None:
    with share.lease("lock", "me") as held:
        held.confirm()


@pytest.fixture
def share(samba: SambaServer, smb_folder: Path, open_smb: OpenSmb) -> SmbShare:
    """A signed share with something on it."""
    (smb_folder / "file").write_bytes(b"x" * 100_000)
    (smb_folder / "folder").mkdir()
    return open_smb(samba, "data", smb_folder.name, encrypt=False, timeout_s=3.0)


COMPOUND = {"read heads", "list each"}
"""Calls whose answers the data path takes itself."""
PLACES = [
    *((call, "await_related" if call in COMPOUND else "receive") for call in CALLS),
    *((call, "send_related") for call in sorted(COMPOUND)),
    *(("list", "send"), ("create", "send"), ("lease", "send")),
]


@pytest.mark.parametrize(("call", "place"), PLACES)
def test_a_call_that_fails(monkeypatch: pytest.MonkeyPatch, share: SmbShare, call: str, place: str):
    """Status 5, or 6 for a lease; some answers are the end of a list, or what was wanted."""
    found = {}
    for name, make in some(PLACES.index((call, place)), 4).items():
        share.list("")  # logs in again if the one before ended the connection
        with monkeypatch.context() as patch:
            patch.setattr(BulkConnection if place.endswith("_related") else Connection, place, raises(make))
            found[name] = ending(lambda: CALLS[call](share))
    assert {name: status for name, status in found.items() if status not in {0, 5, 6}} == {}
    assert sum(status == 5 for status in found.values()) > len(found) / 2


LOGINS = [
    (Connection, "connect"),
    (Connection, "echo"),
    (Session, "connect"),
    (TreeConnect, "connect"),
    (spnego, "client"),
    (spnego._context.ContextProxy, "__init__"),
]


@pytest.mark.parametrize(("library", "place"), LOGINS)
def test_a_login_that_fails(monkeypatch: pytest.MonkeyPatch, share: SmbShare, library: object, place: str):
    """Wherever it ends: status 5."""
    found = {}
    for name, make in some(LOGINS.index((library, place)), 3).items():
        with monkeypatch.context() as patch:
            patch.setattr(library, place, raises(make))
            found[name] = ending(lambda: share.list(""))
        share.close()
    assert {name: status for name, status in found.items() if status != 5} == {}


@pytest.mark.parametrize("call", ["list", "create"])
def test_a_receiving_thread_that_fails(monkeypatch: pytest.MonkeyPatch, share: SmbShare, call: str):
    """It ends, and whoever waits is told."""
    found = {}
    for name, make in some(["list", "create"].index(call), 2).items():
        share.list("")
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "verify_signature", raises(make))
            found[name] = ending(lambda: CALLS[call](share))
    assert set(found.values()) == {5}


def test_every_status_is_an_error_of_ours():
    """All that smbprotocol has a number for, whatever is done."""
    statuses = [each for name, each in vars(NtStatus).items() if name.startswith("STATUS") and each]
    assert len(statuses) > 60
    for status in statuses:
        found = translate(SMBResponseException(header(status)), "create", "x")
        assert found.exit_status == 5
        assert f"(0x{status:08X})" in found.message


def test_there_are_exceptions():
    """The list is made of the libraries' modules."""
    assert len(MADE) > 90
    assert {"smbprotocol.exceptions.DiskFull", "smbprotocol.structure.InvalidFieldDefinition"} < set(MADE)
    assert {"spnego.exceptions.NoContextError", "spnego.exceptions.FeatureMissingError"} < set(MADE)
