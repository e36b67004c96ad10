"""The groups of rows: a module each, with a function that takes the bench and yields rows.

A new group is a new module and a line in :data:`GROUPS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.bench import Bench
from benchmarks.groups.export import measure_export
from benchmarks.groups.memory import measure_memory
from benchmarks.groups.promote import measure_promote
from benchmarks.groups.transfer import measure_transfer
from benchmarks.results import Row

GROUPS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "memory": measure_memory,
    "transfer": measure_transfer,
    "export": measure_export,
    "promote": measure_promote,
}
