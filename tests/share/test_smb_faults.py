"""SMB when something is wrong: each fault is told by name, and marked for a retry or not."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.base.retry import RetryPolicy, retry_call
from jenkins_release.sandbox.process import free_port
from jenkins_release.sandbox.samba import SambaServer, SambaShare
from jenkins_release.share import PathNotFound, ShareFull, SmbShare
from jenkins_release.share.protocol import NameRefused
from jenkins_release.share.staging import rename_whole
from tests.fixtures.damage import flipped
from tests.fixtures.share import OpenSmb, StartSamba, Tap, eventually, in_own_mounts, unchanged

AGAIN = RetryPolicy(attempts=50, deadline_s=30, first_wait_s=0.05, max_wait_s=0.05, jitter_s=0)
SIGNED = 0x08
FLUSH, ECHO = 7, 13


class TestLogin:
    def test_a_wrong_password_is_never_tried_again(self, samba: SambaServer, open_smb: OpenSmb) -> None:
        """Each attempt would bring the account closer to being locked."""
        share = open_smb(samba, password="not-the-password")
        with pytest.raises(RemoteError, match=r"STATUS_LOGON_FAILURE \(0xC000006D\)") as caught:
            share.list("")
        assert not caught.value.retryable
        assert "lock the account" in caught.value.hint
        assert r"\\127.0.0.1\data" in caught.value.message

    def test_a_refused_login_is_one_attempt(self, samba: SambaServer, tap: Tap, open_smb: OpenSmb) -> None:
        """Nothing below tries again by itself, also not with another way to log in."""
        with pytest.raises(RemoteError, match="LOGON_FAILURE"):
            open_smb(samba, port=tap.port, password="not-the-password").list("")
        assert tap.connections == 1

    def test_an_unknown_user(self, samba: SambaServer, open_smb: OpenSmb) -> None:
        """Told like a wrong password, as the server does."""
        with pytest.raises(RemoteError, match="user name or password is wrong") as caught:
            open_smb(samba, username="nobody-knows").list("")
        assert not caught.value.retryable

    def test_an_unknown_share(self, samba: SambaServer, open_smb: OpenSmb) -> None:
        """The server's name for it, and no retry."""
        with pytest.raises(RemoteError, match=r"no such share: STATUS_BAD_NETWORK_NAME") as caught:
            open_smb(samba, "nothing").list("")
        assert not caught.value.retryable
        assert not isinstance(caught.value, PathNotFound)

    def test_a_root_that_is_not_there(self, samba: SambaServer, open_smb: OpenSmb) -> None:
        """A wrong location is no empty share, and is not made by accident."""
        share = open_smb(samba, "data", "no-such-root")
        for call in (lambda: share.list(""), lambda: share.make_folder("a")):
            with pytest.raises(RemoteError, match=r"share .*no-such-root does not exist") as caught:
                call()
            assert not isinstance(caught.value, PathNotFound)
        assert not (samba.shares["data"].path / "no-such-root").exists()

    def test_nobody_listens(self, samba: SambaServer, open_smb: OpenSmb) -> None:
        """A refused connection may be a restart: worth another attempt."""
        port = free_port()
        with pytest.raises(RemoteError, match=f"Failed to connect to '127.0.0.1:{port}'") as caught:
            open_smb(samba, port=port).list("")
        assert caught.value.retryable


