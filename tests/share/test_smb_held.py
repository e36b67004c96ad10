"""Files that others have open: scanners, viewers, and clients that answer the server's breaks late."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from smbprotocol.open import FilePipePrinterAccessMask, ImpersonationLevel, Open, RequestedOplockLevel

from jenkins_release.base.errors import RemoteError
from jenkins_release.base.retry import RetryPolicy, retry_call
from jenkins_release.sandbox.samba import SambaServer, SambaShare
from jenkins_release.share import PathExists, PathNotFound, SmbShare
from jenkins_release.share import staging as staging_module
from jenkins_release.share.protocol import AccessRefused, InUse
from jenkins_release.share.smb.connection import A_FILE, OPEN, READ_DATA, SHARE_ALL, SHARE_READ, SmbConnection
from jenkins_release.share.staging import rename_whole, stage_folder, write_new
from tests.fixtures.share import OpenSmb, Tap, starting

PATIENT = RetryPolicy(attempts=None, deadline_s=20, first_wait_s=0.1, max_wait_s=0.3, jitter_s=0)
BRIEF = RetryPolicy(attempts=None, deadline_s=0.3, first_wait_s=0.1, max_wait_s=0.1, jitter_s=0)
OPLOCK_BREAK = 18
WRITE = FilePipePrinterAccessMask.FILE_WRITE_DATA


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, smb_password: str) -> Iterator[SambaServer]:
    """A server that renames no folder with an open file in it, as Windows."""
    with starting(tmp_path_factory, smb_password) as start:
        path = tmp_path_factory.mktemp("held")
        yield start({"data": SambaShare(path, options={"strict rename": "yes"})})


@pytest.fixture
def share(server: SambaServer, open_smb: OpenSmb, request: pytest.FixtureRequest) -> SmbShare:
    """A folder of the test's own, with a staged candidate on it."""
    name = request.node.name.translate(str.maketrans("[]", "--"))
    open_smb(server).make_folder(name)
    opened = open_smb(server, "data", name)
    opened.make_folder(".incoming-42/images")
    for path in (".incoming-42/images/one.tar", ".incoming-42/candidate.json"):
        with opened.create(path) as writer:
            writer.write(b"content")
    return opened


@pytest.fixture
def other(
    server: SambaServer, open_smb: OpenSmb, share: SmbShare, make_tap: Callable[[int], Tap]
) -> Iterator[SmbConnection]:
    """A connection of another client to the same folder."""
    tap = make_tap(server.port)
    # Breaks are not answered, and would end a connection of smbprotocol.
    tap.change = lambda message: [] if message[12] == OPLOCK_BREAK else [message]
    client = open_smb(server, "data", share._address.folder[0], port=tap.port, encrypt=False)
    with client._pool.borrow() as connection:
        yield connection


def hold(other: SmbConnection, path: str, access: int = READ_DATA, sharing: int = SHARE_ALL) -> Open:
    return other.open(path, access, share=sharing, options=A_FILE)


def later(action: Callable[[], object], after_s: float) -> threading.Thread:
    thread = threading.Timer(after_s, action)
    thread.start()
    return thread


