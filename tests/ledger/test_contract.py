"""What every ledger promises: run against S3, a folder, and a real Samba."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from jenkins_release.base.errors import IntegrityError
from jenkins_release.ledger import MAX_LINE_BYTES, FolderLedger, Ledger, S3Ledger
from jenkins_release.share import DirectoryShare
from tests.fixtures.s3 import REGION

KINDS = ["s3", "folder", "samba"]
PATH = "SkyDRM/8.1.0/42/" + 64 * "a" + "/0003.json"


@pytest.fixture(params=KINDS)
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """The ledger under test."""
    if request.param == "s3":
        return S3Ledger(request.getfixturevalue("bucket"), REGION, prefix="ledger/onprem")
    if request.param == "folder":
        root = request.getfixturevalue("tmp_path") / "ledger"
        root.mkdir()
        return FolderLedger(DirectoryShare(root))
    return FolderLedger(request.getfixturevalue("smb_share"))


class TestAdd:
    def test_a_line_that_is_added_is_read(self, ledger: Ledger) -> None:
        """Bytes, path and the time of arrival by the ledger's clock."""
        before = datetime.now(UTC).replace(microsecond=0)
        added = ledger.add(PATH, b"line\n")
        assert (added.path, added.data, added.problem) == (PATH, b"line\n", "")
        assert before - timedelta(seconds=2) <= added.arrived <= datetime.now(UTC) + timedelta(seconds=2)
        assert ledger.read("SkyDRM/8.1.0/42") == [added]

    def test_the_same_line_again_is_success(self, ledger: Ledger) -> None:
        """A second writer of the same line gets the time at which the first one arrived."""
        assert ledger.add(PATH, b"line\n") == ledger.add(PATH, b"line\n")

    def test_another_line_is_refused_and_both_are_named(self, ledger: Ledger) -> None:
        """What is there stays."""
        ledger.add(PATH, b'{"sha256":"aaa"}\n')
        with pytest.raises(IntegrityError, match="has different content") as caught:
            ledger.add(PATH, b'{"sha256":"bbb"}\n')
        assert "aaa" in caught.value.message
        assert "bbb" in caught.value.message
        assert [line.data for line in ledger.read("SkyDRM")] == [b'{"sha256":"aaa"}\n']

    def test_of_many_writers_at_once_one_wins(self, ledger: Ledger) -> None:
        """The others are refused, and the ledger holds the winner's line."""
        outcomes: list[bytes | None] = []
        start = threading.Barrier(4)

        def write(number: int) -> None:
            data = b"line %d\n" % number
            start.wait()
            try:
                outcomes.append(ledger.add(PATH, data).data)
            except IntegrityError:
                outcomes.append(None)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = [data for data in outcomes if data is not None]
        assert len(outcomes) == 4
        assert len(won) == 1
        assert [line.data for line in ledger.read("SkyDRM")] == won


class TestFolders:
    def test_the_folders_of_lines_are_listed(self, ledger: Ledger) -> None:
        """By their names, whatever is below them; none of what is not there."""
        ledger.add(PATH, b"line\n")
        ledger.add(PATH.replace("8.1.0/42", "8.1.0/43"), b"line\n")
        ledger.add(PATH.replace("8.1.0/42", "8.2.0/50"), b"line\n")
        assert ledger.folders("") == ["SkyDRM"]
        assert ledger.folders("SkyDRM") == ["8.1.0", "8.2.0"]
        assert ledger.folders("SkyDRM/8.1.0") == ["42", "43"]
        assert ledger.folders("SkyDRM/9.9.9") == []


class TestRead:
    def test_a_folder_that_is_not_there_has_no_lines(self, ledger: Ledger) -> None:
        """A candidate that was never recorded is no failure of the ledger."""
        assert ledger.read("SkyDRM/9.9.9/1") == []

    def test_lines_are_sorted_and_those_of_others_are_left_out(self, ledger: Ledger) -> None:
        """Build 4 does not see the lines of build 42."""
        for path in ("P/1/42/x/0002.json", "P/1/42/x/0001.json", "P/1/4/x/0001.json"):
            ledger.add(path, path.encode())
        assert [line.path for line in ledger.read("P/1/42")] == ["P/1/42/x/0001.json", "P/1/42/x/0002.json"]
        assert [line.path for line in ledger.read("P/1/4")] == ["P/1/4/x/0001.json"]

    def test_a_line_that_is_far_too_large_is_refused(self, ledger: Ledger) -> None:
        """Whoever wrote it: memory stays bounded."""
        with pytest.raises(IntegrityError, match="a line of the ledger has at most"):
            ledger.add(PATH, b"x" * (MAX_LINE_BYTES + 1))
        with pytest.raises(IntegrityError, match="a line of the ledger has at most"):
            ledger.read("SkyDRM")
