"""SLSA provenance v1 of an exported candidate (https://slsa.dev/spec/v1.0/provenance)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from jenkins_release.records.base import timestamp
from jenkins_release.records.candidate import Candidate, CandidateImage

BUILD_TYPE = "tag:nextlabs.com,2026:jenkins-release/export/v1"
OUTSIDE_JENKINS = "tag:nextlabs.com,2026:jenkins-release/outside-jenkins"
_GIT_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def provenance(record: Candidate, *, started: datetime, finished: datetime) -> dict[str, Any]:
    """Return the provenance predicate: who exported what from which revision, in which build.

    Args:
        record: The candidate.
        started: When the export began, UTC.
        finished: When it ended, UTC.
    """
    parameters = {"product": record.product, "version": record.version, "build": record.build}
    resolved: list[dict[str, Any]] = [
        {"name": image.name, "uri": image_uri(image), "digest": {"sha256": image.identity[7:]}}
        for image in record.images
    ]
    resolved += [
        {"name": installer.name, "digest": {"sha256": record.file(installer.path).sha256}}
        for installer in record.installers
    ]
    if _GIT_COMMIT.fullmatch(record.revision):
        resolved.append({"name": "source", "digest": {"gitCommit": record.revision}})
    elif record.revision:
        # A digest is hexadecimal (digest_set.md); any other revision goes into the parameters.
        parameters["revision"] = record.revision
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": parameters,
            "resolvedDependencies": resolved,
        },
        "runDetails": {
            "builder": {"id": builder_id(record), "version": {"jenkins-release": record.exporter}},
            "metadata": {
                "invocationId": record.build_url or f"{record.product}/{record.ident}",
                "startedOn": timestamp(started),
                "finishedOn": timestamp(finished),
            },
        },
    }


def builder_id(record: Candidate) -> str:
    """Return the URI of the build platform: the Jenkins controller, not the single build.

    The specification's "builder": the identifier of what is trusted, in normal form (RFC 3986,
    section 6.2.2.1: scheme and host in lower case).
    """
    try:
        url = urlsplit(record.build_url)
    except ValueError:
        return OUTSIDE_JENKINS
    host = url.netloc.rpartition("@")[2].lower()
    if url.scheme.lower() not in {"http", "https"} or not host:
        return OUTSIDE_JENKINS
    root, _, _ = url.path.partition("/job/")
    return f"{url.scheme.lower()}://{host}{root.rstrip('/')}/"


def image_uri(image: CandidateImage) -> str:
    """Return an image's package URL (purl-spec, type ``docker``): a name with a tag is no URI."""
    name, colon, tag = image.reference.rpartition(":")
    if not colon or "/" in tag:
        name, tag = image.reference, ""
    return f"pkg:docker/{quote(name, safe='/')}" + (f"@{quote(tag, safe='')}" if tag else "")