class TestScanners:
    @pytest.mark.parametrize("sharing", [0, SHARE_READ, SHARE_ALL])
    def test_a_folder_is_renamed_when_its_file_is_closed(
        self,
        share: SmbShare,
        other: SmbConnection,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
        sharing: int,
    ) -> None:
        """A file just written is held for a moment: the wait is said, and it goes on."""
        monkeypatch.setattr(staging_module, "_WHILE_HELD", PATIENT)
        held = hold(other, ".incoming-42/images/one.tar", sharing=sharing)
        closing = later(held.close, 0.7)
        with caplog.at_level(logging.WARNING):
            rename_whole(share, ".incoming-42", "42")
        closing.join()
        assert [entry.name for entry in share.list("42/images")] == ["one.tar"]
        assert "rename .incoming-42 to 42: attempt 1 failed, next in 0.1 s" in caplog.text

    def test_one_that_stays_open_is_named(
        self, share: SmbShare, other: SmbConnection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In the end, the message has the file, and the hint what may hold it."""
        monkeypatch.setattr(staging_module, "_WHILE_HELD", BRIEF)
        held = hold(other, ".incoming-42/images/one.tar")
        with pytest.raises(AccessRefused) as caught:
            rename_whole(share, ".incoming-42", "42")
        held.close()
        place = share.name
        assert caught.value.message.endswith(
            f"; another process has it open: {place}\\.incoming-42\\images\\one.tar"
        )
        assert "virus scanner" in caught.value.hint
        assert [entry.name for entry in share.list("")] == [".incoming-42"]

    def test_what_could_not_be_committed_is_removed_by_the_next(
        self,
        share: SmbShare,
        other: SmbConnection,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A held file in a staged folder leaves the folder, and the next attempt clears it away."""
        monkeypatch.setattr(staging_module, "_WHILE_HELD", BRIEF)
        with pytest.raises(AccessRefused), stage_folder(share, "8.1.0", "42") as staging:
            staging.write("file", b"content")
            held = hold(other, f"{staging.folder}/file", sharing=SHARE_READ)
            staging.commit()
        assert "could not be removed" in caplog.text
        held.close()
        with stage_folder(share, "8.1.0", "42") as staging:
            staging.write("file", b"content")
            staging.commit()
        assert [entry.name for entry in share.list("8.1.0")] == ["42"]

    def test_a_record_that_is_scanned_before_it_has_its_name(
        self, share: SmbShare, other: SmbConnection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same wait, for a file."""
        monkeypatch.setattr(staging_module, "_WHILE_HELD", PATIENT)
        rename, held = share.rename, []

        def scanned(source: str, target: str) -> None:
            if not held:
                held.append(hold(other, source, sharing=SHARE_READ))
                later(held[0].close, 0.4)
            rename(source, target)

        monkeypatch.setattr(share, "rename", scanned)
        write_new(share, ".incoming-42", "record", b"signed")
        assert b"".join(share.read(".incoming-42/record")) == b"signed"


class TestReaders:
    def test_a_file_that_is_held_exclusively_is_read_when_it_is_closed(
        self, share: SmbShare, other: SmbConnection
    ) -> None:
        """Each look says what is in use and is worth another one."""
        path = ".incoming-42/candidate.json"
        held = hold(other, path, sharing=0)
        with pytest.raises(InUse, match=r"candidate\.json: it is in use: STATUS_SHARING_VIOLATION") as caught:
            b"".join(share.read(path))
        assert caught.value.retryable
        assert "smbstatus --locks" in caught.value.hint
        (head,) = share.read_heads([path])
        assert isinstance(head, InUse)
        closing = later(held.close, 0.4)
        data = retry_call(lambda: b"".join(share.read(path)), what="read", policy=PATIENT)
        closing.join()
        assert data == b"content"

    def test_a_file_that_someone_may_write_to_is_not_read(
        self, share: SmbShare, other: SmbConnection
    ) -> None:
        """What is read could change meanwhile."""
        held = hold(other, ".incoming-42/candidate.json", access=READ_DATA | WRITE)
        with pytest.raises(InUse):
            b"".join(share.read(".incoming-42/candidate.json"))
        held.close()

    def test_a_folder_is_removed_but_for_what_is_held(self, share: SmbShare, other: SmbConnection) -> None:
        """It names the file, and finishes when the file is closed."""
        held = hold(other, ".incoming-42/images/one.tar", sharing=SHARE_READ)
        with pytest.raises(InUse, match=r"cannot remove .*one\.tar: it is in use") as caught:
            share.remove(".incoming-42")
        assert caught.value.retryable
        held.close()
        share.remove(".incoming-42")
        assert share.list("") == []

    def test_one_that_is_removed_while_a_viewer_has_it_open(
        self, share: SmbShare, other: SmbConnection
    ) -> None:
        """It goes when it is closed; until then it is neither there nor missing, and its name is not free."""
        path = ".incoming-42/candidate.json"
        held = hold(other, path)
        share.remove(path)
        for call in (lambda: share.stat(path), lambda: share.create(path).__enter__()):
            with pytest.raises(RemoteError, match=r"STATUS_(DELETE_PENDING|OBJECT_NAME_COLLISION)") as caught:
                call()
            assert caught.value.retryable
        held.close()
        with pytest.raises(PathNotFound):
            share.stat(path)


class TestOplocks:
    @pytest.mark.parametrize(
        ("level", "sharing"), [("BATCH", 0), ("BATCH", SHARE_READ), ("EXCLUSIVE", SHARE_READ)]
    )
    def test_a_client_that_answers_a_break_late(
        self, share: SmbShare, other: SmbConnection, level: str, sharing: int
    ) -> None:
        """The server lets us wait until the other client has closed the file; then it is read."""
        path = ".incoming-42/images/one.tar"
        held = Open(other.tree, other.wire_path(path))
        wanted = getattr(RequestedOplockLevel, f"SMB2_OPLOCK_LEVEL_{level}")
        how = (ImpersonationLevel.Impersonation, READ_DATA, 0, sharing, OPEN, A_FILE)
        held.create(*how, oplock_level=wanted)
        closing, begun = later(held.close, 0.5), time.monotonic()
        assert b"".join(share.read(path)) == b"content"
        assert time.monotonic() - begun >= 0.3
        closing.join()

    def test_a_break_says_nothing_to_who_does_not_cache(self, share: SmbShare, other: SmbConnection) -> None:
        """We ask for no oplock, so no break of the server ever waits for us."""
        with share.create("new") as writer:
            writer.write(b"content")
            begun = time.monotonic()
            with (
                pytest.raises(RemoteError, match=r"SHARING_VIOLATION|DELETE_PENDING"),
                other.doing("read", "new"),
            ):
                hold(other, "new")
            assert time.monotonic() - begun < 5


def test_nothing_is_held(share: SmbShare) -> None:
    """Then nothing is named, whatever else keeps a folder from being renamed."""
    assert share.held_files(".incoming-42") == []
    assert share.held_files("nothing") == []
    with pytest.raises(PathExists):
        share.make_folder("42")
        rename_whole(share, ".incoming-42", "42")
