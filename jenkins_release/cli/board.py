"""``jenkins-release release board``: pages that show where every version stands, and what it waits for."""

from __future__ import annotations

from pathlib import Path

import click

from jenkins_release.base.moments import minute
from jenkins_release.cli.command import Command
from jenkins_release.cli.output import bullets, counted, plain
from jenkins_release.cli.runtime import (
    Runtime,
    common_options,
    pass_runtime,
    region_option,
    releases_option,
    share_option,
)


@click.command(cls=Command)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write it to  [default: the places that [board] names]",
)
@share_option
@releases_option
@region_option
@common_options
@pass_runtime
def board(runtime: Runtime, out: Path | None) -> None:
    """Write pages that show where every version stands, and what it waits for.

    index.html has a line for each candidate and a column for each stage, problems first; each version has
    a page. What cannot be read is shown there, and the command succeeds nevertheless.
    """
    from jenkins_release.rules.release.board import GROUPS
    from jenkins_release.steps.overview.board import BoardRequest, write_board

    report = write_board(BoardRequest(out), runtime.services)
    found = report.board
    result = {"places": list(report.places), "pages": report.pages, **found.document()}
    groups = ", ".join(f"{len(found.of(key))} {key}" for key in GROUPS if found.of(key)) or "none"
    lines = [
        f"{found.product}, as of {minute(found.at)}: {counted(len(found.lines), 'candidate')} ({groups})"
    ]
    problems = [f"{line.ident}: {plain(line.wait.line)}" for line in found.of("problem")]
    unread = [plain(note) for note in found.notes]
    if problems or unread:
        lines.append(bullets([*problems, *unread]))
    lines += [f"wrote {counted(report.pages, 'file')} to {place}" for place in report.places]
    runtime.succeed(result, "\n".join(lines))
