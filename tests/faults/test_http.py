"""Each command that writes, under faults of ECR, its registry, S3 and IAM."""

from __future__ import annotations

from tests.faults.catalogue import Fault
from tests.faults.commands import Command
from tests.faults.conftest import Cell, chosen
from tests.faults.matrix import cells

CHOSEN = {
    ("http-drip", "promote run (registry)"),
    ("http-stall-once", "release portal"),
    ("http-half-open", "release withdraw"),
    ("http-proxy-refuses", "customer revoke"),
    ("http-429-date", "promote run (registry)"),
    ("http-page-layers", "promote run (registry)"),
    ("http-endless-error", "promote run (registry)"),
    ("http-lost-answer", "saas refresh"),
    ("http-wrong-digest-blob", "promote run (registry)"),
    ("http-token-expired", "promote run (registry)"),
    ("http-docker-reset", "promote run (docker)"),
}
"""One of each kind is played in every test run; ``make faults`` plays all."""


@chosen([cell for cell in cells() if not cell[0].smb], CHOSEN)
def test_no_wrong_image_is_released_and_the_next_run_finishes(cell: Cell, fault: Fault, command: Command):
    """The command ends with a documented status, within its limits; what passes is got over."""
    cell.holds(fault, command)
