"""What SMB adds to the contract: large files, other processes, DFS, reconnecting, flat memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError, LeaseHeld, RemoteError
from jenkins_release.base.retry import RetryPolicy, retry_call
from jenkins_release.sandbox.samba import SambaServer, SambaShare
from jenkins_release.share import PathExists, SmbShare, open_share
from jenkins_release.share.smb.dfs import may_follow
from tests.fixtures.share import USER, OpenSmb, StartSamba, Tap, can_take, eventually

LOOPBACK = "127.0.0.1"
STRANGER = "127.0.0.2"
AGAIN = RetryPolicy(attempts=200, deadline_s=30, first_wait_s=0.02, max_wait_s=0.02, jitter_s=0)
StartProcess = Callable[[str], "subprocess.Popen[str]"]
OTHER_PROCESS = """
import os, sys
from jenkins_release.share import open_share

def peak_kib():
    # ru_maxrss begins with the memory of whoever started this process (Linux, setmax_mm_hiwater_rss).
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

location, action = sys.argv[1:]
with open_share(location, username=os.environ["TEST_USER"], password=os.environ["TEST_PASSWORD"]) as share:
    if action == "lease":
        with share.lease("42.lock", "the other process"):
            print("ready", flush=True)
            sys.stdin.read()
    elif action == "write":
        with share.create("file") as writer:
            writer.write(bytes(5_000_000))
            print("ready", flush=True)
            sys.stdin.read()
    else:
        piece = os.urandom(1_000_000)
        share.list("")
        before = peak_kib()
        with share.create("file") as writer:
            for _ in range(256):
                writer.write(piece)
        assert sum(len(piece) for piece in share.read("file")) == 256_000_000
        print(peak_kib() - before)
"""


@pytest.fixture
def other_process(samba: SambaServer, smb_folder: Path, smb_password: str) -> Iterator[StartProcess]:
    """Start another process that works on the test's folder; it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(action: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", OTHER_PROCESS, samba.location("data", smb_folder.name), action],
            env={**os.environ, "TEST_USER": USER, "TEST_PASSWORD": smb_password},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def dfs(tmp_path_factory: pytest.TempPathFactory, _start: StartSamba) -> SambaServer:
    """A server with a DFS root whose links lead to its share ``data``."""
    folder = tmp_path_factory.mktemp("dfs")
    root, data = folder / "root", folder / "data"
    for each in (root / "plain", data / "deep" / "er"):
        each.mkdir(parents=True)
    for name, target in {
        "link": r"127.0.0.1\data",
        "deep": r"127.0.0.1\data\deep",
        "second": r"127.0.0.1\gone,127.0.0.1\data",
        "circle": r"127.0.0.1\root\circle",
        "nowhere": r"127.0.0.1\gone",
        "stranger": r"127.0.0.2\data",
        "mixed": r"127.0.0.2\data,127.0.0.1\data",
    }.items():
        (root / name).symlink_to(f"msdfs:{target}")
    return _start(
        {
            "root": SambaShare(root, options={"msdfs root": "yes"}),
            "proxy": SambaShare(root, options={"msdfs root": "yes", "msdfs proxy": r"\127.0.0.1\data"}),
            "data": SambaShare(data),
        }
    )


