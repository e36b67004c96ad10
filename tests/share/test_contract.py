"""What every share promises, whatever carries it: run against a folder and against a real Samba."""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from smbprotocol.exceptions import AccessDenied

from jenkins_release.base.errors import ConfigurationError, IntegrityError, LeaseHeld, RemoteError
from jenkins_release.share import DirectoryShare, PathExists, PathNotFound, Share, SmbShare, checks
from jenkins_release.share.protocol import HEAD
from jenkins_release.share.smb import files
from jenkins_release.share.smb.connection import WRITE_DATA

MANY = 4_000
"""Entries with 60 letters each that fill more than one answer."""
SOME = 400
"""Those that fill more than a small one."""
KINDS = ["directory", "samba", "samba, library's calls"]


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The share's root as the machine that serves it sees it."""
    if request.param == "directory":
        root = tmp_path / "share"
        root.mkdir()
        return root
    found: Path = request.getfixturevalue("smb_folder")
    return found


@pytest.fixture
def share(request: pytest.FixtureRequest, folder: Path) -> Share:
    """The share under test."""
    kind = request.node.callspec.params["folder"]
    if kind == "directory":
        return DirectoryShare(folder)
    found: Share = request.getfixturevalue("smb_share" if kind == "samba" else "library_smb_share")
    return found


def put(share: Share, path: str, data: bytes) -> None:
    with share.create(path) as writer:
        writer.write(data)


def get(share: Share, path: str, **part: int) -> bytes:
    return b"".join(share.read(path, **part))


class TestFiles:
    def test_what_is_written_is_read_back(self, share: Share, folder: Path) -> None:
        """Every byte arrives, in order, whatever the sizes of the pieces written."""
        data = os.urandom(5_000_000)
        with share.create("file.bin") as writer:
            start = 0
            for size in (1, 0, 70_000, 1_048_576, 3, 2_500_000, len(data)):
                writer.write(data[start : start + size])
                start += size
        assert get(share, "file.bin") == data
        assert (folder / "file.bin").read_bytes() == data

    def test_the_buffer_may_be_reused_after_a_write(self, share: Share) -> None:
        """A writer keeps no reference to what it was given."""
        buffer = bytearray(b"a" * 100_000)
        with share.create("file") as writer:
            writer.write(memoryview(buffer))
            buffer[:] = b"b" * 100_000
            writer.write(buffer)
        assert get(share, "file") == b"a" * 100_000 + b"b" * 100_000

    def test_items_of_several_bytes_count_as_bytes(self, share: Share) -> None:
        """A memoryview of wider items is written as the bytes it stands for."""
        with share.create("file") as writer:
            writer.write(memoryview(b"\1\2\3\4" * 3).cast("I"))
        assert get(share, "file") == b"\1\2\3\4" * 3

    def test_an_empty_file(self, share: Share) -> None:
        """A file without a byte is a file."""
        put(share, "empty", b"")
        assert get(share, "empty") == b""
        assert share.stat("empty").size == 0

    def test_a_range_is_read_exactly(self, share: Share) -> None:
        """Offset and length choose the bytes, to the byte, across request borders."""
        data = os.urandom(3_200_000)
        put(share, "file", data)
        for offset, length in [
            (0, 1),
            (5, 2_500_000),
            (1_048_575, 2),
            (3_199_999, 1),
            (7, 0),
            (3_200_000, 0),
        ]:
            assert get(share, "file", offset=offset, length=length) == data[offset : offset + length]
        assert get(share, "file", offset=3_000_000) == data[3_000_000:]

    @pytest.mark.parametrize(("offset", "length"), [(0, 101), (50, 51), (101, 0), (200, 1)])
    def test_more_bytes_than_there_are(self, share: Share, offset: int, length: int) -> None:
        """A file that is too short is an integrity error, never fewer bytes."""
        put(share, "file", b"x" * 100)
        with pytest.raises(IntegrityError, match="file"):
            get(share, "file", offset=offset, length=length)

    def test_a_negative_range_is_refused(self, share: Share) -> None:
        """A negative number is a mistake of the caller."""
        put(share, "file", b"x")
        with pytest.raises(ConfigurationError):
            get(share, "file", offset=-1)

    def test_stopping_early_leaves_the_share_usable(self, share: Share) -> None:
        """A reader that has enough may stop; the file is free again."""
        put(share, "file", bytes(20_000_000))
        pieces = iter(share.read("file"))
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]  # both implementations are generators
        share.remove("file")
        assert share.list("") == []

    def test_a_missing_file(self, share: Share) -> None:
        """Reading what is not there names the path."""
        with pytest.raises(PathNotFound, match="nothing") as caught:
            get(share, "nothing")
        assert not caught.value.retryable

    def test_a_folder_is_not_a_file(self, share: Share) -> None:
        """There is no such file when the name is a folder's."""
        share.make_folder("folder")
        with pytest.raises(PathNotFound, match="folder"):
            get(share, "folder")


