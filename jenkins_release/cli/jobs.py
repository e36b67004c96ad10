"""``jenkins-release jobs``: the job definitions on the controller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.cli.command import Group
from jenkins_release.cli.output import plain, table
from jenkins_release.cli.runtime import Runtime, common_options, jenkins_option, pass_runtime

if TYPE_CHECKING:
    from jenkins_release.steps.jenkins.jobs import JobFormat, JobsReport


@click.group(cls=Group, example="jenkins-release jobs diff")
def jobs() -> None:
    """Create and update the Jenkins jobs of the product."""


@jobs.command()
@click.option("--adopt", is_flag=True, help="Take over jobs with these names that this tool does not manage.")
@click.option("--dry-run", is_flag=True, help="Check everything, change nothing.")
@jenkins_option
@common_options
@pass_runtime
def apply(runtime: Runtime, adopt: bool, dry_run: bool) -> None:
    """Create the folders and the jobs, or update them.

    The jobs of each role are in a separate folder: a build can bind the credentials of every folder that its
    job is in. Only description, parameters and script source of a job are changed.
    """
    from jenkins_release.steps.jenkins.jobs import JobsRequest, apply_jobs

    report = apply_jobs(JobsRequest(adopt, dry_run), runtime.services)
    done = "nothing to do" if not report.changed else "applied" if report.applied else "would apply"
    runtime.succeed(_json(report), "\n".join([f"{done}: {report.url}", _table(report), *_notes(report)]))


@jobs.command()
@jenkins_option
@common_options
@pass_runtime
def diff(runtime: Runtime) -> None:
    """Show what apply would change, as a unified diff."""
    from jenkins_release.steps.jenkins.jobs import diff_jobs

    report = diff_jobs(runtime.services)
    differences = [line for item in report.items for line in item.diff.splitlines()]
    foreign = [f"{item.path}: {item.foreign}; --adopt takes it over" for item in report.items if item.foreign]
    lines = [*(plain(line) for line in differences), *foreign] or [f"no difference: {report.url}"]
    runtime.succeed(_json(report), "\n".join([*lines, *_notes(report)]))


@jobs.command()
@click.argument("item", default="")
@click.option(
    "--format",
    "form",
    type=click.Choice(["job-dsl", "jcasc", "xml"]),
    default="job-dsl",
    show_default=True,
    help="For a seed job, for Configuration as Code, or as config.xml.",
)
@common_options
@pass_runtime
def show(runtime: Runtime, item: str, form: JobFormat) -> None:
    """Write the folders and the jobs as text, to apply them otherwise.

    ITEM is the full name of one of them, such as SkyDRM/release/promote; all by default. Needs no controller.
    """
    from jenkins_release.steps.jenkins.jobs import show_jobs

    shown = show_jobs(form, runtime.services)
    found = [each for each in shown.items if item in {"", each.path}]
    if not found:
        raise ConfigurationError(
            f"{item} is neither a folder nor a job of release.toml",
            hint=f"name one of {', '.join(each.path for each in shown.items)}",
        )
    items = [{"path": each.path, "kind": each.kind, "text": each.text} for each in found]
    text = found[0].text if item else shown.text
    runtime.succeed({"format": form, "text": text, "items": items}, text.removesuffix("\n"))


def _json(report: JobsReport) -> dict[str, Any]:
    return {
        "url": report.url,
        "changed": report.changed,
        "applied": report.applied,
        "items": [
            {
                "path": item.path,
                "kind": item.kind,
                "action": item.action,
                "foreign": item.foreign,
                "diff": item.diff,
            }
            for item in report.items
        ],
        "left": [{"path": job.path, "why": job.why, "misplaced": job.misplaced} for job in report.left],
        "inherited": [
            {"folder": keys.folder, "credentials": list(keys.credentials)} for keys in report.inherited
        ],
    }


def _notes(report: JobsReport) -> list[str]:
    return [
        *(f"note: {plain(job.path)} {job.why}" for job in report.left),
        *(
            f"note: every job in {plain(keys.folder)} can bind what its folder holds: "
            f"{plain(', '.join(keys.credentials))}; keys belong in the folders by role"
            for keys in report.inherited
        ),
    ]


def _table(report: JobsReport) -> str:
    return table(["item", "kind", "action"], [[item.path, item.kind, item.action] for item in report.items])
