"""What was measured last of each group, and when: ``docs/performance.json``, of which the page is made.

A whole run takes long, so a run may measure some groups only; the others stay as they were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import Row, write_json


@dataclass(frozen=True)
class Run:
    """One call of the benchmarks.

    Attributes:
        command: What was called.
        machine: What its figures depend on.
    """

    command: str
    machine: Mapping[str, str]


@dataclass(frozen=True)
class Measured:
    """What one run found about a group.

    Attributes:
        run: The run.
        rows: Its rows.
        seconds: How long it took.
    """

    run: Run
    rows: Sequence[Row]
    seconds: float


Record = Mapping[str, Measured]
"""Groups by name."""


def read_record(path: Path) -> Record:
    """Return the record of a file; an empty one where there is no file."""
    if not path.exists():
        return {}
    document = json.loads(path.read_text(encoding="utf-8"))
    runs = [Run(found["command"], found["machine"]) for found in document["runs"]]
    return {
        name: Measured(runs[found["run"]], [Row.of_details(row) for row in found["rows"]], found["seconds"])
        for name, found in document["groups"].items()
    }


def write_record(path: Path, record: Record) -> None:
    """Write a record with the runs that its groups are from."""
    runs = runs_of(record)
    groups = {
        name: {
            "run": runs.index(measured.run),
            "seconds": round(measured.seconds, 1),
            "rows": [row.details() for row in measured.rows],
        }
        for name, measured in record.items()
    }
    told = [{"command": run.command, "machine": dict(run.machine)} for run in runs]
    write_json(path, {"runs": told, "groups": groups})


def runs_of(record: Record) -> Sequence[Run]:
    """Return the runs of which something still stands in a record, newest first."""
    found: list[Run] = []
    for measured in record.values():
        if measured.run not in found:
            found.append(measured.run)
    return sorted(found, key=lambda run: run.machine.get("date", ""), reverse=True)