class TestManyAtATime:
    def test_small_files_come_whole_and_large_ones_begin(self, share: Share) -> None:
        """In the order of the paths, more of them than can be under way at a time."""
        sizes = [0, 1, HEAD - 1, HEAD, HEAD + 1, 3 * HEAD, *range(2, 120)]
        data = {f"f{number}": os.urandom(size) for number, size in enumerate(sizes)}
        for name, content in data.items():
            put(share, name, content)
        assert share.read_heads(list(data)) == [content[:HEAD] for content in data.values()]
        assert share.read_heads([]) == []

    def test_one_that_cannot_be_read_hides_no_other(self, share: Share) -> None:
        """It is an error in its own place, and the share goes on."""
        put(share, "file", b"data")
        share.make_folder("folder")
        first, missing, nowhere, folder, last = share.read_heads(["file", "none", "no/x", "folder", "file"])
        assert first == last == b"data"
        assert isinstance(missing, PathNotFound)
        assert isinstance(nowhere, PathNotFound)
        assert isinstance(folder, RemoteError)
        assert get(share, "file") == b"data"

    def test_many_folders_are_listed_as_each_would_be(self, share: Share) -> None:
        """Empty, small and very full ones; a file and a missing folder are errors in their places."""
        for name in ("empty", "small", "full"):
            share.make_folder(name)
        put(share, "small/b", b"12345")
        share.make_folder("small/a")
        for number in range(700):
            share.make_folder(f"full/{'a long name ' * 5}{number:04d}")
        put(share, "file", b"")
        found = share.list_each(["empty", "small", "full", "none", "file", "small"])
        assert found[:3] == [[], share.list("small"), share.list("full")]
        assert [(e.name, e.is_folder, e.size) for e in found[1]] == [("a", True, 0), ("b", False, 5)]  # type: ignore[union-attr]
        assert len(found[2]) == 700  # type: ignore[arg-type]
        assert isinstance(found[3], PathNotFound)
        assert isinstance(found[4], RemoteError)
        assert found[5] == found[1]

    @pytest.mark.parametrize("path", ["../x", "a/../b", "/x", "a\\b", "a:b"])
    def test_no_path_of_many_leaves_the_share(self, share: Share, path: str) -> None:
        """Checked before anything is asked."""
        with pytest.raises(ConfigurationError):
            share.read_heads(["fine", path])
        with pytest.raises(ConfigurationError):
            share.list_each(["fine", path])


class TestCreate:
    def test_an_existing_file_is_never_overwritten(self, share: Share) -> None:
        """A taken name is an error, and its file stays as it is."""
        put(share, "file", b"first")
        with pytest.raises(PathExists, match="file"):
            put(share, "file", b"second")
        assert get(share, "file") == b"first"

    def test_an_existing_folder_is_in_the_way(self, share: Share) -> None:
        """A folder takes the name too."""
        share.make_folder("name")
        with pytest.raises(PathExists, match="name"):
            put(share, "name", b"")

    def test_of_two_writers_one_is_refused(self, share: Share) -> None:
        """The second to create a name fails at once, the first is not disturbed."""
        with share.create("file") as first:
            first.write(b"first")
            with pytest.raises(PathExists):
                put(share, "file", b"second")
            first.write(b", still")
        assert get(share, "file") == b"first, still"

    def test_a_missing_folder(self, share: Share) -> None:
        """Folders are not made by accident."""
        with pytest.raises(PathNotFound, match="nowhere"):
            put(share, "nowhere/file", b"")

    @pytest.mark.parametrize("written", [0, 10, 5_000_000])
    def test_a_failure_while_writing_removes_the_file(self, share: Share, written: int) -> None:
        """An exception in the block comes out unchanged, and nothing stays behind."""
        with pytest.raises(KeyError, match="source"), share.create("file") as writer:
            writer.write(bytes(written))
            raise KeyError("source")
        assert share.list("") == []
        put(share, "file", b"again")
        assert get(share, "file") == b"again"

    def test_a_resumable_file_is_like_any_other(self, share: Share) -> None:
        """It is complete at the end, gone after a failure, and its name was free."""
        with share.create("file", resumable=True) as writer:
            writer.write(b"x" * 3_000_000)
        assert get(share, "file") == b"x" * 3_000_000
        with pytest.raises(KeyError), share.create("other", resumable=True) as writer:
            writer.write(b"x" * 3_000_000)
            raise KeyError("source")
        with pytest.raises(PathExists), share.create("file", resumable=True):
            raise AssertionError("created again")
        assert [(entry.name, entry.size) for entry in share.list("")] == [("file", 3_000_000)]


