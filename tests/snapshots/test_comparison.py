"""The comparison itself: it fails on a difference, shows it, and writes only when asked to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.snapshots import Snapshots


def test_a_difference_fails_with_the_lines_and_the_command(tmp_path: Path) -> None:
    """Whoever changed something sees what, and how to accept it."""
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    with pytest.raises(pytest.fail.Exception) as failed:
        Snapshots(update=False, folder=tmp_path).same("a.txt", "one\nthree\n")
    told = str(failed.value)
    assert "\n-two\n+three" in told
    assert "make snapshots" in told
    assert (tmp_path / "a.txt").read_text() == "one\ntwo\n"


def test_a_missing_file_fails(tmp_path: Path) -> None:
    """A new name needs its snapshot in the same commit."""
    with pytest.raises(pytest.fail.Exception):
        Snapshots(update=False, folder=tmp_path).same("a.txt", "one\n")


def test_an_update_writes_what_is_so_now_and_removes_what_is_gone(tmp_path: Path) -> None:
    """Afterwards the comparison passes."""
    (tmp_path / "old.txt").write_text("")
    compare, write = Snapshots(update=False, folder=tmp_path), Snapshots(update=True, folder=tmp_path)
    with pytest.raises(pytest.fail.Exception, match=r"old\.txt"):
        compare.no_others(tmp_path, set())
    write.same("a.txt", "one\n")
    write.no_others(tmp_path, {"a.txt"})
    compare.same("a.txt", "one\n")
    compare.no_others(tmp_path, {"a.txt"})
