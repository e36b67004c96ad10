"""Finding the reports of a test run, as Jenkins' users name them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.steps.qa.results import read_results, remove_results


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Reports of two modules, and a file beside them."""
    for name in ("a/target/TEST-one.xml", "b/target/TEST-two.xml", "b/target/.hidden/TEST-three.xml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'<testsuite><testcase name="{path.stem}"/></testsuite>')
    (tmp_path / "a,b.xml").write_text('<testsuite><testcase name="comma"/></testsuite>')
    (tmp_path / "a/target/notes.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["**/TEST-*.xml"], {"TEST-one", "TEST-two", "TEST-three"}),
        (["a/target/*.xml, b/target/*.xml"], {"TEST-one", "TEST-two"}),
        (["a/target/TEST-one.xml", "b/target/TEST-t?o.xml"], {"TEST-one", "TEST-two"}),
        (["b/"], {"TEST-two", "TEST-three"}),
        (["a,b.xml"], {"comma"}),
        (Path("a/target/TEST-one.xml"), {"TEST-one"}),
        ([Path("a,b.xml"), "a/**/*.xml", "a/target/TEST-one.xml"], {"comma", "TEST-one"}),
    ],
)
def test_files_and_patterns(reports: Path, given: Path | list[str | Path], found: set[str]):
    """Ant's patterns, lists with commas; a file that two of them name counts once."""
    results = read_results(given)
    assert {name.rpartition(".")[2] for name in results.passed} == found
    assert len(results.passed) == len(found) == len(results.reports)


def test_an_absolute_pattern(reports: Path):
    """From a folder elsewhere."""
    assert len(read_results([f"{reports}/**/TEST-*.xml"]).passed) == 3


def test_one_report_is_named_by_its_file_name_and_several_by_their_paths(reports: Path):
    """Several could have the same file name."""
    assert read_results([f"{reports}/a/target/TEST-one.xml"]).reports[0][0] == "TEST-one.xml"
    names = [name for name, _ in read_results(["**/TEST-*.xml"]).reports]
    assert "a/target/TEST-one.xml" in names


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["none.xml"], "there is no test report none.xml in"),
        (["**/TEST-*.xml,x/*.xml"], "there is no test report x/*.xml in"),
        ([Path("none.xml")], "none.xml cannot be read: No such file"),
        (["a/**"], "notes.txt is not a JUnit report"),
    ],
)
def test_what_is_named_has_to_be_there(reports: Path, given: list[str | Path], told: str):
    """A pattern that nothing matches is a test run that left nothing behind."""
    with pytest.raises(ConfigurationError) as raised:
        read_results(given)
    assert told in str(raised.value)


def test_reports_of_an_earlier_run_are_removed(reports: Path):
    """All that the patterns match, and nothing where they match nothing."""
    assert [path.name for path in remove_results(["a/**/TEST-*.xml", "none.xml"])] == ["TEST-one.xml"]
    assert not (reports / "a/target/TEST-one.xml").exists()
    assert (reports / "a/target/notes.txt").exists()
    assert remove_results(["a/**/TEST-*.xml"]) == []


def test_an_older_report_is_that_of_another_run(reports: Path):
    """By the time of the file on the same machine."""
    mark = reports / "tested.digest"
    mark.write_text("x")
    os.utime(mark, (2_000_000_000, 2_000_000_000))
    fresh = reports / "a/target/TEST-one.xml"
    os.utime(fresh, (2_000_000_000, 2_000_000_000))
    assert read_results(["a/target/TEST-one.xml"], mark).passed == ("TEST-one",)
    with pytest.raises(ConfigurationError, match=r"TEST-two.xml is older than .*tested.digest") as raised:
        read_results(["a/target/TEST-one.xml, b/target/*.xml"], mark)
    assert len(raised.value.reasons) == 1
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_results(["a/target/TEST-one.xml"], reports / "gone")
