"""docs/reliability.md is what ``make faults`` wrote of today's matrix."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.docs.pages import ROOT
from tests.faults.catalogue import FAULTS
from tests.faults.commands import COMMANDS
from tests.faults.matrix import Result, cells, write
from tests.faults.report import PAGE, main, page


def test_the_page_lists_every_fault_with_what_it_is():
    """A fault that is new or was changed makes the page one of yesterday."""
    text = PAGE.read_text()
    for fault in FAULTS.values():
        assert f"| `{fault.ident}`: {fault.told}" in text, f"run 'make faults': {fault.ident} is missing"


def test_every_command_is_played():
    """And no fault stands for nothing."""
    played = {command.name for _, command in cells()}
    assert played == set(COMMANDS)
    assert all(fault.commands for fault in FAULTS.values())
    assert len(FAULTS) >= 30


def test_a_cell_that_does_not_hold_is_shown_as_such():
    """The page cannot make a failure look like a success."""
    good = Result("smb-reset", "candidate export", status=0, seconds=2.4, visible="the candidate")
    bad = Result("smb-reset", "qa sign-off", status=70, problems=["a traceback"], next=5)
    text = page([good, bad])
    assert "2 of" in text
    assert "1 of them hold" in text
    assert "| candidate export | done | 2 s | the candidate |  |" in text
    assert "**70: a traceback**" in text
    assert "**5**" in text


def test_make_writes_the_page_only_of_a_whole_run():
    """And not of one that pytest could not play: only status 1, cells that do not hold, is passed over."""

    def steps(*words: str) -> str:
        return subprocess.run(
            ["make", "-n", "faults", *words], cwd=ROOT, capture_output=True, text=True
        ).stdout

    assert "tests/faults -k x || test $? = 1" in steps("FAULTS_ARGS=-k x")
    assert "tests.faults.report --page build/faults/reliability.md" in steps("FAULTS_ARGS=-k x")
    assert "--page" not in steps()


def test_a_run_of_some_cells_leaves_the_page_alone(tmp_path: Path):
    """`make faults FAULTS_ARGS=...` writes a page of its own, and none if nothing was played."""
    results, target = tmp_path / "results", tmp_path / "page.md"
    target.write_text("as it was")
    words = ["--results", str(results), "--page", str(target)]
    assert main(words) == 2
    assert target.read_text() == "as it was"
    write(Result("smb-reset", "candidate export", status=0, visible="the candidate"), results)
    assert main(words) == 0
    assert "Played: 1 of" in target.read_text()
    write(Result("smb-reset", "qa sign-off", status=70, problems=["a traceback"]), results)
    assert main(words) == 1