class TestServerCopy:
    def test_ranges_are_appended_between_written_bytes(self, share: Share) -> None:
        """Any range, of several files, wherever it begins."""
        one, two = os.urandom(20_000_000), os.urandom(3_000)
        put(share, "one", one)
        put(share, "two", two)
        with share.create("new") as writer:
            writer.write(b"begin")
            assert share.copy_into(writer, "one", offset=7, length=18_000_001)
            writer.write(b"middle")
            assert share.copy_into(writer, "two")
            assert share.copy_into(writer, "one", offset=19_999_990)
            assert share.copy_into(writer, "one", offset=0, length=0)
            writer.write(b"end")
        expected = b"begin" + one[7:18_000_008] + b"middle" + two + one[19_999_990:] + b"end"
        assert hashlib.sha256(get(share, "new")).digest() == hashlib.sha256(expected).digest()

    @pytest.mark.parametrize(("offset", "length"), [(0, 101), (101, None), (100, 1)])
    def test_a_range_that_is_not_there(self, share: Share, offset: int, length: int | None) -> None:
        """It is an integrity error that names the source, and nothing is left behind."""
        put(share, "source", b"x" * 100)
        with pytest.raises(IntegrityError, match="source"), share.create("new") as writer:
            share.copy_into(writer, "source", offset=offset, length=length)
        assert [entry.name for entry in share.list("")] == ["source"]

    def test_a_source_that_is_not_there(self, share: Share) -> None:
        """The message names it; the writer may go on."""
        with share.create("new") as writer:
            writer.write(b"a")
            with pytest.raises(PathNotFound, match="nothing"):
                share.copy_into(writer, "nothing")
            writer.write(b"b")
        assert get(share, "new") == b"ab"

    def test_into_a_resumable_file(self, share: Share) -> None:
        """Both go together."""
        put(share, "source", b"x" * 2_000_000)
        with share.create("new", resumable=True) as writer:
            writer.write(b"a")
            assert share.copy_into(writer, "source")
            writer.write(b"b")
        assert get(share, "new") == b"a" + b"x" * 2_000_000 + b"b"

    def test_into_a_file_elsewhere(self, share: Share, tmp_path: Path) -> None:
        """It says that it cannot, and appends nothing."""

        class Elsewhere:
            def write(self, data: bytes | bytearray | memoryview) -> None:
                raise AssertionError("written")

            def __enter__(self) -> Elsewhere:
                return self

            def __exit__(self, *exc: object) -> None: ...

        put(share, "source", b"x")
        assert not share.copy_into(Elsewhere(), "source")


