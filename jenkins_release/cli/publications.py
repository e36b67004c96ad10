"""Publications and the list of releases, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

from jenkins_release.base.moments import day
from jenkins_release.cli.gate import gate_json, overridden_text, trust_text
from jenkins_release.cli.output import bullets, counted, plain, size, styled, table
from jenkins_release.cli.waits import wait_json, wait_text

if TYPE_CHECKING:
    from jenkins_release.steps.overview.listing import ListedRelease
    from jenkins_release.steps.publication.publish import PublicationReport


def publication_json(report: PublicationReport, dry_run: bool) -> dict[str, Any]:
    """Return a publication for programs."""
    return {
        "candidate": str(report.candidate),
        "location": report.location,
        "changed": report.changed,
        "dryRun": dry_run,
        "files": [file.model_dump(mode="json") for file in report.files],
        "copiedBytes": report.copied,
        "unprotected": list(report.unprotected),
        "attestation": report.attestation,
        "head": report.head,
        "gate": gate_json(report.decision),
    }


def publication_text(report: PublicationReport, dry_run: bool) -> str:
    """Return a publication for people."""
    where = f"{report.candidate} to {report.location}"
    if dry_run and report.changed:
        head = f"the gate is open; would publish {where}"
    elif report.changed:
        head = f"published {where}"
    else:
        head = f"nothing to do: {report.candidate} is published in {report.location}"
    rows = [[file.path, file.kind, size(file.size), file.sha256] for file in report.files]
    lines = [head, table(["file", "kind", "size", "SHA-256"], rows)]
    if not dry_run:
        proven = "every file in the release area was read back and is what QA validated"
        lines.append(f"{styled('proven:', 'good')} {proven}")
        if report.copied:
            lines.append(f"{size(report.copied)} copied by the server of the shares")
        lines.append(f"recorded in {report.attestation}")
    if report.unprotected:
        lines.append(f"not read-only, because the server does not allow it: {', '.join(report.unprotected)}")
    if not report.decision.allowed:
        lines += ["note: the gate is shut now", bullets(report.decision.reasons)]
    return "\n".join(lines) + trust_text(report.decision) + overridden_text(report.decision)


def releases_json(found: Sequence[ListedRelease]) -> list[dict[str, Any]]:
    """Return the list of releases for programs."""
    return [
        {
            "version": each.version,
            "build": each.build,
            "promoted": each.promoted.isoformat() if each.promoted else None,
            "published": each.published.isoformat() if each.published else None,
            "withdrawn": each.withdrawn,
            "retired": each.retired.isoformat() if each.retired else None,
            "images": each.images,
            "files": each.files,
            "bytes": each.bytes,
            "location": each.location,
            "problem": each.problem,
            **wait_json(each.wait),
        }
        for each in found
    ]


def releases_text(found: Sequence[ListedRelease]) -> str:
    """Return the list of releases for people."""
    if not found:
        return "nothing was released"
    rows = []
    for each in found:
        states = [f"{styled('withdrawn:', 'bad')} {plain(each.withdrawn)}"] if each.withdrawn else []
        state = "; ".join([*states, *([styled(plain(each.problem), "bad")] if each.problem else [])])
        state = state or (f"retired on {day(each.retired)}" if each.retired else styled("in force", "good"))
        rows.append(
            [
                each.version,
                each.build or "?",
                f"{each.promoted.astimezone(UTC):%Y-%m-%d %H:%M}" if each.promoted else "-",
                f"{each.published.astimezone(UTC):%Y-%m-%d %H:%M}" if each.published else "-",
                counted(each.images, "image"),
                f"{counted(each.files, 'file')}, {size(each.bytes)}" if each.files else "-",
                state,
                wait_text(each.wait),
            ]
        )
    heads = ["version", "build", "promoted (UTC)", "published (UTC)", "in the registry", "published", "state"]
    heads.append("waits for")
    return table(heads, rows)
