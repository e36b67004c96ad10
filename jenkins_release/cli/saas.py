"""``jenkins-release saas``: the stack on AWS that clients of the service use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jenkins_release.base.moments import minute
from jenkins_release.cli.command import Group
from jenkins_release.cli.output import bullets, plain, table, tell
from jenkins_release.cli.runtime import Runtime, common_options, override_option, pass_runtime, share_option
from jenkins_release.steps.context.watcher import StackWatcher

if TYPE_CHECKING:
    from jenkins_release.records.refresh import StackState
    from jenkins_release.steps.saas.run import RefreshReport
    from jenkins_release.steps.saas.status import PartStatus, StackStatus

_region_option = override_option("--region", key="saas.region", help="AWS region of the stack.")
_key_option = click.option(
    "--key", default="", help="Promotion key, file2: or awskms:  [default: signing.promotion_key]"
)
_dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Check everything, show what would be done, change nothing."
)


class ConsoleStackWatcher(StackWatcher):
    """Writes to stderr what happens to the stack, one line each."""

    def event(self, part: str, text: str) -> None:
        """Write a line."""
        tell(f"  {plain(part)}: {plain(text)}", err=True)


@click.group(cls=Group, example="jenkins-release saas refresh 8.1.0")
def saas() -> None:
    """Bring a released version onto the SaaS stack, show what runs there, or roll back."""


@saas.command()
@click.argument("release", metavar="VERSION[/BUILD]")
@_key_option
@click.option(
    "--accept-lost",
    default="",
    metavar="REASON",
    help="Continue although records of earlier refreshes are lost; the reason is recorded.",
)
@_dry_run_option
@share_option
@_region_option
@common_options
@pass_runtime
def refresh(runtime: Runtime, release: str, key: str, accept_lost: str, dry_run: bool) -> None:
    """Bring a released version onto the stack, which returns by itself if it is not healthy."""
    from jenkins_release.steps.saas.refresh import RefreshRequest, refresh_stack

    request = RefreshRequest(release, key, dry_run, accept_lost)
    report = refresh_stack(request, runtime.services, ConsoleStackWatcher())
    runtime.succeed(_report_json(report, dry_run), _report_text(report, dry_run))


@saas.command()
@_key_option
@_dry_run_option
@share_option
@_region_option
@common_options
@pass_runtime
def rollback(runtime: Runtime, key: str, dry_run: bool) -> None:
    """Return the stack to the state before the last refresh; running it twice has no further effect."""
    from jenkins_release.steps.saas.rollback import RollbackRequest, rollback_stack

    report = rollback_stack(RollbackRequest(key, dry_run), runtime.services, ConsoleStackWatcher())
    runtime.succeed(_report_json(report, dry_run), _report_text(report, dry_run))


@saas.command()
@share_option
@_region_option
@common_options
@pass_runtime
def status(runtime: Runtime) -> None:
    """Show what runs where, by digest, compared with what was released."""
    from jenkins_release.steps.saas.status import stack_status

    found = stack_status(runtime.services)
    runtime.succeed(_status_json(found), _status_text(found))


def _report_json(report: RefreshReport, dry_run: bool) -> dict[str, Any]:
    return {
        "stack": report.stack,
        "strategy": report.strategy,
        "action": report.action,
        "release": report.release,
        "changed": report.changed,
        "dryRun": dry_run,
        "before": _state_json(report.before),
        "after": _state_json(report.after),
        "health": [each.model_dump(mode="json", by_alias=True) for each in report.health],
        "instances": [each.model_dump(mode="json", by_alias=True) for each in report.instances],
        "attestation": report.attestation,
        "head": report.head,
    }


def _state_json(state: StackState) -> dict[str, Any]:
    return state.model_dump(mode="json", by_alias=True)


def _report_text(report: RefreshReport, dry_run: bool) -> str:
    to = report.after.shown
    if not report.changed and not report.attestation:
        lines = [f"nothing to do: {report.stack} runs {to}"]
    else:
        done = {"refresh": "refreshed", "rollback": "returned"}[report.action]
        would = {"refresh": "would refresh", "rollback": "would return"}[report.action]
        lines = [f"{would if dry_run else done} {report.stack} to {to}, from {report.before.shown}"]
    before = report.before.definitions
    rows = [
        [part.name, before.get(part.name, "-"), part.definition]
        for part in report.after.parts
        if part.definition
    ]
    lines += [table(["service", "before", "after"], rows)] if rows else []
    lines += [f"{each.instance}: {plain(each.status)}" for each in report.instances]
    lines += [f"{each.url}: healthy, {each.good} of {each.answers} answers good" for each in report.health]
    lines += [f"recorded in {report.attestation}"] if report.attestation else []
    return "\n".join(lines)


def _status_json(found: StackStatus) -> dict[str, Any]:
    last = found.last
    return {
        "stack": found.stack,
        "strategy": found.strategy,
        "verdict": found.verdict,
        "parts": [
            {
                "name": part.name,
                "verdict": part.verdict,
                "definition": part.definition,
                "rollout": part.rollout,
                "containers": [
                    {"container": each.container, "image": each.image, "digests": each.digests}
                    for each in part.containers
                ],
            }
            for part in found.parts
        ],
        "recorded": _state_json(found.recorded),
        "last": {
            "candidate": last.candidate,
            "attestation": last.file,
            "action": last.record.action,
            "outcome": last.record.outcome,
            "by": last.by,
            "at": last.when.isoformat(),
            "problem": last.record.problem,
        }
        if last
        else None,
        "notes": list(found.notes),
    }


def _status_text(found: StackStatus) -> str:
    lines = [f"{found.stack}: {found.verdict}"]
    rows = [row for part in found.parts for row in _rows(part)]
    if rows:
        lines.append(table(["part", "release", "container", "tasks", "manifest digest"], rows))
    lines += [f"{part.name}: {plain(part.rollout)}" for part in found.parts if part.rollout]
    if found.last is None:
        lines.append("no refresh is recorded")
    else:
        said = found.last.record
        lines.append(
            f"last: {said.action} {said.outcome}, {plain(said.release)} by {plain(found.last.by)} "
            f"at {minute(found.last.when)} [{found.last.name}]"
        )
        lines += [f"  {plain(said.problem)}"] if said.problem else []
    lines += [bullets([plain(note) for note in found.notes])] if found.notes else []
    return "\n".join(lines)


def _rows(part: PartStatus) -> list[list[str]]:
    cells = [
        [each.container, str(count), digest or "not told"]
        for each in part.containers
        for digest, count in (each.digests or {"-": 0}).items()
    ] or [["-", "-", "-"]]
    return [[part.name, part.verdict, *cells[0]], *(["", "", *rest] for rest in cells[1:])]
