"""What a folder of this machine adds to the contract: the kernel's refusals, links, and flock."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jenkins_release.base.errors import LeaseHeld, RemoteError
from jenkins_release.share import DirectoryShare, PathExists, PathNotFound
from jenkins_release.share.folder.files import rename_by_reservation, rename_new, translated
from tests.fixtures.share import can_take, eventually, in_own_mounts

REPORT = """
import sys
from pathlib import Path
from jenkins_release.base.errors import ReleaseError
from jenkins_release.share import DirectoryShare
share = DirectoryShare(Path(sys.argv[1]))
try:
    with share.create("file") as writer:
        for _ in range(32):
            writer.write(bytes(1_000_000))
except ReleaseError as error:
    print(type(error).__name__, error.retryable, error.message)
print([entry.name for entry in share.list("")])
"""
HOLD = """
import sys
from pathlib import Path
from jenkins_release.share import DirectoryShare
with DirectoryShare(Path(sys.argv[1])).lease("42.lock", "the other process"):
    print("ready", flush=True)
    sys.stdin.read()
"""
RENAMES = [rename_new, rename_by_reservation]


def report(prepare: str, folder: Path) -> list[str]:
    command = [*in_own_mounts(prepare, str(folder)), sys.executable, "-c", REPORT, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


class TestFaults:
    def test_a_full_file_system(self, tmp_path: Path) -> None:
        """No room is an error of its own, not retried, and the partial file goes."""
        failure, left = report("mount -t tmpfs -o size=4m none {}", tmp_path)
        assert failure.startswith("ShareFull False cannot write ")
        assert "ENOSPC" in failure
        assert left == "[]"

    def test_a_read_only_file_system(self, tmp_path: Path) -> None:
        """The message says that it is read-only."""
        failure, left = report("mount --bind {0} {0}; mount -o remount,bind,ro {0}", tmp_path)
        assert failure.startswith("RemoteError False cannot create ")
        assert "read-only" in failure
        assert left == "[]"

    @pytest.mark.parametrize("root", ["missing", "file"])
    def test_a_root_that_is_not_there(self, tmp_path: Path, root: str) -> None:
        """A folder that is not mounted is no empty share, and is not made by accident."""
        (tmp_path / "file").touch()
        share = DirectoryShare(tmp_path / root)
        for call in (lambda: share.list(""), lambda: share.make_folder("a"), share.free_space):
            with pytest.raises(RemoteError, match=rf"share .*/{root} does not exist") as caught:
                call()
            assert not isinstance(caught.value, PathNotFound)
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    @pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN])
    def test_a_mount_that_stumbles_may_be_tried_again(self, number: int) -> None:
        """What a network file system reports for a moment is retryable."""
        with pytest.raises(RemoteError) as caught, translated("cannot read x"):
            raise OSError(number, os.strerror(number))
        assert caught.value.retryable

    def test_other_exceptions_pass(self) -> None:
        """Only the operating system's failures are translated."""
        with pytest.raises(KeyError), translated("cannot read x"):
            raise KeyError("x")


class TestLinks:
    def test_the_root_may_be_a_link(self, tmp_path: Path) -> None:
        """A configured location is followed to where it is."""
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        DirectoryShare(tmp_path / "link").make_folder("a")
        assert (tmp_path / "real" / "a").is_dir()

    def test_a_link_is_named_as_the_reason(self, tmp_path: Path) -> None:
        """Not followed even inside the root, and the message says why."""
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        (tmp_path / "file").symlink_to("real/file")
        share = DirectoryShare(tmp_path)
        with pytest.raises(RemoteError, match="symbolic link"):
            share.list("link")
        with pytest.raises(RemoteError, match="symbolic link"):
            next(share.read("file"))
        with pytest.raises(RemoteError, match="symbolic link"):
            share.lease("file", "me").__enter__()
        assert [(entry.name, entry.is_folder, entry.size) for entry in share.list("")] == [
            ("file", False, 0),
            ("link", False, 0),
            ("real", True, 0),
        ]

    def test_removing_a_link_leaves_what_it_leads_to(self, tmp_path: Path) -> None:
        """Also when the link is inside a folder that goes."""
        share = DirectoryShare(tmp_path / "share")
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "kept").touch()
        (tmp_path / "share" / "folder").mkdir(parents=True)
        (tmp_path / "share" / "folder" / "link").symlink_to(outside)
        (tmp_path / "share" / "link").symlink_to(outside)
        share.remove("folder")
        share.remove("link")
        assert share.list("") == []
        assert (outside / "kept").exists()

    def test_a_pipe_does_not_hold_us(self, tmp_path: Path) -> None:
        """Something that is neither file nor folder is refused, not waited for."""
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(RemoteError, match="neither a file nor a folder"):
            next(DirectoryShare(tmp_path).read("pipe"))