class TestTransfers:
    @pytest.mark.parametrize("encrypt", [True, False])
    def test_a_large_file(
        self, samba: SambaServer, smb_folder: Path, open_smb: OpenSmb, encrypt: bool
    ) -> None:
        """64 MiB arrive as they are, encrypted and signed only."""
        share = open_smb(samba, "data", smb_folder.name, encrypt=encrypt)
        sent, received = hashlib.sha256(), hashlib.sha256()
        with share.create("file") as writer:
            for _ in range(64):
                piece = os.urandom(1 << 20)
                sent.update(piece)
                writer.write(piece)
        for piece in share.read("file"):
            received.update(piece)
        assert received.digest() == sent.digest()
        assert hashlib.sha256((smb_folder / "file").read_bytes()).digest() == sent.digest()

    @pytest.mark.slow
    def test_memory_stays_flat(self, other_process: StartProcess) -> None:
        """256 MB each way take less memory than a fifth of them."""
        process = other_process("stream")
        output, _ = process.communicate()
        assert process.returncode == 0
        assert int(output) < 50_000, "KiB more at the peak"

    @pytest.mark.parametrize(
        "options",
        [
            {"smb2 max write": "65536", "smb2 max read": "65536", "smb2 max trans": "65536"},
            {"smb2 max credits": "32"},
            {"server max protocol": "SMB2_02", "server min protocol": "SMB2_02"},
            {"server max protocol": "SMB3_00"},
        ],
        ids=["small requests", "few credits", "SMB 2.0.2", "SMB 3.0"],
    )
    def test_servers_with_narrow_limits(
        self, start_samba: StartSamba, open_smb: OpenSmb, options: dict[str, str]
    ) -> None:
        """Smaller requests, fewer credits or an older dialect only make it slower."""
        share = open_smb(start_samba(options=options), encrypt=False)
        content = os.urandom(6_000_000)
        with share.create("file") as writer:
            writer.write(content)
        assert b"".join(share.read("file")) == content
        assert [entry.size for entry in share.list("")] == [len(content)]

    def test_an_unfinished_file_cannot_be_opened(
        self, smb_share: SmbShare, samba: SambaServer, smb_folder: Path, open_smb: OpenSmb
    ) -> None:
        """Until its writer is done nobody can take it for a file; then everybody sees it whole."""
        other = open_smb(samba, "data", smb_folder.name)
        with smb_share.create("file") as writer:
            writer.write(bytes(3_000_000))
            for attempt in (lambda: other.stat("file"), lambda: next(other.read("file"))):
                with pytest.raises(RemoteError, match="STATUS_DELETE_PENDING") as caught:
                    attempt()
                assert caught.value.retryable
            with pytest.raises(PathExists) as taken:
                other.create("file").__enter__()
            assert taken.value.retryable
        assert other.stat("file").size == 3_000_000
        with pytest.raises(PathExists) as taken:
            other.create("file").__enter__()
        assert not taken.value.retryable

    def test_a_killed_writer_leaves_nothing(
        self,
        smb_share: SmbShare,
        other_process: StartProcess,
    ) -> None:
        """The server removes the unfinished file of a process that died."""
        process = other_process("write")
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert [entry.name for entry in smb_share.list("")] == ["file"]
        process.send_signal(signal.SIGKILL)
        assert eventually(lambda: smb_share.list("") == [])


class TestConnections:
    def test_they_are_reused(self, samba: SambaServer, smb_folder: Path, tap: Tap, open_smb: OpenSmb) -> None:
        """A hundred operations one after the other need one login."""
        share = open_smb(samba, "data", smb_folder.name, port=tap.port)
        for number in range(50):
            share.make_folder(f"folder-{number}")
        assert len(share.list("")) == 50
        assert tap.connections == 1

    def test_they_end_with_the_share(self, start_samba: StartSamba, open_smb: OpenSmb) -> None:
        """Leaving the block logs off; the object connects anew when it is used again."""
        server = start_samba()
        with open_smb(server) as share:
            share.list("")
            # smbd still ends the process that served the look whether it listens.
            assert eventually(lambda: len(server.client_pids()) == 1)
        assert eventually(lambda: server.client_pids() == [])
        assert share.list("") == []


