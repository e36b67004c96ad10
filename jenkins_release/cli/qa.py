"""``jenkins-release qa``: QA's verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from jenkins_release.cli.gate import gate_json, gate_text
from jenkins_release.cli.runtime import (
    Runtime,
    candidate_argument,
    common_options,
    pass_runtime,
    share_option,
)
from jenkins_release.share.candidates import CandidateRef

if TYPE_CHECKING:
    from jenkins_release.steps._attest import AttestationReport

_KEY = click.option("--key", default="", help="Tester's key, file2: or awskms:  [default: signing.qa_key]")


@click.group()
def qa() -> None:
    """Record QA's signed verdict on a candidate."""


@qa.command("sign-off")
@candidate_argument
@click.option("--verdict", type=click.Choice(["pass", "fail"]), required=True, help="The verdict.")
@click.option("--tester", required=True, help="Who tested.")
@click.option("--results", type=click.Path(path_type=Path), help="JUnit report; a pass needs one.")
@_KEY
@click.option("--note", default="", help="Remark for the record.")
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
    results: Path | None,
    key: str,
    note: str,
    accept_failures: str,
    dry_run: bool,
) -> None:
    """Sign a verdict on a candidate."""
    from jenkins_release.steps.sign_off import SignOffRequest, sign_off

    request = SignOffRequest(ref, verdict, tester, results, key, note, accept_failures, dry_run)
    report = sign_off(request, runtime.services)
    done = "would sign" if dry_run else "signed"
    tests = f" ({report.results.summary()})" if report.results else ""
    _tell(runtime, report, f"{done}: {tester} says {verdict} on {ref}{tests}")


@qa.command()
@candidate_argument
@click.option("--tester", required=True, help="Who revokes.")
@click.option("--reason", required=True, help="Why; the gate shows it.")
@_KEY
@click.option("--dry-run", is_flag=True, help="Check everything, write nothing.")
@share_option
@common_options
@pass_runtime
def revoke(runtime: Runtime, ref: CandidateRef, tester: str, reason: str, key: str, dry_run: bool) -> None:
    """Take back every sign-off that a candidate has so far."""
    from jenkins_release.steps.revoke import RevocationRequest, revoke_sign_off

    report = revoke_sign_off(RevocationRequest(ref, tester, reason, key, dry_run), runtime.services)
    done = "would revoke" if dry_run else "revoked"
    _tell(runtime, report, f"{done} the sign-offs of {ref}: {reason}")


def _tell(runtime: Runtime, report: AttestationReport, text: str) -> None:
    decision = report.decision
    result = {
        "candidate": str(report.candidate),
        "digest": report.digest,
        "attestation": report.file,
        "gate": gate_json(decision),
    }
    lines = [text, *([f"added {report.file}"] if report.file else [])]
    # Before anything is recorded, the gate can only say what it said before.
    runtime.succeed(result, "\n".join([*lines, *([gate_text(decision)] if report.file else [])]))
