"""SLSA provenance v1 of an exported candidate (https://slsa.dev/spec/v1.0/provenance)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jenkins_release.records.candidate import Candidate

BUILD_TYPE = "tag:nextlabs.com,2026:jenkins-release/export/v1"


def provenance(record: Candidate, *, started: datetime, finished: datetime) -> dict[str, Any]:
    """Return the provenance predicate: who exported what from which revision, in which build.

    Args:
        record: The candidate.
        started: When the export began, UTC.
        finished: When it ended, UTC.
    """
    resolved: list[dict[str, Any]] = [
        {"name": image.name, "uri": image.reference, "digest": {"sha256": image.config_digest[7:]}}
        for image in record.images
    ]
    if record.revision:
        resolved.append({"name": "source", "digest": {"gitCommit": record.revision}})
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "product": record.product,
                "version": record.version,
                "build": record.build,
            },
            "resolvedDependencies": resolved,
        },
        "runDetails": {
            "builder": {
                "id": record.build_url or "tag:nextlabs.com,2026:jenkins-release/outside-jenkins",
                "version": {"jenkins-release": record.exporter},
            },
            "metadata": {
                "invocationId": record.build_url or record.ident,
                "startedOn": started.isoformat(),
                "finishedOn": finished.isoformat(),
            },
        },
    }
