"""Deletions of the images of a withdrawn release, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jenkins_release.base.moments import minute
from jenkins_release.cli.output import plain, table

if TYPE_CHECKING:
    from jenkins_release.steps.end_of_life.deletion import DeletionReport

_WHO = (
    "ECR records when an image was pulled, at least once in 24 hours, but not by whom: "
    "AWS CloudTrail has the caller of each BatchGetImage"
)


def deletion_json(report: DeletionReport) -> dict[str, Any]:
    """Return a deletion for programs."""
    return {
        "candidate": str(report.candidate),
        "registry": report.registry,
        "changed": report.changed,
        "confirmed": report.confirmed,
        "attestation": report.attestation,
        "head": report.head,
        "images": [
            {
                "name": image.name,
                "repository": image.repository,
                "digest": image.digest,
                "tags": list(image.tags),
                "lastPulled": image.pulled.isoformat() if image.pulled else None,
                "keptFor": list(image.kept_for),
            }
            for image in report.images
        ],
    }


def deletion_text(report: DeletionReport) -> str:
    """Return a deletion for people."""
    recorded = [f"recorded in {report.attestation}"] if report.attestation else []
    if not report.images:
        head = f"nothing to do: {report.registry} has no image of {report.candidate}"
        return "\n".join([head, *recorded])
    done = "deleted" if report.changed else "would delete"
    rows = [
        [
            image.repository,
            image.digest,
            ", ".join(plain(tag) for tag in image.tags) or "-",
            minute(image.pulled) if image.pulled else "none recorded",
        ]
        for image in report.images
    ]
    lines = [f"{done} the images of {report.candidate} in {report.registry} for good"]
    lines.append(table(["repository", "manifest digest", "tags", "last pull"], rows))
    lines += [
        f"{image.repository} {image.digest} stays for {', '.join(image.kept_for)}, which is withdrawn too: "
        "delete its images as well"
        for image in report.images
        if image.kept_for
    ]
    if report.changed:
        return "\n".join([*lines, *recorded])
    return "\n".join([*lines, _WHO, f"nothing was deleted: --confirm {report.candidate} deletes them"])
