"""Answers that are lost, on flows that die without a word: what was done is found, not repeated or denied."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from jenkins_release.base.errors import LeaseHeld, RemoteError
from jenkins_release.base.retry import RetryPolicy, retry_call
from jenkins_release.sandbox.samba import SambaServer
from jenkins_release.share import SmbAddress, SmbShare
from jenkins_release.share.smb.sessions import LostSessions
from jenkins_release.share.staging import stage_folder, write_new
from tests.fixtures.share import OpenSmb, Tap, unchanged

QUICK = RetryPolicy(attempts=4, deadline_s=60, first_wait_s=0.05, max_wait_s=0.2, jitter_s=0)
SESSION_SETUP, TREE, CREATE, CLOSE, FLUSH, READ, WRITE, SET_INFO = 1, 3, 5, 6, 7, 8, 9, 17

CHANGES = [
    *(
        (each, command, 1)
        for each in ("rename", "remove", "protect")
        for command in (CREATE, SET_INFO, CLOSE)
    ),
    *(("remove folder", command, number) for command in (CREATE, SET_INFO, CLOSE) for number in (1, 2)),
    *(("make folder", command, number) for command in (CREATE, CLOSE) for number in (1, 2)),
]
"""Operations with the answers of the server that they have to do without."""


@pytest.fixture
def share(samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb) -> SmbShare:
    """A share behind the tap, with a file and a folder on it."""
    (smb_folder / "folder" / "below").mkdir(parents=True)
    (smb_folder / "file").write_bytes(b"content")
    opened = open_smb(
        samba, "data", smb_folder.name, port=tap.port, timeout_s=1.0, encrypt=False, resume=QUICK
    )
    opened.list("")
    return opened


def lose_answer(tap: Tap, command: int, number: int = 1) -> list[bytes]:
    """Let the server's answer number so and so to a command get lost, and all flows with it, once."""
    lost: list[bytes] = []
    seen = 0

    def change(message: bytes) -> list[bytes]:
        nonlocal seen
        if message[12] == command and not lost:
            seen += 1
            if seen == number:
                lost.append(message)
                tap.lose()
                return []
        return [message]

    tap.change = change
    return lost


def lose_request(tap: Tap, command: int) -> list[bytes]:
    """Let the client's next request of a kind get lost, and all flows with it, once."""
    lost: list[bytes] = []

    def change(message: bytes) -> list[bytes]:
        if message[12] == command and not lost:
            lost.append(message)
            tap.lose()
            return []
        return [message]

    tap.change_sent = change
    return lost


class TestChanges:
    @pytest.mark.parametrize(("operation", "command", "number"), CHANGES)
    def test_it_is_done_once(
        self, share: SmbShare, tap: Tap, smb_folder: Path, operation: str, command: int, number: int
    ) -> None:
        """Done at once where the server did it; else with the next attempt."""
        lost = lose_answer(tap, command, number)
        call: Callable[[], object] = {
            "rename": lambda: share.rename("file", "folder/file"),
            "remove": lambda: share.remove("file"),
            "remove folder": lambda: share.remove("folder"),
            "make folder": lambda: share.make_folder("folder/new/newer"),
            "protect": lambda: share.protect("file"),
        }[operation]
        if operation == "rename" and command != CREATE:
            call()
        else:
            retry_call(call, what=operation, policy=QUICK)
        assert lost
        there = {str(path.relative_to(smb_folder)) for path in smb_folder.rglob("*")}
        assert (
            there
            == {
                "rename": {"folder", "folder/below", "folder/file"},
                "remove": {"folder", "folder/below"},
                "remove folder": {"file"},
                "make folder": {"file", "folder", "folder/below", "folder/new", "folder/new/newer"},
                "protect": {"file", "folder", "folder/below"},
            }[operation]
        )

    def test_one_that_was_not_done(self, share: SmbShare, tap: Tap, smb_folder: Path) -> None:
        """A request that is lost is asked for once more; then it is a failure, worth another attempt."""
        lost = 0

        def lose(message: bytes) -> list[bytes]:
            nonlocal lost
            if message[12] == SET_INFO and lost < 2:
                lost += 1
                tap.lose()
                return []
            return [message]

        tap.change_sent = lose
        with pytest.raises(RemoteError) as caught:
            share.rename("file", "other")
        assert caught.value.retryable
        share.rename("file", "other")
        assert (smb_folder / "other").read_bytes() == b"content"

    @pytest.mark.parametrize("name", ["new", "folder/new", "new/newer"])
    def test_a_folder_whose_request_is_lost(
        self, share: SmbShare, tap: Tap, smb_folder: Path, name: str
    ) -> None:
        """It is not there: so it is asked for once more, at once."""
        lost = lose_request(tap, CREATE)
        share.make_folder(name)
        assert lost
        assert (smb_folder / name).is_dir()

    def test_a_file_is_no_folder_that_was_made(self, share: SmbShare, tap: Tap) -> None:
        """What is found under the name is looked at."""
        lose_request(tap, CREATE)
        with pytest.raises(RemoteError, match=r"is a file, not a folder|name is taken"):
            share.make_folder("file")

    @pytest.mark.parametrize("resumable", [False, True])
    @pytest.mark.parametrize(
        ("command", "number"), [(CREATE, 1), (WRITE, 1), (FLUSH, 1), (SET_INFO, 1), (SET_INFO, 2), (CLOSE, 1)]
    )
    def test_a_new_file(
        self, share: SmbShare, tap: Tap, smb_folder: Path, command: int, number: int, resumable: bool
    ) -> None:
        """Under its own name, which another attempt uses again: whole, once."""
        lose_answer(tap, command, number)

        def write() -> None:
            with share.create("new", resumable=resumable) as writer:
                writer.write(b"content")

        if resumable or command == CLOSE or (command, number) == (SET_INFO, 2):
            write()
        else:
            retry_call(write, what="write", policy=QUICK)
        assert (smb_folder / "new").read_bytes() == b"content"
        assert {path.name for path in smb_folder.iterdir()} == {"file", "folder", "new"}

    @pytest.mark.parametrize("number", [1, 2, 3])
    @pytest.mark.parametrize("command", [SET_INFO, CLOSE])
    def test_a_small_file_that_is_renamed_into_place(
        self, share: SmbShare, tap: Tap, smb_folder: Path, command: int, number: int
    ) -> None:
        """As records are written: no attempt is wasted, nothing hidden stays."""
        lose_answer(tap, command, number)
        retry_call(lambda: write_new(share, "folder", "new", b"content"), what="write", policy=QUICK)
        assert (smb_folder / "folder" / "new").read_bytes() == b"content"
        assert {path.name for path in (smb_folder / "folder").iterdir()} == {"below", "new"}


