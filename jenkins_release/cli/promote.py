"""``jenkins-release promote``: from a validated candidate to the customers' registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jenkins_release.base.errors import GateRefused, IntegrityError
from jenkins_release.base.moments import second
from jenkins_release.cli.attach import statements_json, statements_text
from jenkins_release.cli.checks import AWAITED, write_checks
from jenkins_release.cli.command import Group
from jenkins_release.cli.forecast import forecast_json, forecast_text
from jenkins_release.cli.gate import gate_json, gate_text, overridden_text, recorded_text, trust_text
from jenkins_release.cli.launch import job_status_command, launch
from jenkins_release.cli.output import bullets, styled, table
from jenkins_release.cli.plan import plan_json, plan_text, question
from jenkins_release.cli.runtime import (
    Runtime,
    candidate_argument,
    common_options,
    docker_option,
    jenkins_option,
    pass_runtime,
    region_option,
    share_option,
)
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.context.local_files import remove_file

if TYPE_CHECKING:
    from jenkins_release.records.journal import JournalEntry
    from jenkins_release.steps.promotion.approve import ApprovalReport

_JOURNAL_LINES = 8


@click.group(cls=Group, example="jenkins-release promote plan 8.1.0/42 --out plan.json")
def promote() -> None:
    """Bring a validated candidate to the registry that customers pull from."""


@promote.command()
@candidate_argument
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan here, to approve it."
)
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write an HTML page to this file, and its style sheet beside it.",
)
@click.option(
    "--checks",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the gate's conditions to this file, as a JUnit report that skips what an approval settles.",
)
@click.option(
    "--key",
    default="",
    help="Key that signs who requests the plan, file2: or awskms:  [default: signing.request_key]",
)
@share_option
@region_option
@common_options
@pass_runtime
def plan(
    runtime: Runtime, ref: CandidateRef, out: Path | None, page: Path | None, checks: Path | None, key: str
) -> None:
    """Show what a promotion would do. Changes nothing, but with a key it records who requests the plan."""
    from jenkins_release.rules.release.verdicts import told_verdicts
    from jenkins_release.steps.candidate.opened import open_candidate, reopen
    from jenkins_release.steps.promotion.forecast import forecast_promotion
    from jenkins_release.steps.promotion.plan import ask_for_approval, plan_candidate, write_plan
    from jenkins_release.steps.promotion.promote import recorded_promotion
    from jenkins_release.steps.promotion.request import PlanRequest, ask_for_plan
    from jenkins_release.steps.release.releases import publication_recorded

    if key and out is None:
        raise click.UsageError("--key signs the request for the plan that --out writes: give both")
    if checks is not None:
        remove_file(checks, "the report of checks")
    request = head = ""
    if out is not None and (key or runtime.services.configuration.signing.request_key):
        asked, opened = ask_for_plan(PlanRequest(ref, key), runtime.services)
        made, decision, request, head = asked.plan, asked.decision, asked.file, asked.head
    else:
        opened = open_candidate(ref, runtime.services)
        made, decision = plan_candidate(opened, runtime.services)
    expected = forecast_promotion(made, runtime.services)
    text = f"{plan_text(made)}{forecast_text(expected)}\n{gate_text(decision)}"
    if request:
        text += f"\n{made.requester} requests it, recorded in {request}"
    # The candidate is read again: the work may be recorded by now.
    opened = reopen(opened)
    promoted = bool(made.images and recorded_promotion(opened, made))
    published = publication_recorded(opened)
    if promoted:
        text += f"\nnothing to do: {ref} is promoted to {made.registry}"
    if out is not None:
        write_plan(made, out)
        if not promoted:
            ask_for_approval(made, decision, runtime.services)
        text += f"\nwrote {out}; approve it with 'jenkins-release promote approve {out}'"
    verdicts = told_verdicts(opened.evidence, decision)
    done = promoted and (published or not made.installers) if made.images else published
    if checks is not None:
        write_checks(decision, checks, f"nothing to do: {ref} is released" if done else "", AWAITED)
    if page is not None:
        from jenkins_release.steps.overview.plan_page import view_plan, write_plan_page

        write_plan_page(view_plan(opened, made, decision, expected, runtime.services, done=done), page)
        text += f"\nwrote {page} and {page.with_suffix('.css').name}"
    result = plan_json(made) | {"planDigest": made.digest, "gate": gate_json(decision)}
    result["forecast"] = forecast_json(expected)
    result["promoted"] = promoted
    result["published"] = published
    result["request"] = request
    result["question"] = question(made, verdicts)
    result |= {"head": head} if request else {}
    runtime.succeed(result, text)


@promote.command()
@click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--approver",
    default="",
    help="Who approves; never the requester, builder or tester.  [default: the key's owner]",
)
@click.option("--reason", required=True, help="Why; recorded.")
@click.option("--key", default="", help="Approval key, file2: or awskms:  [default: signing.approval_key]")
@click.option(
    "--same-build",
    is_flag=True,
    help="This Jenkins build promotes too: the user who started it counts as the requester.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, write nothing.")
@share_option
@region_option
@common_options
@pass_runtime
def approve(
    runtime: Runtime,
    plan_file: Path,
    approver: str,
    reason: str,
    key: str,
    same_build: bool,
    dry_run: bool,
) -> None:
    """Sign the approval of exactly one plan.

    Nothing is signed if the gate would not count it. If you run it again with the same arguments, it finds
    what it has signed.
    """
    from jenkins_release.steps.promotion.approve import ApprovalRequest, approve_plan

    request = ApprovalRequest(plan_file, approver, reason, key, dry_run, same_build)
    report = approve_plan(request, runtime.services)
    done = "would approve" if dry_run else "approved"
    _tell_decision(runtime, report, f"{report.by} {done} the plan {report.plan.digest}: {reason}")


@promote.command()
@click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--condition", "conditions", multiple=True, required=True, help="Condition to waive; may be repeated."
)
@click.option("--by", default="", help="Who decides.  [default: the key's owner]")
@click.option("--reason", required=True, help="Why; recorded, and shown wherever the release is.")
@click.option("--key", default="", help="Override key, file2: or awskms:  [default: signing.override_key]")
@click.option("--dry-run", is_flag=True, help="Check everything, write nothing.")
@share_option
@region_option
@common_options
@pass_runtime
def override(
    runtime: Runtime,
    plan_file: Path,
    conditions: tuple[str, ...],
    by: str,
    reason: str,
    key: str,
    dry_run: bool,
) -> None:
    """Break glass: sign that one plan may be released although conditions are not met."""
    from jenkins_release.steps.promotion.approve import OverrideRequest, override_gate

    request = OverrideRequest(plan_file, conditions, by, reason, key, dry_run)
    report = override_gate(request, runtime.services)
    done, named = "would override" if dry_run else "OVERRIDES", ", ".join(conditions)
    _tell_decision(runtime, report, f"{report.by} {done} {named} for {report.plan.digest}: {reason}")


@promote.command()
@candidate_argument
@click.option("--key", default="", help="Promotion key, file2: or awskms:  [default: signing.promotion_key]")
@click.option("--dry-run", is_flag=True, help="Check gate and plan, change nothing.")
@click.option(
    "--checks",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the gate's conditions to this file, as a JUnit report.",
)
@share_option
@docker_option
@region_option
@common_options
@pass_runtime
def run(runtime: Runtime, ref: CandidateRef, key: str, dry_run: bool, checks: Path | None) -> None:
    """Promote a candidate, or finish a promotion that died."""
    from jenkins_release.steps.promotion.plan import plan_promotion
    from jenkins_release.steps.promotion.promote import PromoteRequest, promote

    if checks is not None:
        remove_file(checks, "the report of checks")
    try:
        report = promote(PromoteRequest(ref, key, dry_run), runtime.services)
    except (GateRefused, IntegrityError):
        if checks is not None:
            write_checks(plan_promotion(ref, runtime.services)[1], checks)
        raise
    nothing = f"nothing to do: {ref} is promoted to {report.plan.registry}"
    settled = bool(report.attestation) and not report.changed
    if checks is not None:
        write_checks(report.decision, checks, nothing if settled else "")
    result: dict[str, Any] = {
        "candidate": str(ref),
        "digest": report.plan.candidate,
        "registry": report.plan.registry,
        "changed": report.changed,
        "dryRun": dry_run,
        "attestation": report.attestation,
        "head": report.head,
        "seconds": round(report.seconds, 3),
        "images": [
            {
                "name": image.name,
                "repository": image.repository,
                "digest": image.digest,
                **image.identity_claim(),
                "tags": list(image.tags),
                "pushed": image.pushed,
            }
            for image in report.images
        ],
    }
    attachment = report.attachment
    if attachment is not None:
        result["attached"] = statements_json(attachment.statements)
        result["attachProblem"] = attachment.problem
        result["attachCommand"] = attachment.command
    result["gate"] = gate_json(report.decision)
    if dry_run:
        found = nothing if settled else "the gate is open"
        runtime.succeed(
            result | {"plan": plan_json(report.plan)},
            f"{found}{trust_text(report.decision)}\n{plan_text(report.plan)}",
        )
        return
    rows = [
        [i.repository, ",".join(i.tags), i.digest, "pushed" if i.pushed else "was there"]
        for i in report.images
    ]
    head = (
        f"promoted {ref} to {report.plan.registry} in {report.seconds:.1f} s" if report.changed else nothing
    )
    columns = ["repository", "tags", "manifest digest", "image"]
    proven = "every manifest names the config digest that QA validated"
    if not all(image.config_digest for image in report.images):
        proven = "every manifest or index is the one that QA validated"
    text = f"{head}\n{table(columns, rows)}\n{styled('proven:', 'good')} {proven}"
    text += f"\nrecorded in {report.attestation}"
    if attachment is not None and attachment.problem:
        text += f"\nnot attached: {attachment.problem}\nto try again: {attachment.command}"
    elif attachment is not None:
        text += f"\nattached to the images:\n{statements_text(attachment.statements)}"
    if not report.decision.allowed:
        text += f"\nnote: the gate is shut now\n{bullets(report.decision.reasons)}"
    runtime.succeed(result, text + trust_text(report.decision) + overridden_text(report.decision))


promote.add_command(launch)


@promote.command()
@candidate_argument
@click.option("--job", is_flag=True, help="Show the promote job on Jenkins instead.")
@click.option("--request-id", default="", help="With --job: of this launch  [default: the last one]")
@click.option("--follow", is_flag=True, help="With --job: follow the build to its result.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    help="With --follow: stop after this many seconds.",
)
@click.option(
    "--console-from", type=click.IntRange(min=0), default=0, help="With --follow: show from this byte."
)
@share_option
@region_option
@jenkins_option
@common_options
@pass_runtime
def status(
    runtime: Runtime,
    ref: CandidateRef,
    job: bool,
    request_id: str,
    follow: bool,
    timeout_s: float | None,
    console_from: int,
) -> None:
    """Show the state of a promotion, from the registry and the share.

    With --job, show the promote job on Jenkins instead. Ctrl-C stops following with status 130; the build
    goes on.
    """
    if job:
        job_status_command(runtime, ref, request_id, follow, timeout_s, console_from)
        return
    if request_id or follow or timeout_s is not None or console_from:
        raise click.UsageError("--request-id, --follow, --timeout and --console-from need --job")
    from jenkins_release.steps.promotion.status import promotion_status

    found = promotion_status(ref, runtime.services)
    result = {
        "candidate": str(ref),
        "state": found.state,
        "attestation": found.attestation,
        "gate": gate_json(found.decision),
        "plan": plan_json(found.plan),
        "journal": [_entry_json(entry) for entry in found.journal],
    }
    rows = [[i.repository, i.state, i.digest or "-"] for i in found.plan.images]
    lines = [
        f"{ref}: {found.state}" + (f" in {found.attestation}" if found.attestation else ""),
        table(["repository", "state", "manifest digest"], rows),
        gate_text(found.decision),
    ]
    if found.journal:
        last = [_entry_text(entry) for entry in found.journal[-_JOURNAL_LINES:]]
        lines += ["last in the journal:", bullets(last)]
    runtime.succeed(result, "\n".join(lines))


def _entry_json(entry: JournalEntry) -> dict[str, Any]:
    image = entry.image
    return {
        "at": entry.at.isoformat(),
        "event": entry.event,
        "image": image.name if image else None,
        "repository": image.repository if image else None,
        "digest": image.digest if image else None,
        "run": entry.run.id,
        "by": entry.run.by,
        "host": entry.run.host,
        "buildUrl": entry.run.build_url,
    }


def _entry_text(entry: JournalEntry) -> str:
    what = f"{entry.event} {entry.image.name}" if entry.image else entry.event
    build = f" ({entry.run.build_url})" if entry.run.build_url else ""
    return f"{second(entry.at)}: {what} by {entry.run.by} on {entry.run.host}{build}"


def _tell_decision(runtime: Runtime, report: ApprovalReport, text: str) -> None:
    result = {
        "candidate": f"{report.plan.version}/{report.plan.build}",
        "planDigest": report.plan.digest,
        "attestation": report.file,
        "head": report.head,
        "gate": gate_json(report.decision),
    }
    told = recorded_text(report.file, found=report.found)
    runtime.succeed(result, "\n".join([text, *told, gate_text(report.decision)]))
