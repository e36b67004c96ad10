"""``jenkins-release release``: publishes a version, shows its history, and takes it back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.cli.attach import attach
from jenkins_release.cli.attestations import attestations
from jenkins_release.cli.board import board
from jenkins_release.cli.command import Group
from jenkins_release.cli.compare import compare
from jenkins_release.cli.output import counted, for_a_file, plain, table
from jenkins_release.cli.portal import portal, removal_json, removal_text
from jenkins_release.cli.runtime import (
    Runtime,
    candidate_argument,
    common_options,
    pass_runtime,
    region_option,
    releases_option,
    share_option,
)
from jenkins_release.share.candidates import CandidateRef


@click.group(cls=Group, example="jenkins-release release publish 8.1.0/42")
def release() -> None:
    """Publish a version, show its history, withdraw or retire it."""


release.add_command(attach)
release.add_command(attestations)
release.add_command(board)
release.add_command(compare)
release.add_command(portal)


@release.command()
@click.argument("version")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Also write the page to this file."
)
@share_option
@common_options
@pass_runtime
def history(runtime: Runtime, version: str, out: Path | None) -> None:
    """Show the history of a version over all its builds. Exit status 4 if it was altered."""
    from jenkins_release.cli.story import history_json, history_text
    from jenkins_release.steps.context.local_files import write_file
    from jenkins_release.steps.overview.history import release_history

    found = release_history(version, runtime.services)
    if out is not None:
        with for_a_file():
            write_file(out, f"{history_text(found)}\n".encode(), "the history")
    runtime.conclude(history_json(found), history_text(found), found.problem())


@release.command()
@candidate_argument
@click.option(
    "--setup-zip",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Setup zip to publish too, if the candidate does not have it.",
)
@click.option("--key", default="", help="Promotion key, file2: or awskms:  [default: signing.promotion_key]")
@click.option("--dry-run", is_flag=True, help="Check everything, show what would be published.")
@share_option
@releases_option
@region_option
@common_options
@pass_runtime
def publish(runtime: Runtime, ref: CandidateRef, setup_zip: Path | None, key: str, dry_run: bool) -> None:
    """Copy a candidate's installers to the release area, or finish a publication that died."""
    from jenkins_release.cli.publications import publication_json, publication_text
    from jenkins_release.steps.publication.publish import PublishRequest, publish_release

    report = publish_release(PublishRequest(ref, setup_zip, key, dry_run), runtime.services)
    runtime.succeed(publication_json(report, dry_run), publication_text(report, dry_run))


@release.command("list")
@share_option
@releases_option
@common_options
@pass_runtime
def list_(runtime: Runtime) -> None:
    """List what was released, and what it waits for.

    Exit status 4 where a release is not provable, or was altered.
    """
    from jenkins_release.cli.publications import releases_json, releases_text
    from jenkins_release.steps.overview.listing import altered_releases, list_releases

    found = list_releases(runtime.services)
    runtime.conclude({"releases": releases_json(found)}, releases_text(found), altered_releases(found))