class TestSessions:
    def test_all_flows_are_lost_under_a_lease(self, share: SmbShare, tap: Tap, open_smb: OpenSmb) -> None:
        """The lease's own session does not keep this command from it, nor the next command."""
        with pytest.raises(KeyError), share.lease("lock", "me"):
            tap.lose()
            raise KeyError
        with share.lease("lock", "me, again") as lease:
            lease.confirm()

    def test_the_next_command_finds_the_lease_free(
        self, samba: SambaServer, smb_folder: Path, share: SmbShare, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """Before a command ends, it ends its lost sessions."""
        with share.lease("lock", "me"):
            tap.lose()
        share.close()
        with open_smb(samba, "data", smb_folder.name).lease("lock", "the next one"):
            pass

    def test_a_login_that_fails_leaves_them_to_the_end_of_the_command(
        self, samba: SambaServer, smb_folder: Path, share: SmbShare, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """One attempt is not answered: the server that fell silent is asked again before the command ends."""
        with share.lease("lock", "me"):
            tap.lose()
            tap.change = lambda message: [] if message[12] == SESSION_SETUP else [message]
        tap.change = unchanged
        share.close()
        with open_smb(samba, "data", smb_folder.name).lease("lock", "the next one"):
            pass

    def test_a_login_to_one_server_says_nothing_of_another(self) -> None:
        """Each server ends its own sessions."""
        lost = LostSessions()
        here, there = (SmbAddress(name, "data") for name in ("here", "there"))
        lost.add(here, 1, silent=True)
        lost.add(there, 2)
        lost.add(there, 3)
        assert lost.take(there) == {3: False, 2: False}
        assert lost.silent
        taken = lost.take(here)
        assert not lost.silent
        lost.give_back(here, taken)
        assert lost.silent
        assert lost.take(here) == {1: True}

    def test_several_connections_are_lost_at_once(
        self, share: SmbShare, tap: Tap, smb_folder: Path, samba: SambaServer, open_smb: OpenSmb
    ) -> None:
        """A login names one session; every one of them is ended all the same."""
        names = ["a", "b", "c"]
        leases = [share.lease(name, "me") for name in names]
        for lease in leases:
            lease.__enter__()
        writing = share.create("new")
        writer = writing.__enter__()
        writer.write(bytes(100))
        tap.lose()
        for lease in leases:
            with pytest.raises(KeyError):
                if not lease.__exit__(KeyError, KeyError(), None):
                    raise KeyError
        with pytest.raises(KeyError):
            if not writing.__exit__(KeyError, KeyError(), None):
                raise KeyError
        other = open_smb(samba, "data", smb_folder.name)
        share.stat("")
        for name in names:
            with other.lease(name, "another"):
                pass
        assert not (smb_folder / "new").exists()

    def test_a_login_that_fails_forgets_no_session(self, share: SmbShare, tap: Tap) -> None:
        """The next one names it."""
        with pytest.raises(KeyError), share.lease("lock", "me"):
            tap.lose()
            tap.change = lambda message: [] if message[12] == TREE else [message]
            raise KeyError
        with pytest.raises(RemoteError):
            share.list("")
        tap.change = unchanged
        with share.lease("lock", "me"):
            pass

    def test_a_live_session_is_never_named(
        self, share: SmbShare, smb_folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A transfer that is left early does not end a lease that is held."""
        (smb_folder / "big").write_bytes(bytes(30_000_000))
        with share.lease("lock", "me") as lease:
            for _ in range(3):
                reading = share.read("big")
                next(reading)
                reading.close()  # type: ignore[attr-defined]  # a generator
                share.stat("file")
            with pytest.raises(LeaseHeld), share.lease("lock", "you"):
                pass
            lease.confirm()
        assert "taken again" not in caplog.text


class TestLeases:
    @pytest.mark.parametrize("command", [CREATE, WRITE])
    def test_the_answer_to_its_taking_is_lost(self, share: SmbShare, tap: Tap, command: int) -> None:
        """Taken again at once: the first one's session is ended."""
        lose_answer(tap, command)
        with share.lease("lock", "me") as lease:
            lease.confirm()

    @pytest.mark.parametrize("command", [READ, SET_INFO, CLOSE])
    def test_the_answer_to_its_release_is_lost(
        self, share: SmbShare, tap: Tap, command: int, samba: SambaServer, smb_folder: Path, open_smb: OpenSmb
    ) -> None:
        """The work is done: no failure, and it is free."""
        with share.lease("lock", "me"):
            lose_answer(tap, command)
        with open_smb(samba, "data", smb_folder.name).lease("lock", "you"):
            pass

    @pytest.mark.parametrize("how", ["cut", "lose", "strand"])
    def test_one_that_was_lost_is_taken_again_where_nobody_had_it(
        self, share: SmbShare, tap: Tap, how: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Before the step that only its holder may take."""
        with share.lease("lock", "me") as lease:
            getattr(tap, how)()
            lease.confirm()
            with pytest.raises(LeaseHeld, match="me"), share.lease("lock", "you"):
                pass
        assert "taken again" in caplog.text

    def test_one_that_another_had_meanwhile_stays_lost(
        self, share: SmbShare, tap: Tap, samba: SambaServer, smb_folder: Path, open_smb: OpenSmb
    ) -> None:
        """Though it is free again: what this one was about may have changed."""
        other = open_smb(samba, "data", smb_folder.name)
        done = []
        with (
            pytest.raises(RemoteError, match="another process held it") as caught,
            share.lease("lock", "me") as lease,
        ):
            tap.cut()
            retry_call(lambda: _take(other), what="take", policy=QUICK)
            lease.confirm()
            done.append("more")
        assert done == []
        assert not caught.value.retryable

    def test_one_that_another_has_stays_lost(
        self, share: SmbShare, tap: Tap, samba: SambaServer, smb_folder: Path, open_smb: OpenSmb
    ) -> None:
        """It says who."""
        other = open_smb(samba, "data", smb_folder.name)
        with (
            pytest.raises(RemoteError, match="held by the other") as caught,
            share.lease("lock", "me") as lease,
        ):
            tap.cut()
            taken = retry_call(lambda: _enter(other), what="take", policy=QUICK)
            try:
                lease.confirm()
            finally:
                taken.__exit__(None, None, None)
        assert not caught.value.retryable

    def test_one_that_is_lost_after_the_work_is_a_warning(
        self,
        share: SmbShare,
        tap: Tap,
        samba: SambaServer,
        smb_folder: Path,
        open_smb: OpenSmb,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """What was done under it was done while it was held."""
        other = open_smb(samba, "data", smb_folder.name)
        with caplog.at_level(logging.WARNING), share.lease("lock", "me") as lease:
            lease.confirm()
            tap.cut()
            retry_call(lambda: _take(other), what="take", policy=QUICK)
        assert "was lost after the last step under it" in caplog.text

    @pytest.mark.parametrize("how", ["cut", "lose", "strand"])
    def test_a_folder_is_committed_under_a_lease_that_is_held(
        self, share: SmbShare, tap: Tap, smb_folder: Path, how: str
    ) -> None:
        """A lease that broke while the files were written does not fail what became visible."""
        with (
            share.lease("lock", "me") as lease,
            stage_folder(share, "folder", "42", lease=lease) as staging,
        ):
            staging.write("file", b"content")
            getattr(tap, how)()
            staging.commit()
        assert (smb_folder / "folder" / "42" / "file").read_bytes() == b"content"

    def test_a_folder_is_not_committed_without_the_lease(
        self, share: SmbShare, tap: Tap, smb_folder: Path, samba: SambaServer, open_smb: OpenSmb
    ) -> None:
        """Another export of the same build may have begun."""
        other = open_smb(samba, "data", smb_folder.name)
        with (
            pytest.raises(RemoteError, match="another process held it"),
            share.lease("lock", "me") as lease,
            stage_folder(share, "folder", "42", lease=lease) as staging,
        ):
            tap.cut()
            retry_call(lambda: _take(other), what="take", policy=QUICK)
            staging.commit()
        assert {path.name for path in (smb_folder / "folder").iterdir()} == {"below"}


def _take(share: SmbShare) -> None:
    try:
        with share.lease("lock", "the other"):
            pass
    except LeaseHeld as error:
        error.retryable = True
        raise


def _enter(share: SmbShare):  # type: ignore[no-untyped-def]  # the context manager that lease() returns
    try:
        taken = share.lease("lock", "the other")
        taken.__enter__()
        return taken
    except LeaseHeld as error:
        error.retryable = True
        raise