class TestRename:
    @pytest.mark.parametrize("rename", RENAMES)
    @pytest.mark.parametrize("kind", ["file", "folder"])
    def test_both_ways_rename(
        self, tmp_path: Path, rename: Callable[[int, str, int, str], None], kind: str
    ) -> None:
        """By the kernel's flag, and without it on file systems that lack it."""
        _make(tmp_path / "old", kind)
        with _opened(tmp_path) as folder:
            rename(folder, "old", folder, "new")
        assert [path.name for path in tmp_path.iterdir()] == ["new"]
        assert (tmp_path / "new").is_dir() == (kind == "folder")

    @pytest.mark.parametrize("rename", RENAMES)
    @pytest.mark.parametrize("kind", ["file", "folder"])
    @pytest.mark.parametrize("taken_by", ["file", "folder"])
    def test_neither_replaces(
        self, tmp_path: Path, rename: Callable[[int, str, int, str], None], kind: str, taken_by: str
    ) -> None:
        """Whatever has the name keeps it, even an empty folder."""
        _make(tmp_path / "old", kind)
        if taken_by == "folder":
            (tmp_path / "new").mkdir()
        else:
            (tmp_path / "new").write_text("kept")
        with _opened(tmp_path) as folder, pytest.raises(FileExistsError):
            rename(folder, "old", folder, "new")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]
        assert taken_by == "folder" or (tmp_path / "new").read_text() == "kept"

    @pytest.mark.parametrize("rename", RENAMES)
    def test_neither_leaves_a_reservation(
        self, tmp_path: Path, rename: Callable[[int, str, int, str], None]
    ) -> None:
        """A rename that fails leaves the target's name free."""
        (tmp_path / "old").mkdir()
        with _opened(tmp_path) as folder, _opened(tmp_path / "old") as below, pytest.raises(OSError):
            rename(folder, "old", below, "new")
        assert list((tmp_path / "old").iterdir()) == []


class TestLease:
    def test_another_process_holds_it_until_it_is_killed(self, tmp_path: Path) -> None:
        """The kernel refuses us by the other's name, and frees the lease when the other dies."""
        share = DirectoryShare(tmp_path)
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            with pytest.raises(LeaseHeld, match="held by the other process"), share.lease("42.lock", "me"):
                raise AssertionError("two holders at once")
            process.send_signal(signal.SIGKILL)
            assert eventually(lambda: can_take(share))
        finally:
            process.kill()
            process.communicate()

    def test_a_replaced_lock_file_is_told(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Whoever removes the lock file lets a second holder in: work under it is not protected."""
        share = DirectoryShare(tmp_path)
        with share.lease("42.lock", "me"):
            share.remove("42.lock")
            with share.lease("42.lock", "another"):
                pass
        assert "was lost: the lock file was replaced" in caplog.text

    def test_a_replaced_lock_file_is_told_when_asked(self, tmp_path: Path) -> None:
        """Before the block ends, so that nothing more is done without the lease."""
        share = DirectoryShare(tmp_path)
        done = []
        with pytest.raises(RemoteError, match="lost") as caught, share.lease("42.lock", "me") as lease:
            lease.confirm()
            share.remove("42.lock")
            lease.confirm()
            done.append("more")
        assert done == []
        assert not caught.value.retryable


def test_a_killed_rename_cannot_half_happen(tmp_path: Path) -> None:
    """A target that is there has everything: the rename is the file system's own."""
    share = DirectoryShare(tmp_path)
    share.make_folder("incoming/images")
    before = (tmp_path / "incoming").stat().st_ino
    share.rename("incoming", "42")
    assert (tmp_path / "42").stat().st_ino == before
    with pytest.raises(PathExists):
        share.rename("42", "42")


def _make(path: Path, kind: str) -> None:
    if kind == "folder":
        path.mkdir()
        (path / "content").touch()
    else:
        path.write_text("moved")


class _opened:  # noqa: N801 - reads as a word in a with statement
    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> int:
        self._number = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        return self._number

    def __exit__(self, *exc: object) -> None:
        os.close(self._number)
