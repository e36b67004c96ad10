"""``jenkins-release release attestations``: the bundle with which customers verify a release."""

from __future__ import annotations

from pathlib import Path

import click

from jenkins_release.cli.command import Command
from jenkins_release.cli.output import bullets, counted, plain, styled
from jenkins_release.cli.runtime import Runtime, common_options, pass_runtime, share_option


@click.command(cls=Command)
@click.argument("version")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File to write, such as attestations.jsonl.",
)
@click.option("--build", default="", help="Build, if several of the version were promoted.")
@click.option("--key", default="", help="Promotion key, file2: or awskms:  [default: signing.promotion_key]")
@click.option("--dry-run", is_flag=True, help="Check everything, write nothing.")
@share_option
@common_options
@pass_runtime
def attestations(runtime: Runtime, version: str, out: Path, build: str, key: str, dry_run: bool) -> None:
    """Write every attestation of a promoted candidate to one file, for 'verify'.

    It ends with a verification summary (SLSA VSA), which is signed and added to the candidate if it is
    missing or out of date.
    """
    from jenkins_release.steps.release.attestations import AttestationsRequest, write_attestations

    request = AttestationsRequest(version, out, build=build, key=key, dry_run=dry_run)
    report = write_attestations(request, runtime.services)
    passed = not report.problems
    result = {
        "candidate": str(report.candidate),
        "digest": report.digest,
        "file": str(report.out),
        "sha256": report.sha256,
        "attestations": report.attestations,
        "added": report.added,
        "head": report.head,
        "dryRun": dry_run,
        "verificationResult": "PASSED" if passed else "FAILED",
        "problems": list(report.problems),
    }
    done = "would write" if dry_run else "wrote"
    number = counted(report.attestations, "attestation")
    lines = [f"{done} {out}: candidate.json of {report.candidate} and {number}"]
    lines += [f"added {report.added}"] if report.added else []
    lines += [f"sha256:{report.sha256}"] if report.sha256 else []
    if not passed:
        lines += [f"{styled('*** FAILED ***', 'bad')} verification with it is refused:"]
        lines += [bullets([plain(problem) for problem in report.problems])]
    runtime.succeed(result, "\n".join(lines))