class TestProtection:
    def test_nothing_readable_on_the_wire(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """By default contents and names are encrypted both ways."""
        secret, name = b"the content of a release" * 100, "name-of-a-release"
        share = open_smb(samba, "data", smb_folder.name, port=tap.port)
        with share.create(name) as writer:
            writer.write(secret)
        assert b"".join(share.read(name)) == secret
        for heard in (tap.sent, tap.received):
            assert len(heard) > len(secret)
            assert secret[:24] not in heard
            assert name.encode("utf-16-le") not in heard

    def test_encryption_can_be_switched_off(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """Then the content is on the wire as it is: the test above can fail."""
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, encrypt=False)
        with share.create("name") as writer:
            writer.write(b"the content of a release")
        assert b"the content of a release" in tap.sent
        assert b"".join(share.read("name")) == b"the content of a release"
        assert b"the content of a release" in tap.received

    def test_a_server_that_demands_encryption(self, start_samba: StartSamba, open_smb: OpenSmb) -> None:
        """It works by default; switched off, the error says what to switch on."""
        server = start_samba(encrypt="required")
        assert open_smb(server).list("") == []
        with pytest.raises(ConfigurationError, match="demands encryption") as caught:
            open_smb(server, encrypt=False).list("")
        assert "switch encryption on" in caught.value.hint

    def test_a_share_that_demands_encryption(self, start_samba: StartSamba, open_smb: OpenSmb) -> None:
        """A demand of one share counts like one of the server."""
        path = start_samba().folder / "data"
        server = start_samba({"data": SambaShare(path, options={"smb encrypt": "required"})})
        assert open_smb(server).list("") == []
        with pytest.raises(ConfigurationError, match="demands encryption"):
            open_smb(server, encrypt=False).list("")

    def test_a_server_that_cannot_encrypt(self, start_samba: StartSamba, open_smb: OpenSmb) -> None:
        """Never silently in the clear; no password is sent either."""
        server = start_samba(options={"server max protocol": "SMB2_10"})
        with pytest.raises(RemoteError, match="offers no SMB encryption") as caught:
            open_smb(server).list("")
        assert not caught.value.retryable
        assert open_smb(server, encrypt=False).list("") == []

    @pytest.mark.parametrize("encrypt", [True, False])
    def test_a_changed_answer_is_not_believed(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb, encrypt: bool
    ) -> None:
        """One flipped bit in a file's content ends the connection, and is worth another attempt."""
        (smb_folder / "file").write_bytes(b"genuine" * 1000)
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, encrypt=encrypt)
        share.list("")

        def flip(message: bytes) -> list[bytes]:
            if len(message) < 7000:
                return [message]
            return [flipped(message, -10)]

        tap.change = flip
        with pytest.raises(RemoteError, match="connection was lost") as caught:
            b"".join(share.read("file"))
        assert caught.value.retryable
        tap.change = unchanged
        assert b"".join(share.read("file")) == b"genuine" * 1000

    def test_an_unsigned_answer_is_not_believed(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """Leaving the signature off does not get a changed answer past us."""
        (smb_folder / "file").write_bytes(b"genuine" * 1000)
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, encrypt=False)
        share.list("")

        def forge(message: bytes) -> list[bytes]:
            if len(message) < 7000:
                return [message]
            flags = int.from_bytes(message[16:20], "little") & ~SIGNED
            forged = message[:16] + flags.to_bytes(4, "little") + message[20:48] + bytes(16) + message[64:]
            return [forged.replace(b"genuine", b"forgery")]

        tap.change = forge
        with pytest.raises(RemoteError, match="unsigned"):
            b"".join(share.read("file"))


