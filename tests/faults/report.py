"""Writes docs/reliability.md from the results of ``make faults``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.docs.pages import ROOT
from tests.faults.catalogue import FAULTS, Fault
from tests.faults.commands import COMMANDS
from tests.faults.matrix import END_S, MEMORY_MIB, SIGNALS, Result, cells, held
from tests.faults.stage import TIMEOUT_S

PAGE = ROOT / "docs" / "reliability.md"
_WORDS = {
    0: "done",
    2: "refused (2)",
    3: "refused by the gate (3)",
    4: "integrity error (4)",
    5: "gave up (5)",
    6: "lease held (6)",
    130: "interrupted",
    143: "terminated",
}
_HEAD = """\
# Reliability

What each command that writes does when the network or a server fails. `make faults` plays every fault with
the commands on which it makes a difference, and writes this page; `make test` plays a part of it. Samba,
docker-registry and Docker are real, AWS is the sandbox's. Proxies before the share and before AWS make the
faults. An observer reads share, registry, portal and stack as a customer would, during the run and after it.

A cell holds if

- the fault happened,
- the command ends by itself with a documented [exit status](../README.md#exit-status), writes `--result`, and
  shows no traceback,
- nothing that is half done is visible at any time, and no byte is wrong,
- a release tag names the image that QA validated, or is not there,
- the same command finishes once the fault is over,
- the command gets over a fault that passes (marked *passes*),
- it took no more than {memory} MiB of memory.

Limits are scaled down: `share.timeout_s` and `network.answer_s` are {timeout:.0f} s, `docker.timeout_s` is
8 s, `network.least_rate` is 1 MiB a second, `retry.deadline_s` is 9 s. With the
[defaults](configuration.md#keys) a command takes longer to end.

{basis}
"""
_SIGNALS = """\

## Ctrl-C and SIGTERM

The signal arrives while the fault holds. The command ends with status 130 or 143 and one line,
`interrupted` or `terminated`, and writes `--result`; a second signal ends it at once. Times are from the
last signal to the end. Two seconds are promised; the tests allow {end:.0f} s on a busy machine.

| fault | command | SIGINT | SIGTERM | SIGINT twice | visible |
|---|---|---|---|---|---|
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page. Returns 1 if a cell does not hold, and 2 if none was played: the page stays then."""
    parser = argparse.ArgumentParser(prog="tests.faults.report", description="Write docs/reliability.md.")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "faults")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args(arguments)
    found = read(options.results)
    if not found:
        print(f"{options.results} has no results: {options.page} stays as it is", file=sys.stderr)  # noqa: T201
        return 2
    options.page.write_text(page(found), encoding="utf-8")
    failed = [result for result in found if result.problems]
    for result in failed:
        print(f"{result.fault}, {result.command} {result.signal}: {'; '.join(result.problems)}")  # noqa: T201
    print(f"{options.page}: {len(found)} cells, {len(failed)} of them do not hold")  # noqa: T201
    return 1 if failed else 0


def read(folder: Path) -> list[Result]:
    """Return the results in a folder that belong to cells of today's matrix."""
    known = {(fault.ident, command.name) for fault, command in cells()}
    found = [Result(**json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]
    return [result for result in found if (result.fault, result.command) in known]


def page(results: Iterable[Result]) -> str:
    """Return the page."""
    by_cell = {(r.fault, r.command, r.signal): r for r in results}
    every = [(fault.ident, command.name, "") for fault, command in cells()]
    every += [(fault.ident, command.name, number) for fault, command in held() for number in SIGNALS]
    every += [(fault.ident, command.name, "SIGINT twice") for fault, command in held(first=True)]
    played = [key for key in every if key in by_cell]
    holds = [key for key in played if not by_cell[key].problems]
    basis = f"Played: {len(played)} of {len(every)} cells; {len(holds)} of them hold."
    if len(holds) < len(played):
        basis += " What does not hold is in bold."
    text = _HEAD.format(timeout=TIMEOUT_S, memory=MEMORY_MIB, basis=basis)
    for title, smb in (("The share", True), ("ECR, its registry, S3 and IAM", False)):
        text += (
            f"\n## {title}\n\n| fault | command | what happened | time to the end | visible | next run |\n"
        )
        text += "|---|---|---|---|---|---|\n"
        for fault in FAULTS.values():
            if fault.smb == smb:
                text += "".join(_rows(fault, by_cell))
    text += _SIGNALS.format(end=END_S)
    for fault, command in held():
        row = [by_cell.get((fault.ident, command.name, n)) for n in (*SIGNALS, "SIGINT twice")]
        if any(row):
            seen = next(result.visible for result in row if result)
            times = " | ".join(_time(result) for result in row)
            text += f"| `{fault.ident}` | {command.name} | {times} | {seen} |\n"
    return text


def _rows(fault: Fault, by_cell: dict[tuple[str, str, str], Result]) -> Iterable[str]:
    """Yield the rows of a fault: what happened with each command that it was played with."""
    told = f"`{fault.ident}`: {fault.told}" + (" *(passes)*" if fault.passes else "")
    first = True
    for name in fault.commands:
        result = by_cell.get((fault.ident, COMMANDS[name].name, ""))
        if result is None:
            continue
        happened = (
            _WORDS.get(result.status or 0, str(result.status)) if result.status is not None else "no end"
        )
        if result.problems:
            happened = f"**{happened}: {_cell(result.problems[0])}**"
        following = {None: "", 0: "finishes"}.get(result.next, f"**{result.next}**")
        row = (
            told if first else "",
            name,
            happened,
            f"{result.seconds:.0f} s",
            result.visible,
            following,
        )
        yield "| " + " | ".join(row) + " |\n"
        first = False
    if first:
        yield f"| {told} | | not played | | | |\n"


def _time(result: Result | None) -> str:
    if result is None:
        return ""
    told = f"{result.seconds:.1f} s"
    return f"**{told}: {_cell(result.problems[0])}**" if result.problems else told


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ").replace("<", "&lt;")[:160]


if __name__ == "__main__":
    raise SystemExit(main())
