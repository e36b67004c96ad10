"""``python -m benchmarks``: run the groups, print the table, write it down."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks.bench import Bench, Scale
from benchmarks.groups import GROUPS, SLOW, USUAL, group_of
from benchmarks.network import enter_own_network, own_network
from benchmarks.record import Measured, Run, read_record, write_record
from benchmarks.report import machine, table, update_document
from benchmarks.results import Row, write_results
from jenkins_release.base.errors import ReleaseError
from jenkins_release.sandbox.stack import Sandbox

ROOT = Path(__file__).parents[1]
_QUICK = Scale(1 / 128, 1)


def _groups(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Find what measures the rows; ``promote-again`` and ``promote-again-skopeo`` are the same."""
    found = []
    for name in names:
        group = group_of(name)
        if group is None:
            raise click.BadParameter(f"{name!r} is no row; there are: {', '.join(GROUPS)}")
        found.append(group)
    return tuple(dict.fromkeys(found))


@click.command()
@click.argument("names", metavar="[ROW]...", nargs=-1, callback=_groups)
@click.option("--full", is_flag=True, help=f"Measure what takes long too: {', '.join(SLOW)}.")
@click.option("--quick", is_flag=True, help="Small images, each thing once: does it run at all?")
@click.option(
    "--scale", type=float, envvar="JENKINS_RELEASE_BENCH_SCALE", help="Multiply every size  [default: 1]"
)
@click.option("--repetitions", type=click.IntRange(1), help="Rounds that are measured  [default: 3]")
@click.option(
    "--layers",
    type=click.Choice(Scale.layers),
    help="Measure export-one, export-five and peak-memory with such layers only  [default: with both]",
)
@click.option(
    "--output", type=click.Path(path_type=Path), default=ROOT / "build" / "bench.json", help="JSON file."
)
@click.option(
    "--docs",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Page to write these rows into, beside those of the JSON file of its name"
    "  [default: docs/performance.md after a run with no rows and no sizes given]",
)
@click.option(
    "--sandbox",
    type=click.Path(path_type=Path, exists=True),
    help="Use the sandbox that runs in this folder and leave it running  [default: one of its own]",
)
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where to work  [default: a temporary folder]"
)
def main(
    names: tuple[str, ...],
    full: bool,
    quick: bool,
    scale: float | None,
    repetitions: int | None,
    layers: str | None,
    output: Path,
    docs: Path | None,
    sandbox: Path | None,
    folder: Path | None,
) -> None:
    """Measure memory, disk and speed of jenkins-release on loopback servers, beside the usual tools.

    All rows but the slow ones, or those whose names begin with the words given, such as promote-again.
    Goals are shown, not enforced: the status is 0 unless something did not run.
    """
    preset = _QUICK if quick else Scale()
    forms = (layers,) if layers else preset.layers
    chosen = Scale(scale or preset.factor, repetitions or preset.repetitions, forms)
    if docs is None and chosen == Scale() and not names:
        docs = ROOT / "docs" / "performance.md"
    groups = names or tuple(GROUPS if full else USUAL)
    file = (docs or ROOT / "docs" / "performance.md").with_suffix(".json")
    known = read_record(file)
    facts = machine(datetime.now(UTC))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="jenkins-release-bench-", dir=folder) as name:
        # Another daemon on this machine may stand on another disk and in another network.
        environ = {**os.environ, "DOCKER_HOST": f"unix://{name}/none.sock"} if own_network() else None
        stack = Sandbox(sandbox or Path(name) / "sandbox", environ=environ)
        try:
            rows, found, failures = _run(
                stack,
                Path(name),
                chosen,
                {group: known[group].seconds if group in known else None for group in groups},
                lambda rows: write_results(output, rows, facts),
                warm=not quick,
            )
        finally:
            if sandbox is None:
                stack.remove()
    click.echo(table(rows))
    if docs is not None:
        run = Run(_command(), facts)
        measured = {group: Measured(run, *what) for group, what in found.items()}
        record = {group: {**known, **measured}[group] for group in GROUPS if group in {*known, *measured}}
        update_document(docs, record)
        write_record(file, record)
    for failure in failures:
        click.echo(f"error: {failure}", err=True)
    sys.exit(1 if failures else 0)


def _run(
    stack: Sandbox,
    folder: Path,
    scale: Scale,
    groups: Mapping[str, float | None],
    keep: Callable[[list[Row]], None],
    *,
    warm: bool,
) -> tuple[list[Row], dict[str, tuple[list[Row], float]], list[str]]:
    """Measure groups.

    Args:
        stack: The servers.
        folder: Where to work.
        scale: Sizes and rounds.
        groups: The groups, each with the seconds that it took the last time, where that is known.
        keep: Gets all rows so far after each of them, as the run may break off.
        warm: Whether to release a tiny build before.

    Returns:
        All rows; rows and seconds of each group that ran to its end; and what went wrong.
    """
    rows: list[Row] = []
    keep(rows)
    found: dict[str, tuple[list[Row], float]] = {}
    failures: list[str] = []
    try:
        _say("starting the servers")
        stack.start(tied=True)
        bench = Bench(stack, folder, scale, os.environ, _say)
        try:
            if warm:
                bench.warm_up()
            for name in groups:
                begun, done = time.monotonic(), len(rows)
                try:
                    for row in GROUPS[name](bench):
                        rows.append(row)
                        keep(rows)
                        _say(_told(row))
                except ReleaseError as error:
                    failures.append(f"{name} did not run: {error.message}")
                    continue
                found[name] = (rows[done:], time.monotonic() - begun)
                left = time_left(groups, {name: seconds for name, (_, seconds) in found.items()})
                _say(f"{len(found)} of {len(groups)} groups; about {left / 60:.0f} min left")
        finally:
            bench.close()
    except ReleaseError as error:
        failures.append(error.message)
    return rows, found, failures


def time_left(groups: Mapping[str, float | None], took: Mapping[str, float]) -> float:
    """Return how long the other groups take: as long as the last time, at today's pace.

    Args:
        groups: All groups, each with its seconds of the last time; None where they are not known.
        took: The seconds of those that ran.
    """
    known = {name: before for name, before in groups.items() if name in took and before}
    pace = sum(took[name] for name in known) / sum(known.values()) if known else 1.0
    usual = sum(took.values()) / len(took)
    rest = [before for name, before in groups.items() if name not in took]
    return sum(usual if before is None else before * pace for before in rest)


def _say(line: str) -> None:
    click.echo(f"{datetime.now(UTC):%H:%M:%S} {line}", err=True)


def _told(row: Row) -> str:
    ratio = "" if row.ratio is None else f", {row.ratio:.2f} x as fast as {row.peer}"
    ours = "" if row.ours is None else f" {row.ours} s"
    return f"{row.name}:{ours}{ratio}; goal {row.goal}: {'met' if row.met else 'missed'}"


def _command() -> str:
    return " ".join(["python -m benchmarks", *sys.argv[1:]])


if __name__ == "__main__":
    if "--sandbox" not in sys.argv:  # whose servers run in the network of this machine
        enter_own_network("benchmarks")
    main()
