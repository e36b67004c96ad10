"""``jenkins-release release attach``: statements about a release's images, in the registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from jenkins_release.cli.command import Command
from jenkins_release.cli.output import table
from jenkins_release.cli.runtime import Runtime, common_options, pass_runtime, region_option, share_option

if TYPE_CHECKING:
    from jenkins_release.steps.referrers.attach import AttachedStatement


@click.command(cls=Command)
@click.argument("version")
@click.option("--build", default="", help="Build, if several of the version were promoted.")
@click.option("--key", default="", help="Promotion key, file2: or awskms:  [default: signing.promotion_key]")
@click.option("--dry-run", is_flag=True, help="Show what would be attached, change nothing.")
@share_option
@region_option
@common_options
@pass_runtime
def attach(runtime: Runtime, version: str, build: str, key: str, dry_run: bool) -> None:
    """Attach verification summary, provenance, SBOM and VEX to the images in the registry.

    cosign verifies them. They are signed with the promotion key. What is attached already is left as it is,
    so it can be repeated.
    """
    from jenkins_release.steps.release.attach import AttachRequest, attach_attestations

    report = attach_attestations(AttachRequest(version, build, key, dry_run), runtime.services)
    result = {
        "candidate": str(report.candidate),
        "registry": report.registry,
        "changed": report.changed and not dry_run,
        "dryRun": dry_run,
        "statements": statements_json(report.statements),
    }
    done = "would attach to" if dry_run else "attached to"
    head = f"{done} the images of {report.candidate} in {report.registry}:"
    if not report.changed:
        head = f"nothing to do: attached to the images of {report.candidate} in {report.registry}"
    runtime.succeed(result, f"{head}\n{statements_text(report.statements)}")


def statements_json(statements: Sequence[AttachedStatement]) -> list[dict[str, Any]]:
    """Return what is attached, for a result."""
    return [
        {
            "image": each.image,
            "repository": each.repository,
            "digest": each.digest,
            "predicateType": each.predicate_type,
            "artifact": each.artifact,
            "added": each.added,
        }
        for each in statements
    ]


def statements_text(statements: Sequence[AttachedStatement]) -> str:
    """Return what is attached, as a table."""
    rows = [
        [each.repository, each.predicate_type, each.artifact or "-", "new" if each.added else "was there"]
        for each in statements
    ]
    return table(["repository", "predicate type", "attached as", ""], rows)
