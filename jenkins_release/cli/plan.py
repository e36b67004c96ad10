"""A promotion plan, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jenkins_release.base.text import shortened
from jenkins_release.cli.output import bullets, counted, plain, size, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jenkins_release.records.plan import Plan, PlannedImage, TagNow
    from jenkins_release.rules.release.verdicts import ToldVerdict


# Jenkins keeps the question in the environment of the build, in which a kernel allows 128 KiB for a variable.
_VERDICTS, _LINE = 20, 1000


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return a plan for programs."""
    found = plan.model_dump(mode="json", by_alias=True)
    for image in found["images"]:
        # Of the two identities, an image has one.
        del image["config_digest" if image["config_digest"] is None else "index_digest"]
    return found


def plan_text(plan: Plan) -> str:
    """Return a plan for people."""
    rows = []
    for image in plan.images:
        todo = {"absent": "push", "pushed": "set tags", "released": "nothing"}[image.state]
        exists = "" if image.repository_exists else " (create)"
        now = ", ".join(_tag_text(tag) for tag in image.tags)
        moved = _bytes_text(image) if image.state == "absent" else "-"
        rows.append([image.name, image.repository + exists, now, todo, moved])
    columns = ["image", "repository", "tag now", "to do", "bytes"]
    total = sum(image.push_bytes for image in plan.images)
    exact = all(image.push_exact for image in plan.images if image.push_bytes)
    lines = [
        f"plan for {plan.product} {plan.version}/{plan.build}"
        + (f" to {plan.registry}" if plan.registry else ""),
        f"candidate.json {plan.candidate}",
        f"plan {plan.digest}, requested by {plan.requester}",
    ]
    if plan.images:
        lines.append(table(columns, rows))
        lines.append(f"to push: {('' if exact else 'up to ') + size(total) if total else 'nothing'}")
    if plan.installers:
        where = plan.release_area or "nowhere: share.releases is not set"
        lines.append(f"{counted(len(plan.installers), 'installer')} to publish, to {where}")
        lines.append(bullets(plan.installers))
    obstacles = [*plan.occupied, *plan.obstacles]
    return "\n".join([*lines, *(["in the way:", bullets(obstacles)] if obstacles else [])])


def question(plan: Plan, verdicts: Sequence[ToldVerdict]) -> str:
    """Return what an approver has to know before the answer, one sentence a line: for Jenkins' question.

    Args:
        plan: The plan.
        verdicts: What QA says.
    """
    lines = [f"QA: {each.line}." for each in verdicts[:_VERDICTS]] or ["QA: no verdict that counts."]
    if len(verdicts) > _VERDICTS:
        lines.append(f"QA: {counted(len(verdicts) - _VERDICTS, 'more verdict')}, see the plan.")
    if plan.images:
        tags = dict.fromkeys(tag.tag for image in plan.images for tag in image.tags)
        lines.append(f"{counted(len(plan.images), 'image')} to {plan.registry}, tags {', '.join(tags)}.")
    if plan.installers:
        where = plan.release_area or "nowhere, as share.releases is not set"
        lines.append(f"{counted(len(plan.installers), 'installer')} to {where}.")
    lines += [f"Requested by {plain(plan.requester)}.", f"Plan {plan.digest}."]
    return "\n".join(shortened(line, _LINE) for line in lines)


def _bytes_text(image: PlannedImage) -> str:
    return size(image.push_bytes) if image.push_exact else f"up to {size(image.push_bytes)}"


def _tag_text(tag: TagNow) -> str:
    return f"{tag.tag}: {tag.digest[:19] + '...' if tag.digest else 'free'}"
