"""Each command that writes, under faults of the share."""

from __future__ import annotations

from tests.faults.catalogue import Fault
from tests.faults.commands import Command
from tests.faults.conftest import Cell, chosen
from tests.faults.matrix import cells

CHOSEN = {
    ("smb-stall-once", "candidate export"),
    ("smb-quota", "candidate export (push)"),
    ("smb-stall-once", "candidate load (pull)"),
    ("smb-refused-3s", "qa sign-off"),
    ("smb-share-closed", "qa sign-off"),
    ("smb-stranded-rename", "qa sign-off"),
    ("smb-stall-at-rename", "promote approve"),
    ("smb-reset", "promote run (registry)"),
    ("smb-lost-delete", "promote run (registry)"),
    ("smb-lost-rename", "release publish"),
}
"""One of each kind is played in every test run; ``make faults`` plays all."""


@chosen([cell for cell in cells() if cell[0].smb], CHOSEN)
def test_nothing_half_done_is_visible_and_the_next_run_finishes(cell: Cell, fault: Fault, command: Command):
    """The command ends with a documented status, within its limits; what passes is got over."""
    cell.holds(fault, command)
