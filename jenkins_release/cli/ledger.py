"""``jenkins-release ledger``: what is recorded outside the share."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from jenkins_release.cli.command import Group
from jenkins_release.cli.output import counted, styled, table
from jenkins_release.cli.runtime import (
    CandidateType,
    Runtime,
    candidate_argument,
    common_options,
    pass_runtime,
    share_option,
)

if TYPE_CHECKING:
    from jenkins_release.share.candidates import CandidateRef
    from jenkins_release.steps.ledger.chains import LedgerReport


@click.group(cls=Group, example="jenkins-release ledger verify")
def ledger() -> None:
    """Compare the share with the ledger outside it, or enter candidates from before it."""


@ledger.command()
@candidate_argument
@share_option
@common_options
@pass_runtime
def show(runtime: Runtime, ref: CandidateRef) -> None:
    """Show the ledger's entries for a candidate, and when they arrived."""
    from jenkins_release.steps.ledger.chains import verify_ledger

    found = verify_ledger(runtime.services, [ref])
    (report,) = found.candidates
    rows = [
        [
            f"{each.entry.number:04d}",
            each.entry.kind,
            f"{each.arrived.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            "adopted" if each.entry.adopted else "",
            each.entry.sha256,
        ]
        for each in report.recorded
    ]
    heads = ["number", "kind", "arrived (UTC)", "", "SHA-256"]
    parts = [f"{ref} in {found.name}: {_word(report)}", *([table(heads, rows)] if rows else [])]
    parts += [f"not there yet: {name}" for name in report.behind]
    parts += [f"{styled('ALTERED:', 'bad')} {line}" for line in report.altered]
    result = {"ledger": found.name, **_json(report)}
    runtime.conclude(result, "\n".join(parts), found.problem())


@ledger.command()
@click.argument("refs", metavar="[VERSION/BUILD]...", type=CandidateType(), nargs=-1)
@share_option
@common_options
@pass_runtime
def verify(runtime: Runtime, refs: tuple[CandidateRef, ...]) -> None:
    """Compare candidates on the share with the ledger; by default all of them, including missing ones."""
    from jenkins_release.steps.ledger.chains import verify_ledger

    found = verify_ledger(runtime.services, refs)
    rows = [
        [str(each.ref), str(len(each.recorded)), str(len(each.behind)), _word(each)]
        for each in found.candidates
    ]
    text = table(["candidate", "entries", "not there yet", "share"], rows) if rows else "no candidates"
    text += "".join(f"\n{each.ref}: {line}" for each in found.candidates for line in each.altered)
    result = {"ledger": found.name, "candidates": [_json(each) for each in found.candidates]}
    runtime.conclude(result, text, found.problem())


@ledger.command()
@candidate_argument
@click.option("--dry-run", is_flag=True, help="Check and list everything, enter nothing.")
@share_option
@common_options
@pass_runtime
def adopt(runtime: Runtime, ref: CandidateRef, dry_run: bool) -> None:
    """Enter a candidate from before the ledger, or attestations that a crash left out."""
    from jenkins_release.steps.ledger.chains import adopt_candidate

    report = adopt_candidate(ref, runtime.services, dry_run=dry_run)
    result: dict[str, Any] = {
        "candidate": str(ref),
        "digest": report.digest,
        "ledger": report.ledger,
        "dryRun": dry_run,
        "adopted": report.adopted,
        "entries": [
            {"number": e.number, "file": e.file, "kind": e.kind, "sha256": e.sha256} for e in report.entries
        ],
    }
    if not report.entries:
        runtime.succeed(result, f"{ref}: {report.ledger} has everything, nothing was entered")
        return
    what = "would enter" if dry_run else "entered"
    why = "from before the ledger" if report.adopted else "left out by a command that was interrupted"
    rows = [[e.file, e.kind, e.sha256] for e in report.entries]
    text = f"{what} {counted(len(rows), 'line')} about {ref} in {report.ledger}, {why}\n"
    text += table(["file", "kind", "SHA-256"], rows)
    runtime.succeed(result, text)


def _word(report: LedgerReport) -> str:
    if report.missing:
        return "not in the ledger"
    if report.gone:
        return styled("GONE", "bad") if report.altered else "missing, its export may have died"
    if report.altered:
        return styled("ALTERED", "bad")
    return styled("behind", "open") if report.behind else styled("agrees", "good")


def _json(report: LedgerReport) -> dict[str, Any]:
    return {
        "candidate": str(report.ref),
        "digest": report.digest,
        "missing": report.missing,
        "gone": report.gone,
        "behind": list(report.behind),
        "altered": list(report.altered),
        "entries": [
            {
                "number": each.entry.number,
                "kind": each.entry.kind,
                "sha256": each.entry.sha256,
                "arrived": each.arrived.isoformat(),
                "adopted": each.entry.adopted,
            }
            for each in report.recorded
        ],
    }