class TestNames:
    def test_list_is_sorted_and_complete(self, share: Share) -> None:
        """Names, kinds and sizes, in the order of the names."""
        share.make_folder("b-folder")
        put(share, "c", b"123")
        put(share, "a", b"")
        found = [(entry.name, entry.is_folder, entry.size) for entry in share.list("")]
        assert found == [("a", False, 0), ("b-folder", True, 0), ("c", False, 3)]

    def test_a_folder_of_many_names(self, share: Share, folder: Path) -> None:
        """A listing that does not fit one answer of the server is complete."""
        names = sorted(f"{number:05}-{'x' * 100}" for number in range(6000))
        for name in names:
            (folder / name).touch()
        assert [entry.name for entry in share.list("")] == names

    def test_times_are_those_of_the_server(self, share: Share, folder: Path) -> None:
        """The time of change is in seconds since the epoch, UTC."""
        put(share, "file", b"x")
        os.utime(folder / "file", (1_700_000_000, 1_700_000_000))
        assert share.stat("file").modified == 1_700_000_000
        assert share.list("")[0].modified == 1_700_000_000

    def test_stat_tells_files_from_folders(self, share: Share) -> None:
        """One entry, with its own name only."""
        share.make_folder("one/two")
        put(share, "one/file", b"12345")
        file = share.stat("one/file")
        assert (file.name, file.is_folder, file.size) == ("file", False, 5)
        below = share.stat("one/two")
        assert (below.name, below.is_folder, below.size) == ("two", True, 0)
        assert share.stat("").is_folder

    @pytest.mark.parametrize("path", ["nothing", "file/below", "nothing/below"])
    def test_what_is_not_there(self, share: Share, path: str) -> None:
        """Describing and listing it both say so, by name."""
        put(share, "file", b"")
        with pytest.raises(PathNotFound, match=path.split("/")[0]):
            share.stat(path)
        with pytest.raises(PathNotFound, match=path.split("/")[0]):
            share.list(path)

    def test_a_file_is_not_a_folder(self, share: Share) -> None:
        """There is no such folder when the name is a file's."""
        put(share, "file", b"")
        with pytest.raises(PathNotFound):
            share.list("file")
        with pytest.raises(PathNotFound):
            share.make_folder("file")

    def test_folders_are_made_with_those_above(self, share: Share) -> None:
        """And making them again is fine."""
        share.make_folder("one/two/three")
        share.make_folder("one/two/three")
        share.make_folder("one/two/four")
        share.make_folder("")
        assert [entry.name for entry in share.list("one/two")] == ["four", "three"]

    @pytest.mark.parametrize("name", ["Überprüfung", "リリース", "a b (1)", "naïve+café", "emoji-😀"])
    def test_names_of_all_languages(self, share: Share, folder: Path, name: str) -> None:
        """A name comes back as it was given, also beyond the 16-bit characters."""
        share.make_folder(name)
        put(share, f"{name}/{name}", b"x")
        assert [entry.name for entry in share.list(name)] == [name]
        assert (folder / name / name).read_bytes() == b"x"

    @pytest.mark.parametrize(
        "path", ["..", "../x", "a/../../x", "/etc", "a//b", "a\\b", "c:x", "nul", "x.", "a/"]
    )
    def test_a_path_cannot_leave_the_share(self, share: Share, path: str) -> None:
        """Names that mean something else are refused by every method, before anything happens."""
        with pytest.raises(ConfigurationError):
            share.list(path)
        with pytest.raises(ConfigurationError):
            share.stat(path)
        with pytest.raises(ConfigurationError):
            share.read(path)
        with pytest.raises(ConfigurationError):
            share.create(path)
        with pytest.raises(ConfigurationError):
            share.make_folder(path)
        with pytest.raises(ConfigurationError):
            share.rename(path, "target")
        with pytest.raises(ConfigurationError):
            share.rename("source", path)
        with pytest.raises(ConfigurationError):
            share.remove(path)
        with pytest.raises(ConfigurationError):
            share.lease(path, "me")
        with share.create("new") as writer, pytest.raises(ConfigurationError):
            share.copy_into(writer, path)
        share.remove("new")
        assert share.list("") == []

    def test_the_root_itself_is_safe(self, share: Share) -> None:
        """The root is neither removed, renamed nor written."""
        share.make_folder("kept")
        for call in (share.remove, share.create, lambda path: share.rename(path, "x")):
            with pytest.raises(ConfigurationError):
                call("")
        assert [entry.name for entry in share.list("")] == ["kept"]

    def test_links_do_not_lead_out(self, share: Share, folder: Path, tmp_path: Path) -> None:
        """A symbolic link to a place outside the root gives access to nothing."""
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret").write_text("secret")
        (folder / "link").symlink_to(outside)
        (folder / "file").symlink_to(outside / "secret")
        for attempt in (
            lambda: get(share, "file"),
            lambda: get(share, "link/secret"),
            lambda: share.list("link"),
            lambda: put(share, "link/new", b""),
            lambda: share.make_folder("link/new"),
        ):
            with pytest.raises(Exception, match=r"link|file") as caught:
                attempt()
            assert type(caught.value).__module__.startswith("jenkins_release.")
        assert [path.name for path in outside.iterdir()] == ["secret"]


