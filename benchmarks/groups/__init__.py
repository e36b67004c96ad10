"""The rows by the names that people ask for: each a function that takes the bench and yields rows.

One entry measures all rows whose names begin with its own, such as ``promote-again-docker`` and
``promote-again-skopeo``, which share our side. A new one is a function and a line in :data:`GROUPS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.bench import Bench
from benchmarks.groups.commands import board_500_10ms, list_500_10ms, plan_40_20ms, start
from benchmarks.groups.export import export_five, export_one, export_patch
from benchmarks.groups.memory import peak_memory
from benchmarks.groups.packed import packed, packed_1gbit, packed_10gbit, packed_slow
from benchmarks.groups.patch import (
    curve,
    export_patch_large,
    export_patch_warm,
    load_patch,
    load_patch_large,
)
from benchmarks.groups.platforms import platforms
from benchmarks.groups.promote import promote_again, promote_gzip, promote_patch, promote_plain
from benchmarks.groups.smb import smb_get, smb_get_10ms, smb_put, smb_put_10ms
from benchmarks.groups.ways import release
from benchmarks.results import Row

Group = Callable[[Bench], Iterator[Row]]

USUAL: dict[str, Group] = {
    "start": start,
    "list-500-10ms": list_500_10ms,
    "board-500-10ms": board_500_10ms,
    "plan-40-20ms": plan_40_20ms,
    "smb-put": smb_put,
    "smb-get": smb_get,
    "smb-put-10ms": smb_put_10ms,
    "smb-get-10ms": smb_get_10ms,
    "export-one": export_one,
    "export-five": export_five,
    "export-patch": export_patch,
    "export-patch-warm": export_patch_warm,
    "load-patch": load_patch,
    "promote-gzip": promote_gzip,
    "promote-patch": promote_patch,
    "promote-again": promote_again,
    "platforms": platforms,
}
"""Measured without being asked for: less than half an hour in all."""
SLOW: dict[str, Group] = {
    "export-patch-large": export_patch_large,
    "load-patch-large": load_patch_large,
    "curve": curve,
    "promote-plain": promote_plain,
    "release": release,
    "peak-memory": peak_memory,
    "packed": packed,
    "packed-10gbit": packed_10gbit,
    "packed-1gbit": packed_1gbit,
    "packed-slow": packed_slow,
}
"""Measured with ``--full``, or by name."""
GROUPS = {**USUAL, **SLOW}


def group_of(name: str) -> str | None:
    """Return the group that measures a row: the longest whose name the row's begins with."""
    fitting = [group for group in GROUPS if name == group or name.startswith(f"{group}-")]
    return max(fitting, key=len, default=None)
