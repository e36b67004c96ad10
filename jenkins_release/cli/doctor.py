"""``jenkins-release doctor``: whether this machine has what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.cli.command import Command
from jenkins_release.cli.output import Style, counted, plain, styled
from jenkins_release.cli.runtime import (
    Runtime,
    common_options,
    docker_option,
    jenkins_option,
    pass_runtime,
    region_option,
    releases_option,
    share_option,
)

if TYPE_CHECKING:
    from jenkins_release.base.checks import Check
    from jenkins_release.steps.doctor.machine import MachineReport
    from jenkins_release.steps.doctor.machines import Machine

MACHINES = ("all", "build", "qa", "approve", "promote", "publish")
"""The machines, repeated here: reading them from the step would slow down the help."""
_WORDS = {"ok": "OK", "warning": "WARNING", "fail": "FAIL", "skipped": "SKIPPED"}
_STYLES: dict[str, Style] = {"ok": "good", "warning": "open", "fail": "bad", "skipped": "quiet"}
_WIDTH = max(map(len, _WORDS.values()))


@click.command(cls=Command)
@click.option(
    "--for",
    "machine",
    type=click.Choice(MACHINES),
    default="all",
    show_default=True,
    help="What is done on this machine.",
)
@share_option
@releases_option
@docker_option
@region_option
@jenkins_option
@common_options
@pass_runtime
def doctor(runtime: Runtime, machine: str) -> None:
    """Check that this machine has all that it needs, in the order in which a release needs it.

    Changes nothing. On the share, it tries its rights in a folder that it removes again. The output has no
    secret, so it can be sent to a colleague. Exit status 0 if no check failed, otherwise that of the first
    one that did.
    """
    from jenkins_release.steps.doctor.machine import (
        MachineRequest,
        examine_machine,
        unreadable_configuration,
    )

    request = MachineRequest(cast("Machine", machine))
    try:
        services = runtime.services
    except ConfigurationError as error:
        report = unreadable_configuration(request, error)
    else:
        report = examine_machine(request, services)
    result = {
        "machine": report.machine,
        "good": report.problem() is None,
        "checks": [_json(each) for each in report.checks],
    }
    runtime.conclude(result, _text(report), report.problem())


def _json(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "status": str(check.status),
        "said": check.said,
        "hint": check.hint,
        "needs": check.needs,
    }


def _text(report: MachineReport) -> str:
    from jenkins_release.base.checks import Status

    width = max(len(check.name) for check in report.checks)
    lines = []
    for check in report.checks:
        word = styled(_WORDS[str(check.status)], _STYLES[str(check.status)])
        word += " " * (_WIDTH - len(_WORDS[str(check.status)]))
        lines.append(f"{word}  {check.name.ljust(width)}  {plain(check.said)}")
        if check.hint:
            lines.append(f"{' ' * (_WIDTH + 2 + width + 2)}to do: {plain(check.hint)}")
    told = [f"{report.count(Status.FAIL)} failed", counted(report.count(Status.WARNING), "warning")]
    told += [f"{report.count(Status.SKIPPED)} not checked"] if report.count(Status.SKIPPED) else []
    lines.append(f"{counted(len(report.checks), 'check')}: {', '.join(told)}")
    return "\n".join(lines)