class TestRename:
    def test_a_folder_with_all_in_it(self, share: Share) -> None:
        """The whole tree has its new name in one step."""
        share.make_folder("incoming/images")
        put(share, "incoming/images/a.tar", b"a")
        share.make_folder("Product/1.0")
        share.rename("incoming", "Product/1.0/42")
        assert get(share, "Product/1.0/42/images/a.tar") == b"a"
        assert [entry.name for entry in share.list("")] == ["Product"]

    def test_a_file(self, share: Share) -> None:
        """A file has its new name, and its old one is free."""
        put(share, "old", b"data")
        share.rename("old", "new")
        assert [entry.name for entry in share.list("")] == ["new"]

    @pytest.mark.parametrize("taken_by", ["file", "folder", "full folder"])
    @pytest.mark.parametrize("source", ["file", "folder"])
    def test_an_existing_target_is_never_replaced(self, share: Share, source: str, taken_by: str) -> None:
        """Whatever has the name keeps it, even an empty folder, and the source stays."""
        if source == "file":
            put(share, "source", b"source")
        else:
            share.make_folder("source/below")
        if taken_by == "file":
            put(share, "target", b"target")
        else:
            share.make_folder("target" if taken_by == "folder" else "target/below")
        before = share.list("")
        with pytest.raises(PathExists, match="target"):
            share.rename("source", "target")
        assert share.list("") == before

    def test_a_missing_source(self, share: Share) -> None:
        """The message names it."""
        with pytest.raises(PathNotFound, match="nothing"):
            share.rename("nothing", "target")

    def test_a_missing_folder_of_the_target(self, share: Share) -> None:
        """The message names it, and the source stays."""
        put(share, "source", b"")
        with pytest.raises(PathNotFound, match="nowhere"):
            share.rename("source", "nowhere/target")
        assert [entry.name for entry in share.list("")] == ["source"]

    def test_of_many_renames_to_one_name_one_wins(self, share: Share) -> None:
        """Renames at the same moment never replace each other."""
        for number in range(8):
            share.make_folder(f"source-{number}/content-{number}")
        start = threading.Barrier(8)
        outcomes: list[str] = []

        def run(number: int) -> None:
            start.wait()
            try:
                share.rename(f"source-{number}", "target")
                outcomes.append("won")
            except PathExists:
                outcomes.append("lost")

        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["lost"] * 7 + ["won"]
        assert len(share.list("")) == 8
        assert len(share.list("target")) == 1


class TestRemove:
    def test_a_tree(self, share: Share) -> None:
        """A folder goes with all that is in it."""
        share.make_folder("tree/one/two")
        share.make_folder("tree/three")
        put(share, "tree/one/two/file", b"x")
        put(share, "kept", b"x")
        share.remove("tree")
        assert [entry.name for entry in share.list("")] == ["kept"]

    def test_a_file(self, share: Share) -> None:
        """A file goes."""
        put(share, "file", b"x")
        share.remove("file")
        assert share.list("") == []

    def test_a_tree_deeper_than_the_call_stack(self, share: Share, folder: Path) -> None:
        """Whoever can write to the share can make one, also where a command stages its files."""
        room = 90
        folder.joinpath(*["deep"] * room).mkdir(parents=True)
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(len(inspect.stack(0)) + room)
        try:
            if isinstance(share, DirectoryShare):
                with pytest.raises(RemoteError, match="nested too deeply"):
                    share.remove("deep")
                return
            share.remove("deep")
        finally:
            sys.setrecursionlimit(limit)
        assert share.list("") == []

    @pytest.mark.parametrize("path", ["nothing", "nothing/below"])
    def test_what_is_missing_is_fine(self, share: Share, path: str) -> None:
        """Removing twice is no error."""
        share.remove(path)


class TestProtection:
    def test_a_protected_file_is_read_only(self, share: Share, folder: Path) -> None:
        """Nobody writes to it by accident; it can be read, and removed on purpose."""
        share.make_folder("release")
        put(share, "release/setup.msi", b"content")
        assert share.protect("release/setup.msi")
        assert share.protect("release/setup.msi")
        if isinstance(share, SmbShare):
            with share._pool.borrow() as connection, pytest.raises(AccessDenied):
                connection.open("release/setup.msi", WRITE_DATA)
        else:
            assert not (folder / "release" / "setup.msi").stat().st_mode & 0o222
        assert get(share, "release/setup.msi") == b"content"
        share.remove("release")
        assert share.list("") == []

    def test_a_missing_file_cannot_be_protected(self, share: Share) -> None:
        """It is told, not taken for done."""
        with pytest.raises(PathNotFound):
            share.protect("nothing.msi")


class TestRoom:
    def test_free_space_is_plausible(self, share: Share, folder: Path) -> None:
        """The share's room is that of the file system it stands on."""
        room = os.statvfs(folder)
        told = share.free_space()
        assert told is not None
        assert abs(told - room.f_bavail * room.f_frsize) < 2**30


