"""``jenkins-release qa``: QA's verdict."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from jenkins_release.cli.command import Group
from jenkins_release.cli.gate import gate_json, gate_text, recorded_text
from jenkins_release.cli.output import plain, styled, tell
from jenkins_release.cli.runtime import (
    Runtime,
    candidate_argument,
    common_options,
    pass_runtime,
    result_options,
    share_option,
)
from jenkins_release.share.candidates import CandidateRef

if TYPE_CHECKING:
    from jenkins_release.steps.candidate.attest import AttestationReport

F = TypeVar("F", bound=Callable[..., Any])
_KEY = click.option("--key", default="", help="Tester's key, file2: or awskms:  [default: signing.qa_key]")


def _results_option(*, required: bool, more: str = "") -> Callable[[F], F]:
    return click.option(
        "--results",
        multiple=True,
        required=required,
        metavar="FILE",
        help=f"JUnit report, or a pattern such as '**/TEST-*.xml'; may be repeated.{more}",
    )


@click.group(cls=Group, example="jenkins-release qa sign-off 8.1.0/42 --verdict pass --results 'TEST-*.xml'")
def qa() -> None:
    """Record QA's signed verdict on a candidate."""


@qa.command("sign-off")
@candidate_argument
@click.option("--verdict", type=click.Choice(["pass", "fail"]), required=True, help="The verdict.")
@click.option("--tester", default="", help="Who tested.  [default: the key's owner]")
@_results_option(required=False, more=" A pass needs one.")
@_KEY
@click.option("--note", default="", help="Note for the record.")
@click.option("--digest", default="", help="Digest that was tested  [default: that of this user's receipt]")
@click.option(
    "--without-receipt",
    default="",
    metavar="REASON",
    help="Pass, although it is unknown what was tested; recorded.",
)
@click.option("--accept-failures", default="", metavar="REASON", help="Pass although tests failed; recorded.")
@click.option("--dry-run", is_flag=True, help="Check everything, write nothing.")
@share_option
@common_options
@pass_runtime
def sign_off_command(
    runtime: Runtime,
    ref: CandidateRef,
    verdict: Literal["pass", "fail"],
    tester: str,
    results: tuple[str, ...],
    key: str,
    note: str,
    digest: str,
    without_receipt: str,
    accept_failures: str,
    dry_run: bool,
) -> None:
    """Sign a verdict on a candidate."""
    from jenkins_release.steps.qa.sign_off import SignOffRequest, sign_off

    request = SignOffRequest(
        ref, verdict, tester, results, key, note, accept_failures, dry_run, digest, without_receipt
    )
    report = sign_off(request, runtime.services)
    done = "would sign" if dry_run else "signed"
    tests = f" ({report.results.summary()})" if report.results else ""
    _tell(runtime, report, f"{done}: {report.by} says {verdict} on {ref}{tests}")


@qa.command()
@_results_option(required=True)
@click.option(
    "--newer-than",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Refuse an older report: it is from an earlier test run.",
)
@click.option("--remove", is_flag=True, help="Remove the reports before the tests run.")
@result_options
@pass_runtime
def results(runtime: Runtime, results: tuple[str, ...], newer_than: Path | None, remove: bool) -> None:
    """Count the tests in JUnit reports as sign-off does, or remove the reports of an earlier run."""
    from jenkins_release.steps.qa.results import read_results, remove_results

    if remove:
        removed = [str(file) for file in remove_results(results)]
        runtime.succeed({"removed": removed}, "\n".join(f"removed {file}" for file in removed))
        return
    found = read_results(results, newer_than)
    for reason in found.contradictions:
        tell(f"{styled('warning:', 'open', sys.stderr)} {plain(reason)}", err=True)
    failed = [f"failed: {each}" for each in found.failures()]
    result = {
        "reports": [{"name": name, "sha256": digest} for name, digest in found.reports],
        **found.counts(),
        "failures": found.failures(),
        "contradictions": list(found.contradictions),
    }
    runtime.succeed(result, "\n".join([found.summary(), *failed]))


@qa.command()
@candidate_argument
@click.option("--tester", default="", help="Who revokes.  [default: the key's owner]")
@click.option("--reason", required=True, help="Why; the gate shows it.")
@_KEY
@click.option("--dry-run", is_flag=True, help="Check everything, write nothing.")
@share_option
@common_options
@pass_runtime
def revoke(runtime: Runtime, ref: CandidateRef, tester: str, reason: str, key: str, dry_run: bool) -> None:
    """Revoke every sign-off of a candidate so far."""
    from jenkins_release.steps.qa.revoke import RevocationRequest, revoke_sign_off

    report = revoke_sign_off(RevocationRequest(ref, tester, reason, key, dry_run), runtime.services)
    done = "would revoke" if dry_run else "revoked"
    _tell(runtime, report, f"{done} the sign-offs of {ref}: {reason}")


def _tell(runtime: Runtime, report: AttestationReport, text: str) -> None:
    decision = report.decision
    result = {
        "candidate": str(report.candidate),
        "digest": report.digest,
        "attestation": report.file,
        "head": report.head,
        "gate": gate_json(decision),
        **({"tested": report.tested} if report.tested is not None else {}),
    }
    lines = [text, *recorded_text(report.file, found=report.found)]
    # Before anything is recorded, the gate's decision is unchanged.
    runtime.succeed(result, "\n".join([*lines, *([gate_text(decision)] if report.file else [])]))