class TestLeases:
    def test_another_process_holds_it_until_it_is_killed(
        self,
        smb_share: SmbShare,
        other_process: StartProcess,
    ) -> None:
        """The server refuses us by the other's name, and frees the lease when the other dies."""
        process = other_process("lease")
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(LeaseHeld, match="held by the other process"), smb_share.lease("42.lock", "me"):
            raise AssertionError("two holders at once")
        process.send_signal(signal.SIGKILL)
        assert eventually(lambda: can_take(smb_share))

    def test_a_lost_lease_is_told(
        self, start_samba: StartSamba, open_smb: OpenSmb, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An error to whoever asks; once the work is done, a warning."""
        server = start_samba()
        share = open_smb(server)
        with share.lease("42.lock", "me") as lease:
            server.stop()
            with pytest.raises(RemoteError, match=r"lease on .* was lost before the work") as caught:
                lease.confirm()
        assert not caught.value.retryable
        assert "was lost after the last step under it" in caplog.text
        server.start(tied=True)
        retry_call(lambda: share.list(""), what="list", policy=AGAIN)

    def test_a_lost_lease_does_not_hide_why_the_work_failed(
        self, start_samba: StartSamba, open_smb: OpenSmb
    ) -> None:
        """The exception of the block comes out."""
        server = start_samba()
        share = open_smb(server)
        with pytest.raises(KeyError, match="work"), share.lease("42.lock", "me"):
            server.kill_clients()
            raise KeyError("work")

    def test_a_broken_transfer_does_not_end_it(self, start_samba: StartSamba, open_smb: OpenSmb) -> None:
        """The lease has a connection of its own."""
        server = start_samba()
        holder, other = open_smb(server), open_smb(server)
        with holder.lease("42.lock", "me"):
            keeper = server.client_pids()
            with pytest.raises(RemoteError), holder.create("file") as writer:
                writer.write(bytes(3_000_000))
                for pid in server.client_pids():
                    if pid not in keeper:
                        os.kill(pid, signal.SIGKILL)
                while True:
                    writer.write(bytes(1_000_000))
            with pytest.raises(LeaseHeld, match="held by me"), other.lease("42.lock", "x"):
                raise AssertionError("two holders at once")


class TestDfs:
    @pytest.mark.parametrize(
        ("share", "folder", "real"),
        [
            ("root", "link", ""),
            ("root", "link/deep", "deep"),
            ("root", "link/deep/er", "deep/er"),
            ("root", "deep", "deep"),
            ("root", "deep/er", "deep/er"),
            ("root", "second/deep", "deep"),
            ("proxy", "", ""),
            ("proxy", "deep", "deep"),
        ],
    )
    def test_a_location_behind_a_referral(
        self, dfs: SambaServer, open_smb: OpenSmb, share: str, folder: str, real: str
    ) -> None:
        """Links, paths beyond them, a second target, and a root that another share serves."""
        opened = open_smb(dfs, share, folder)
        place = dfs.shares["data"].path / real
        opened.make_folder("a/b")
        with opened.create("a/b/file") as writer:
            writer.write(b"data")
        opened.rename("a", "c")
        assert (place / "c" / "b" / "file").read_bytes() == b"data"
        with opened.lease("c/42.lock", "me"):
            assert [entry.name for entry in opened.list("c")] == ["42.lock", "b"]
        opened.remove("c")
        assert not (place / "c").exists()

    def test_folders_of_the_root_itself(self, dfs: SambaServer, open_smb: OpenSmb) -> None:
        """Below a DFS root that is also a plain share everything works, renames too."""
        share = open_smb(dfs, "root", "plain")
        share.make_folder("a")
        with share.create("a/file") as writer:
            writer.write(b"data")
        share.rename("a/file", "a/new")
        share.rename("a", "b")
        assert b"".join(share.read("b/new")) == b"data"
        share.remove("b")
        assert share.list("") == []

    @pytest.mark.parametrize(
        ("folder", "message"),
        [
            ("circle", "more than 8 DFS referrals"),
            ("nowhere", "BAD_NETWORK_NAME"),
            ("unknown", "does not exist"),
        ],
    )
    def test_links_that_lead_nowhere(
        self, dfs: SambaServer, open_smb: OpenSmb, folder: str, message: str
    ) -> None:
        """Each is told, and named as the location that was asked for."""
        with pytest.raises(RemoteError, match=message) as caught:
            open_smb(dfs, "root", folder).list("")
        assert rf"\\127.0.0.1\root\{folder}" in caught.value.message
        assert not caught.value.retryable

    def test_a_link_below_the_location(self, dfs: SambaServer, open_smb: OpenSmb) -> None:
        """It is not crossed; the hint says what to configure instead."""
        with pytest.raises(RemoteError, match="STATUS_PATH_NOT_COVERED") as caught:
            open_smb(dfs, "root").list("link")
        assert "a DFS link leads to another share there" in caught.value.message
        assert "configure the link" in caught.value.hint


@pytest.mark.allow_hosts([LOOPBACK, STRANGER])
class TestDfsTargets:
    """A referral to a server that nobody named gets no connection, and so no login."""

    @pytest.fixture
    def stranger(self, dfs: SambaServer) -> Iterator[list[str]]:
        """Another host, on the port that a referral leads to, which notes who connects."""
        came: list[str] = []
        with socket.create_server((STRANGER, dfs.port)) as server:
            server.settimeout(30)

            def listen() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        connection, peer = server.accept()
                        connection.close()
                        if peer[0] == STRANGER:
                            return
                        came.append(peer[0])

            listening = threading.Thread(target=listen)
            listening.start()
            yield came
            # Its own visit ends the thread, after everything that came before it was counted.
            with socket.create_connection((STRANGER, dfs.port), source_address=(STRANGER, 0)):
                listening.join()

    def test_a_stranger_is_not_asked(self, dfs: SambaServer, open_smb: OpenSmb, stranger: list[str]) -> None:
        """The message names the server, and the key that allows it."""
        with pytest.raises(ConfigurationError, match=r"refers to 127\.0\.0\.2") as caught:
            open_smb(dfs, "root", "stranger").list("")
        assert "share.dfs_targets" in caught.value.hint
        assert stranger == []

    def test_the_other_target_is_used(
        self, dfs: SambaServer, open_smb: OpenSmb, stranger: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        """One target that is not allowed does not take the share away."""
        with caplog.at_level("WARNING"):
            assert open_smb(dfs, "root", "mixed/deep").list("") is not None
        assert "127.0.0.2" in caplog.text
        assert stranger == []

    def test_a_target_that_is_listed(self, dfs: SambaServer, open_smb: OpenSmb, stranger: list[str]) -> None:
        """``share.dfs_targets`` names a server that is trusted with the login."""
        with pytest.raises(RemoteError):
            open_smb(dfs, "root", "stranger", dfs_targets=("127.0.0.2",)).list("")
        assert stranger != []

    def test_a_listed_target_from_the_configuration(self, dfs: SambaServer, smb_password: str) -> None:
        """The factory hands the list on."""
        location = f"smb://127.0.0.1:{dfs.port}/root/link"
        words = {"username": USER, "password": smb_password}
        with open_share(location, **words, dfs_targets=("fs.example.com",)) as share:
            assert share.list("deep") is not None


@pytest.mark.parametrize(
    ("target", "listed", "allowed"),
    [
        ("nextlabs.com", (), True),
        ("NEXTLABS.COM.", (), True),
        ("fs1.nextlabs.com", (), True),
        ("fs1.eu.NextLabs.com", (), True),
        ("evilnextlabs.com", (), False),
        ("nextlabs.com.evil.example", (), False),
        ("fs1", (), False),
        ("10.0.0.7", (), False),
        ("fs1", ("FS1",), True),
        ("10.0.0.7", ("10.0.0.7",), True),
        ("nas.partner.example", (".partner.example",), True),
        ("partner.example", (".partner.example",), False),
        ("evilpartner.example", (".partner.example",), False),
    ],
)
def test_which_targets_are_allowed(target: str, listed: tuple[str, ...], allowed: bool) -> None:
    """The configured name, what is below it, and what the list names."""
    assert may_follow(target, "nextlabs.com", listed) is allowed


@pytest.mark.parametrize("configured", ["127.0.0.1", "fileserver", "::1"])
def test_nothing_is_below_an_address_or_a_short_name(configured: str) -> None:
    """They are no domains."""
    assert may_follow(configured, configured, ())
    assert not may_follow(f"evil.{configured}", configured, ())