class TestLease:
    def test_the_second_is_refused_and_told_who_is_first(self, share: Share) -> None:
        """One holder at a time; the error carries the first one's line."""
        with share.lease("42.lock", "promote 8.1.0/42 by build 17"):
            first = r"held by promote 8\.1\.0/42 by build 17"
            with pytest.raises(LeaseHeld, match=first), share.lease("42.lock", "someone else"):
                raise AssertionError("two holders at once")
            with pytest.raises(LeaseHeld, match=first), share.lease("42.lock", "a third"):
                raise AssertionError("two holders at once")

    def test_it_is_free_afterwards(self, share: Share) -> None:
        """Also after an exception, which comes out unchanged; the lock file stays."""
        with pytest.raises(KeyError, match="work"), share.lease("42.lock", "first"):
            raise KeyError("work")
        with share.lease("42.lock", "second"):
            pass
        assert [entry.name for entry in share.list("")] == ["42.lock"]

    def test_a_lease_that_is_held_can_be_confirmed(self, share: Share) -> None:
        """As often as asked, and by its holder only."""
        with share.lease("42.lock", "me") as lease:
            lease.confirm()
            with pytest.raises(LeaseHeld), share.lease("42.lock", "you"):
                raise AssertionError("two holders at once")
            lease.confirm()

    def test_different_files_are_different_leases(self, share: Share) -> None:
        """Two candidates are worked on at the same time."""
        with share.lease("1.lock", "me"), share.lease("2.lock", "me"):
            assert len(share.list("")) == 2

    def test_work_goes_on_under_it(self, share: Share) -> None:
        """The share is read and written as ever while a lease is held."""
        with share.lease("42.lock", "me"):
            put(share, "file", b"x" * 3_000_000)
            assert len(get(share, "file")) == 3_000_000

    def test_a_holder_of_several_lines_becomes_one(self, share: Share) -> None:
        """Line breaks in a holder's name do not forge a second line."""
        with (
            share.lease("42.lock", "first\nsecond"),
            pytest.raises(LeaseHeld, match=r"held by first second$"),
            share.lease("42.lock", "x"),
        ):
            raise AssertionError("two holders at once")

    def test_a_missing_folder(self, share: Share) -> None:
        """The lock file's folder must be there."""
        with pytest.raises(PathNotFound, match="nowhere"), share.lease("nowhere/42.lock", "me"):
            raise AssertionError("held without a file")


class TestThreads:
    def test_several_threads_use_one_share(self, share: Share) -> None:
        """Transfers at the same time do not mix."""
        contents = {f"file-{number}": os.urandom(3_000_000 + number) for number in range(4)}
        failures: list[BaseException] = []

        def work(name: str) -> None:
            try:
                put(share, name, contents[name])
                assert hashlib.sha256(get(share, name)).digest() == hashlib.sha256(contents[name]).digest()
                assert share.stat(name).size == len(contents[name])
            except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
                failures.append(error)

        threads = [threading.Thread(target=work, args=(name,)) for name in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert [entry.name for entry in share.list("")] == sorted(contents)

    def test_time_moves_on(self, share: Share) -> None:
        """A new file's time is now, by the server's clock."""
        put(share, "file", b"")
        assert abs(share.stat("file").modified - time.time()) < 60


def crowd(folder: Path, number: int) -> None:
    """Make a folder ``crowded`` with so many files."""
    crowded = folder / "crowded"
    crowded.mkdir()
    for each in range(number):
        os.mknod(crowded / f"{each:060d}")


class TestTooMany:
    def test_a_folder_with_any_number_of_files_is_not_listed(
        self, share: Share, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One clear error, alone or with other folders."""
        monkeypatch.setattr(checks, "MAX_LISTED", SOME)
        monkeypatch.setattr(files, "_LISTING", 64 * 1024)
        crowd(folder, SOME * 3)
        with pytest.raises(IntegrityError, match=f"crowded has more than {SOME} entries"):
            share.list("crowded")
        (found,) = share.list_each(["crowded"])
        assert isinstance(found, RemoteError)
        assert "has more than" in found.message

    def test_its_names_are_not_all_asked_for(
        self, smb_share: Share, smb_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The rows of one answer take the most memory."""
        monkeypatch.setattr(checks, "MAX_LISTED", MANY)
        crowd(smb_folder, MANY * 3)
        tracemalloc.start()
        try:
            with pytest.raises(IntegrityError, match=f"crowded has more than {MANY} entries"):
                smb_share.list("crowded")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 60_000_000
