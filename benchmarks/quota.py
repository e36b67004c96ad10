"""A processor of which a command gets a part only, by the kernel's scheduler.

A group of cgroups(7), version 1, with a quota of processor time in each period (the kernel's
Documentation/scheduler/sched-bwc.rst). Servers stay outside, as fast as before: they are other machines.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup/cpu")
_PERIOD_US = 10_000


class QuotaMissing(Exception):
    """This machine allows no such quota."""


@contextlib.contextmanager
def quota(share: float) -> Iterator[list[str]]:
    """Make a group of processes for the length of the block.

    Args:
        share: Processor time that its processes get in a second together, in seconds.

    Yields:
        Words to put in front of a command.

    Raises:
        QuotaMissing: This machine does not allow it.
    """
    group = _ROOT / f"jenkins-release-bench-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(round(share * _PERIOD_US)))
    except OSError as error:
        raise QuotaMissing(f"no quota of processor time: {error}") from error
    try:
        yield ["sh", "-c", f'echo $$ > {shlex.quote(str(group / "cgroup.procs"))} && exec "$@"', "sh"]
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    for _ in range(50):
        try:
            group.rmdir()
        except OSError:  # a process is still at its end
            time.sleep(0.1)
        else:
            return
