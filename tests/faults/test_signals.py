"""Ctrl-C and SIGTERM while a fault holds: one line, the result, and the end within two seconds."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import Fault
from tests.faults.commands import Command
from tests.faults.conftest import ALL, Cell, chosen
from tests.faults.matrix import SIGNALS, held

CHOSEN = {
    ("smb-silent", "candidate export"): "SIGINT",
    ("smb-frozen", "release publish"): "SIGTERM",
    ("http-drip", "promote run (registry)"): "SIGTERM",
    ("http-429-wait", "promote run (registry)"): "SIGINT",
    ("http-stall", "customer issue"): "SIGINT",
    ("http-stall", "saas refresh"): "SIGTERM",
}
"""Played in every test run, with one signal each; ``make faults`` plays all, with both."""
TWICE = {("http-stall", "promote run (registry)")}
"""Likewise, with a second signal."""


@pytest.mark.parametrize("number", SIGNALS if ALL else ["chosen"])
@chosen(list(held()), {*CHOSEN})
def test_a_signal_ends_a_command_that_waits(cell: Cell, fault: Fault, command: Command, number: str):
    """Nothing half-done stays visible, and the next run finishes."""
    cell.holds(fault, command, number=number if ALL else CHOSEN[fault.ident, command.name])


@chosen(list(held(first=True)), TWICE)
def test_a_second_signal_ends_it_at_once(cell: Cell, fault: Fault, command: Command):
    """Nothing is cleaned up any more: the next run does."""
    cell.holds(fault, command, number="SIGINT", twice=True)
