"""The folder of a promotion's journal, where others may write too."""

from __future__ import annotations

from pathlib import Path

import pytest

from jenkins_release.base.errors import RemoteError
from jenkins_release.share.candidates import CandidateArea, CandidateRef
from jenkins_release.share.folder.share import DirectoryShare
from jenkins_release.share.journal import MAX_JOURNAL_BYTES, JournalFolder
from jenkins_release.share.protocol import Entry


class Growing(DirectoryShare):
    """A share on which every file grows as soon as it was listed."""

    def list(self, path: str) -> list[Entry]:
        found = super().list(path)
        for entry in found:
            if not entry.is_folder:
                file = Path(self.name) / path / entry.name
                file.write_bytes(file.read_bytes() + b" " * (4 << 20))
        return found


def test_whoever_lost_the_lease_changes_nothing(tmp_path: Path):
    """The next holder may be about to write: what it has not renamed yet looks like something left behind."""
    share = DirectoryShare(tmp_path)
    area, ref = CandidateArea(share, "SkyDRM"), CandidateRef("8.1.0", "42")
    folder = tmp_path / "SkyDRM" / "8.1.0" / "42" / "journal"
    folder.mkdir(parents=True)
    with area.lease(ref, "promote", "me") as lease:
        mine = JournalFolder(area, ref)
        assert mine.append("started", b"{}", lease) == "0001-started.json"
        (lock,) = [path for path in (tmp_path / "SkyDRM").rglob("*promote*") if path.is_file()]
        lock.unlink()
        with area.lease(ref, "promote", "the next"):
            unfinished = folder / ".0002-started.json.0123abcd"
            unfinished.write_bytes(b"{")
            for journal in (mine, JournalFolder(area, ref)):
                with pytest.raises(RemoteError, match="lost"):
                    journal.append("pushed-rms", b"{}", lease)
    assert sorted(path.name for path in folder.iterdir()) == [unfinished.name, "0001-started.json"]


def test_an_entry_that_grows_while_it_is_read_is_not_read_to_its_end(tmp_path: Path):
    """The bound of an entry holds for what is read, not only for what was listed."""
    folder = tmp_path / "SkyDRM" / "8.1.0" / "42" / "journal"
    folder.mkdir(parents=True)
    (folder / "0001-started.json").write_bytes(b"{}")
    journal = JournalFolder(CandidateArea(Growing(tmp_path), "SkyDRM"), CandidateRef("8.1.0", "42"))
    assert journal.read() == {"0001-started.json": b"{}"}


def test_a_file_that_is_too_large_hides_no_entry(tmp_path: Path):
    """It is no entry, so it takes no room of theirs."""
    folder = tmp_path / "SkyDRM" / "8.1.0" / "42" / "journal"
    folder.mkdir(parents=True)
    entries = {f"{number:04d}-pushed-rms.json": b"{}" for number in (1, 3)}
    for name, data in entries.items():
        (folder / name).write_bytes(data)
    with (folder / "0002-large.json").open("wb") as large:
        large.truncate(MAX_JOURNAL_BYTES + 1)
    journal = JournalFolder(CandidateArea(DirectoryShare(tmp_path), "SkyDRM"), CandidateRef("8.1.0", "42"))
    assert journal.read() == entries
