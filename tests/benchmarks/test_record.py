"""What was measured last stays on the page until it is measured again."""

from __future__ import annotations

from pathlib import Path

import pytest
from defusedxml import ElementTree

from benchmarks.__main__ import time_left
from benchmarks.curve import PICTURE
from benchmarks.groups import GROUPS, SLOW, USUAL
from benchmarks.record import Measured, Record, Run, read_record, write_record
from benchmarks.report import MARKS, marks, update_document
from benchmarks.results import MIB, Row, Timing
from jenkins_release.base.errors import ConfigurationError

OLD = Run("python -m benchmarks --full", {"date": "2026-01-01 10:00 UTC", "cores": "2"})
NEW = Run("python -m benchmarks smb-put", {"date": "2026-02-01 10:00 UTC", "cores": "4"})


def row(name: str, ours: float, *, changed: int | None = None) -> Row:
    """Return a row of two rounds with every field set."""
    return Row(
        name,
        MIB,
        2.0,
        True,
        Timing((ours, ours)),
        "the script",
        Timing((9.0, 8.0)),
        "the disk",
        Timing((0.5, 0.5)),
        50 * MIB,
        0.25,
        "a note",
        changed,
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Return a page with both tables empty."""
    path = tmp_path / "page.md"
    places = ["\n".join([*marks(name), "between", ""]) for name in MARKS]
    path.write_text("# Performance\n" + "".join(places))
    return path


@pytest.fixture
def record() -> Record:
    """Return a record of two runs, a group of each table among them, and a curve."""
    points = [
        row(f"curve-{way}-{part}", seconds, changed=part * MIB)
        for way in ("export", "load")
        for part, seconds in ((1, 1.0), (50, 4.0))
    ]
    return {
        "smb-put": Measured(NEW, [row("smb-put-signed", 1.5)], 10.0),
        "smb-get": Measured(OLD, [row("smb-get-signed", 2.5)], 20.0),
        "curve": Measured(OLD, points, 300.0),
    }


def test_a_record_is_read_as_it_was_written(tmp_path: Path, record: Record) -> None:
    """Rows, single rounds, runs and the seconds that groups took."""
    path = tmp_path / "record.json"
    assert read_record(path) == {}
    write_record(path, record)
    assert read_record(path) == record


def test_each_table_tells_which_run_its_rows_are_from(page: Path, record: Record) -> None:
    """The usual rows and the slow ones, each with the machine of their runs, newest first."""
    update_document(page, record)
    usual, slow = (
        page.read_text().partition(marks(name)[0])[2].partition(marks(name)[1])[0] for name in MARKS
    )
    assert "1. `python -m benchmarks smb-put` (`smb-put`): date 2026-02-01 10:00 UTC, cores 4" in usual
    assert "2. `python -m benchmarks --full` (`smb-get`): date 2026-01-01 10:00 UTC, cores 2" in usual
    assert "\nsmb-put-signed  1.0 MiB  1.50 (1.50-1.50)  8.50 (8.00-9.00)  5.67" in usual
    assert "curve" not in usual
    assert "1. `python -m benchmarks --full`: date" in slow
    assert "\ncurve-export-50 " in slow
    assert "\nsmb-put-signed, smb-get-signed: peer = the script\n" in usual
    again = page.read_text()
    update_document(page, record)
    assert page.read_text() == again


def test_the_curve_is_a_picture_with_a_line_for_each_side(page: Path, record: Record) -> None:
    """Ours and the peer's, of export and load; well-formed, and without anything from elsewhere."""
    update_document(page, record)
    text = (page.parent / PICTURE).read_text()
    found = ElementTree.fromstring(text)
    labels = [
        element.text for element in found.iter() if element.text in {"candidate export", "candidate load"}
    ]
    assert sorted(map(str, labels)) == ["candidate export", "candidate load"]
    assert text.count("the script") >= 2
    assert "<script" not in text
    assert "href" not in text


def test_a_page_without_marks_is_left_alone(tmp_path: Path, record: Record) -> None:
    """The tables are only written where they belong."""
    page = tmp_path / "page.md"
    begin, end = marks("measured")
    page.write_text(f"# Performance\n{end}\n{begin}\n")
    with pytest.raises(ConfigurationError, match="has no lines"):
        update_document(page, record)
    assert page.read_text() == f"# Performance\n{end}\n{begin}\n"


def test_the_usual_run_leaves_the_slow_rows_out() -> None:
    """Each group is in one of the tables."""
    assert {*GROUPS} == {*USUAL, *SLOW}
    assert not {*USUAL} & {*SLOW}


def test_the_time_left_is_that_of_the_last_time_at_todays_pace() -> None:
    """A group that was never measured counts as one of those before it."""
    groups = {"a": 10.0, "b": 600.0, "c": None}
    assert time_left(groups, {"a": 20.0}) == pytest.approx(600 * 2 + 20)
    assert time_left(groups, {"a": 20.0, "b": 600.0}) == pytest.approx(310)
    assert time_left(groups, {"a": 20.0, "b": 600.0, "c": 1.0}) == 0