@release.command()
@click.option("--key", default="", help="Promotion key, file2: or awskms:  [default: signing.promotion_key]")
@click.option(
    "--portal", "from_portal", is_flag=True, help="Remove unsupported releases from the portal too."
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, change nothing.")
@share_option
@region_option
@common_options
@pass_runtime
def retire(runtime: Runtime, key: str, from_portal: bool, dry_run: bool) -> None:
    """Remove the tags of releases outside the support window from the registry; see [support]."""
    from jenkins_release.steps.end_of_life.retire import RetireRequest, retire_releases

    report = retire_releases(RetireRequest(key, dry_run, from_portal), runtime.services)
    result: dict[str, Any] = {
        "supported": list(report.supported),
        "dryRun": dry_run,
        "removed": [asdict(each) for each in report.removed],
        "kept": [{**asdict(each), "reason": reason} for each, reason in report.kept],
        "attestations": {str(ref): file for ref, file in report.attestations.items()},
        "heads": {str(ref): head for ref, head in report.heads.items()},
        "portal": [removal_json(each, dry_run) for each in report.portal],
        "keptListed": [asdict(each) for each in report.kept_listed],
    }
    lines = [f"supported: {', '.join(report.supported) or 'everything'}"]
    if report.removed:
        lines.append("would remove:" if dry_run else "removed:")
        rows = [[each.repository, plain(each.tag), each.digest] for each in report.removed]
        lines.append(table(["repository", "tag", "manifest digest"], rows))
    else:
        lines.append("nothing to remove")
    lines += [f"kept {each.repository}:{plain(each.tag)}: {reason}" for each, reason in report.kept]
    lines += [f"kept {each.repository}@{each.digest}: {each.reason}" for each in report.kept_listed]
    lines += [f"recorded in {file} of {ref}" for ref, file in report.attestations.items()]
    lines += [removal_text(each, dry_run) for each in report.portal]
    runtime.succeed(result, "\n".join(lines))


@release.command()
@click.argument("version")
@click.option("--reason", required=True, help="Why; recorded, and shown wherever the release is.")
@click.option("--build", default="", help="Build, if several of the version are released.")
@click.option("--key", default="", help="Promotion key, file2: or awskms:  [default: signing.promotion_key]")
@click.option("--dry-run", is_flag=True, help="Check everything, show what would be done, change nothing.")
@click.option("--delete", is_flag=True, help="Delete the images of a withdrawn release for good.")
@click.option(
    "--confirm",
    default="",
    metavar="VERSION/BUILD",
    help="What --delete deletes; without it, nothing is deleted.",
)
@share_option
@region_option
@common_options
@pass_runtime
def withdraw(
    runtime: Runtime,
    version: str,
    reason: str,
    build: str,
    key: str,
    dry_run: bool,
    delete: bool,
    confirm: str,
) -> None:
    """Remove the customer-visible tags of a release; the images stay under their digests.

    With --delete, the images of a withdrawn release are deleted for good.
    """
    if delete:
        from jenkins_release.cli.deletion import deletion_json, deletion_text
        from jenkins_release.steps.end_of_life.deletion import DeletionRequest, delete_images

        wanted = DeletionRequest(version, reason, build, confirm, key, dry_run)
        deleted = delete_images(wanted, runtime.services)
        runtime.succeed(deletion_json(deleted), deletion_text(deleted))
        return
    if confirm:
        raise ConfigurationError("--confirm needs --delete", hint="'release withdraw --help' tells more")
    from jenkins_release.cli.statements import withdrawn_table
    from jenkins_release.steps.end_of_life.withdraw import WithdrawRequest, withdraw_release

    report = withdraw_release(WithdrawRequest(version, reason, build, key, dry_run), runtime.services)
    result: dict[str, Any] = {
        "candidate": str(report.candidate),
        "registry": report.registry,
        "changed": report.changed,
        "dryRun": dry_run,
        "attestation": report.attestation,
        "head": report.head,
        "images": [image.model_dump(mode="json", by_alias=True) for image in report.images],
        "returns": {tag: str(ref) for tag, ref in report.returns.items()},
        "statementsRemoved": report.statements,
    }
    were = "would be" if dry_run else "were"
    removed = f"{counted(report.statements, 'statement')} about it {were} removed"
    if not report.registry:
        done = "withdrew" if report.changed else "would withdraw" if dry_run else "was already withdrawn:"
        recorded = f"\nrecorded in {report.attestation}" if report.attestation else ""
        runtime.succeed(result, f"{done} {report.candidate}: {plain(reason)}{recorded}")
        return
    if not report.images:
        nothing = f"{removed}: " if report.statements else "nothing to do: "
        text = f"{nothing}{report.candidate} is withdrawn from {report.registry}"
        runtime.succeed(result, f"{text}\nrecorded in {report.attestation}")
        return
    done = "would withdraw" if dry_run else "withdrew"
    lines = [f"{done} {report.candidate} from {report.registry}: {plain(reason)}"]
    lines.append(withdrawn_table(result["images"]))
    lines += [f"{tag} returns to {ref}" for tag, ref in report.returns.items()]
    lines += [f"{removed} from the images"] if report.statements else []
    lines += [f"recorded in {report.attestation}"] if report.attestation else []
    runtime.succeed(result, "\n".join(lines))
