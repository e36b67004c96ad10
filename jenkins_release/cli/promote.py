"""``jenkins-release promote``: from a validated candidate to the customers' registry."""

from __future__ import annotations

from typing import Any

import click

from jenkins_release.cli.output import bullets, size, table
from jenkins_release.cli.runtime import (
    Runtime,
    candidate_argument,
    common_options,
    docker_option,
    pass_runtime,
    region_option,
    share_option,
)
from jenkins_release.records.plan import Plan, TagNow
from jenkins_release.share.candidates import CandidateRef


@click.group()
def promote() -> None:
    """Bring a validated candidate to the registry that customers pull from."""


@promote.command()
@candidate_argument
@share_option
@region_option
@common_options
@pass_runtime
def plan(runtime: Runtime, ref: CandidateRef) -> None:
    """Show what a promotion would do. Changes nothing."""
    from jenkins_release.steps.plan import plan_promotion

    made = plan_promotion(ref, runtime.services)
    runtime.succeed(_plan_json(made), _plan_text(made))


@promote.command()
@candidate_argument
@click.option("--key", default="", help="Promotion key, file2:PATH  [default: signing.promotion_key]")
@click.option("--dry-run", is_flag=True, help="Check gate and plan, change nothing.")
@share_option
@docker_option
@region_option
@common_options
@pass_runtime
def run(runtime: Runtime, ref: CandidateRef, key: str, dry_run: bool) -> None:
    """Promote a candidate, or finish a promotion that died."""
    from jenkins_release.steps.promote import PromoteRequest, promote

    report = promote(PromoteRequest(ref, key, dry_run), runtime.services)
    result: dict[str, Any] = {
        "candidate": str(ref),
        "digest": report.plan.candidate,
        "registry": report.plan.registry,
        "changed": report.changed,
        "dryRun": dry_run,
        "attestation": report.attestation,
        "seconds": round(report.seconds, 3),
        "images": [
            {
                "name": image.name,
                "repository": image.repository,
                "digest": image.digest,
                "configDigest": image.config_digest,
                "tags": list(image.tags),
                "pushed": image.pushed,
            }
            for image in report.images
        ],
    }
    if dry_run:
        runtime.succeed(
            result | {"plan": _plan_json(report.plan)}, f"the gate is open\n{_plan_text(report.plan)}"
        )
        return
    rows = [
        [i.repository, ",".join(i.tags), i.digest, "pushed" if i.pushed else "was there"]
        for i in report.images
    ]
    head = (
        f"promoted {ref} to {report.plan.registry} in {report.seconds:.1f} s"
        if report.changed
        else f"nothing to do: {ref} is promoted to {report.plan.registry}"
    )
    columns = ["repository", "tags", "manifest digest", "image"]
    text = f"{head}\n{table(columns, rows)}\nproven: every manifest names the config digest that QA validated"
    runtime.succeed(result, f"{text}\nrecorded in {report.attestation}")


@promote.command()
@candidate_argument
@share_option
@region_option
@common_options
@pass_runtime
def status(runtime: Runtime, ref: CandidateRef) -> None:
    """Tell from the registry and the share where a promotion stands."""
    from jenkins_release.steps.status import promotion_status

    found = promotion_status(ref, runtime.services)
    reasons = [*found.decision.altered, *found.decision.reasons]
    result = {
        "candidate": str(ref),
        "state": found.state,
        "attestation": found.attestation,
        "gate": {"open": found.decision.allowed, "reasons": reasons},
        "plan": _plan_json(found.plan),
    }
    rows = [[i.repository, i.state, i.digest or "-"] for i in found.plan.images]
    lines = [
        f"{ref}: {found.state}" + (f" in {found.attestation}" if found.attestation else ""),
        table(["repository", "state", "manifest digest"], rows),
        f"gate: {'open' if found.decision.allowed else 'shut'}",
        *([bullets(reasons)] if reasons else []),
    ]
    runtime.succeed(result, "\n".join(lines))


def _plan_json(plan: Plan) -> dict[str, Any]:
    return plan.model_dump(mode="json", by_alias=True)


def _plan_text(plan: Plan) -> str:
    rows = []
    for image in plan.images:
        todo = {"absent": "push", "pushed": "set tags", "released": "nothing"}[image.state]
        exists = "" if image.repository_exists else " (create)"
        now = ", ".join(_tag_text(tag) for tag in image.tags)
        moved = f"up to {size(image.push_bytes)}" if image.push_bytes else "-"
        rows.append([image.name, image.repository + exists, now, todo, moved])
    columns = ["image", "repository", "tag now", "to do", "bytes"]
    total = sum(image.push_bytes for image in plan.images)
    lines = [
        f"plan for {plan.product} {plan.version}/{plan.build} to {plan.registry}",
        f"candidate.json {plan.candidate}",
        table(columns, rows),
        f"to push: {'up to ' + size(total) if total else 'nothing'}",
    ]
    obstacles = [*plan.occupied, *plan.obstacles]
    return "\n".join([*lines, *(["in the way:", bullets(obstacles)] if obstacles else [])])


def _tag_text(tag: TagNow) -> str:
    return f"{tag.tag}: {tag.digest[:19] + '...' if tag.digest else 'free'}"
