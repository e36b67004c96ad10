"""docs/reliability.md is what ``make faults`` wrote of today's matrix."""

from __future__ import annotations

from tests.faults.catalogue import FAULTS
from tests.faults.commands import COMMANDS
from tests.faults.matrix import Result, cells
from tests.faults.report import PAGE, page


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