class TestRefusals:
    def test_a_read_only_share(self, start_samba: StartSamba, open_smb: OpenSmb, tmp_path: Path) -> None:
        """Reading works; everything that writes is refused by name, and not tried again."""
        (tmp_path / "file").write_bytes(b"data")
        server = start_samba({"data": SambaShare(tmp_path, read_only=True)})
        share = open_smb(server)
        assert b"".join(share.read("file")) == b"data"
        for call in (
            lambda: share.create("new").__enter__(),
            lambda: share.make_folder("new"),
            lambda: share.rename("file", "new"),
            lambda: share.remove("file"),
            lambda: share.lease("lock", "me").__enter__(),
        ):
            with pytest.raises(RemoteError, match=r"STATUS_(ACCESS_DENIED|MEDIA_WRITE_PROTECTED)") as caught:
                call()
            assert not caught.value.retryable
            assert "permission" in caught.value.hint
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_names_that_the_server_refuses(
        self, start_samba: StartSamba, open_smb: OpenSmb, tmp_path: Path
    ) -> None:
        """Samba says "not found" of what its ``veto files`` match; the folder is there, so it is the name."""
        tmp_path.chmod(0o755)
        veto = "/*.tar/.incoming-*/.leases/"
        server = start_samba({"data": SambaShare(tmp_path, options={"veto files": veto})})
        share = open_smb(server)
        with share.create("file") as writer:
            writer.write(b"data")
        for call in (
            lambda: share.create("a.tar").__enter__(),
            lambda: share.create("a.tar", resumable=True).__enter__(),
            lambda: share.make_folder("8.1.0/.incoming-42-1f2e3d4c"),
            lambda: share.make_folder(".leases"),
            lambda: share.lease("lock.tar", "me").__enter__(),
            lambda: rename_whole(share, "file", "8.1.0/file.tar"),
        ):
            with pytest.raises(NameRefused, match="the server refuses the name: STATUS_OBJECT_") as caught:
                call()
            assert not caught.value.retryable
            assert "'veto files' in its smb.conf" in caught.value.hint
        for call in (lambda: share.create("no/file").__enter__(), lambda: share.rename("file", "no/file")):
            with pytest.raises(PathNotFound):
                call()
        assert {path.name for path in tmp_path.iterdir()} == {"file", "8.1.0"}

    def test_a_full_share(self, start_samba: StartSamba, open_smb: OpenSmb, tmp_path: Path) -> None:
        """No room is an error of its own, not retried; the partial file goes, what was there stays."""
        tmp_path.chmod(0o755)
        server = start_samba(
            {"data": SambaShare(tmp_path)},
            launcher=in_own_mounts("mount -t tmpfs -o size=8m,mode=0777 none {}", str(tmp_path)),
        )
        share = open_smb(server)
        room = share.free_space()
        assert room is not None
        assert 7_000_000 < room <= 8 * 2**20
        with share.create("fits") as writer:
            writer.write(b"x" * 1_000_000)
        with pytest.raises(ShareFull, match="STATUS_DISK_FULL") as caught, share.create("too-big") as writer:
            for _ in range(32):
                writer.write(bytes(1_000_000))
        assert not caught.value.retryable
        assert "free some space" in caught.value.hint
        assert [(entry.name, entry.size) for entry in share.list("")] == [("fits", 1_000_000)]

    def test_a_file_in_use_may_be_tried_again(self, smb_share: SmbShare) -> None:
        """Someone else's open is over some time."""
        with smb_share.create("file") as writer:
            writer.write(bytes(3_000_000))
        reading = smb_share.read("file")
        next(reading)
        with pytest.raises(RemoteError, match="STATUS_SHARING_VIOLATION") as caught:
            smb_share.remove("file")
        assert caught.value.retryable
        for _ in reading:
            pass
        smb_share.remove("file")


class TestBreaks:
    def test_a_server_process_killed_while_writing(self, start_samba: StartSamba, open_smb: OpenSmb) -> None:
        """A retryable error; the partial file goes; the same object works again at once."""
        server = start_samba()
        share = open_smb(server)
        with pytest.raises(RemoteError) as caught, share.create("file") as writer:
            writer.write(bytes(3_000_000))
            # That of the question whether the server listens may not have ended yet.
            assert eventually(lambda: len(server.client_pids()) == 1)
            assert server.kill_clients() == 1
            while True:
                writer.write(bytes(1_000_000))
        assert caught.value.retryable

        def write_again() -> None:
            share.remove("file")
            with share.create("file") as writer:
                writer.write(b"again")

        # A killed smbd cannot clean up after itself; the file it leaves is nobody's any more.
        retry_call(write_again, what="write", policy=AGAIN)
        assert b"".join(share.read("file")) == b"again"

    def test_a_server_process_killed_while_reading(self, start_samba: StartSamba, open_smb: OpenSmb) -> None:
        """A retryable error in the middle of the pieces, then it works again."""
        server = start_samba()
        content = os.urandom(30_000_000)
        (server.shares["data"].path / "file").write_bytes(content)
        share = open_smb(server)
        with pytest.raises(RemoteError) as caught:
            for number, _ in enumerate(share.read("file")):
                if number == 2:
                    server.kill_clients()
        assert caught.value.retryable
        assert b"".join(share.read("file")) == content

    def test_an_idle_connection_that_broke(self, start_samba: StartSamba, open_smb: OpenSmb) -> None:
        """A restarted server costs at most one retryable error."""
        server = start_samba()
        share = open_smb(server)
        share.make_folder("kept")
        server.stop()
        server.start(tied=True)
        found = retry_call(lambda: share.list(""), what="list", policy=AGAIN)
        assert [entry.name for entry in found] == ["kept"]

    @pytest.mark.parametrize("operation", ["list", "create", "write", "finish", "read", "lease", "connect"])
    def test_a_frozen_server(self, start_samba: StartSamba, open_smb: OpenSmb, operation: str) -> None:
        """No operation outlasts its time-out by much: a retryable error, never a hang."""
        server = start_samba()
        (server.shares["data"].path / "big").write_bytes(bytes(40_000_000))
        share = open_smb(server, timeout_s=2.0)

        def run() -> None:
            if operation == "connect":
                server.freeze()
                share.list("")
                return
            share.list("")
            if operation in {"write", "finish"}:
                with share.create("file") as writer:
                    writer.write(bytes(3_000_000))
                    server.freeze()
                    while operation == "write":
                        writer.write(bytes(1_000_000))
            elif operation == "read":
                for _ in share.read("big"):
                    server.freeze()
            else:
                server.freeze()
                if operation == "list":
                    share.list("")
                elif operation == "create":
                    share.create("file").__enter__()
                else:
                    share.lease("lock", "me").__enter__()

        start = time.monotonic()
        try:
            with pytest.raises(RemoteError) as caught:
                run()
            took = time.monotonic() - start
        finally:
            server.thaw()
        assert caught.value.retryable
        # Far from hanging; the bound is generous because the machine may be busy.
        assert took < 30
        assert retry_call(lambda: share.list(""), what="list", policy=AGAIN)[0].name == "big"
        assert eventually(lambda: [entry.name for entry in share.list("")] in (["big"], ["big", "lock"]))

    def test_a_slow_disk_is_no_frozen_server(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """A flush may outlast the time-out as long as the server answers something else."""
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, encrypt=False, timeout_s=1.0)
        held: list[bytes] = []

        def hold(message: bytes) -> list[bytes]:
            command = int.from_bytes(message[12:14], "little")
            if command == FLUSH:
                held.append(message)
                return []
            return [message, *held] if held and command == ECHO else [message]

        share.list("")
        tap.change = hold
        with share.create("file") as writer:
            writer.write(b"data")
        assert held
        assert share.stat("file").size == 4

    def test_the_end_waits_for_a_silent_server_once(
        self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb
    ) -> None:
        """However many connections are open."""
        share = open_smb(samba, "data", smb_folder.name, port=tap.port, encrypt=False, timeout_s=1.0)
        with contextlib.ExitStack() as stack:
            for name in "abcd":
                stack.enter_context(share.lease(name, "me"))
        unheard: list[bytes] = []

        def swallow(message: bytes) -> list[bytes]:
            unheard.append(message)
            return []

        tap.change_sent = swallow
        share.close()
        assert len(unheard) == 1
        assert tap.connections == 4

    def test_closing_a_frozen_connection_ends(self, start_samba: StartSamba, open_smb: OpenSmb) -> None:
        """Leaving the block is not held up by a server that does not answer."""
        server = start_samba()
        share = open_smb(server, timeout_s=1.0)
        share.list("")
        server.freeze()
        share.close()
        server.thaw()


class TestSecrets:
    def test_the_password_is_nowhere(
        self,
        samba: SambaServer,
        open_smb: OpenSmb,
        smb_password: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Not in a log at any level, an error, a representation, or the server's files."""
        for name in ("", "smbprotocol", "smbprotocol.connection", "spnego"):
            caplog.set_level(logging.DEBUG, logger=name)
        share = open_smb(samba)
        share.list("")
        wrong = open_smb(samba, password="wrong-but-secret")
        shown = [repr(share), repr(vars(share)), repr(vars(wrong)), share.name]
        for failing in (wrong, open_smb(samba, port=free_port()), open_smb(samba, "nothing")):
            error: BaseException | None
            with pytest.raises(ReleaseError) as caught:
                failing.list("")
            shown.append(str(caught.value.diagnostics()))
            error = caught.value
            while error is not None:
                shown += [repr(error), str(error)]
                error = error.__cause__ or error.__context__
        shown.append(caplog.text)
        text = "\n".join(shown)
        assert smb_password not in text
        assert "wrong-but-secret" not in text
        for path in samba.folder.rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file():
                    content = path.read_bytes()
                    assert smb_password.encode() not in content
                    assert smb_password.encode("utf-16-le") not in content

    def test_packets_are_kept_out_of_the_log(
        self, samba: SambaServer, open_smb: OpenSmb, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A program that logs everything does not log what smbprotocol would dump."""
        caplog.set_level(logging.DEBUG)
        caplog.set_level(logging.DEBUG, logger="smbprotocol")
        open_smb(samba).list("")
        records = [record for record in caplog.records if record.name.startswith("smbprotocol")]
        assert [record for record in records if record.levelno < logging.WARNING] == []
