"""Publish: the installers of a validated candidate to the release area, all or nothing.

Everything is copied into a staging folder, read back there and compared with what QA validated, and
renamed into place in one step. A publication that died is finished by running it again: what is
there and identical is success.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jenkins_release.errors import GateRefused
from jenkins_release.records.attestation import PUBLICATION, WITHDRAWAL
from jenkins_release.records.candidate import manifest_digest
from jenkins_release.records.published import PublishedFile, PublishedRelease, release_checksum_lines
from jenkins_release.rules.gate import Decision
from jenkins_release.rules.policy import policy_digest
from jenkins_release.share.candidates import CHECKSUMS, CandidateRef
from jenkins_release.share.protocol import Lease, ShareFull
from jenkins_release.share.releases import RELEASE, ReleaseArea
from jenkins_release.share.staging import Staging
from jenkins_release.steps._announce import announced
from jenkins_release.steps._attest import Claim, approval_claims, attest, override_claims
from jenkins_release.steps._events import by_candidate, published
from jenkins_release.steps._open import (
    OpenCandidate,
    check_sizes,
    gate_decision,
    open_candidate,
    require_open_gate,
    require_unaltered,
)
from jenkins_release.steps._published import (
    SourceFile,
    check_published,
    copy_file,
    files_to_publish,
    read_published,
)
from jenkins_release.steps._releases import evidence_of
from jenkins_release.steps.plan import gather_facts, make_plan
from jenkins_release.steps.services import Services
from jenkins_release.version import PROGRAM


@dataclass(frozen=True)
class PublishRequest:
    """What to publish.

    Attributes:
        candidate: The candidate.
        setup_zip: The zip with which customers deploy the images, where the candidate does not hold it.
        key: URI of the promotion key; ``signing.promotion_key`` by default.
        dry_run: Check everything, tell what would be published, change nothing.
    """

    candidate: CandidateRef
    setup_zip: Path | None = None
    key: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class PublicationReport:
    """What was published.

    Attributes:
        candidate: The candidate.
        location: The release's folder in the release area.
        files: Its files.
        copied: Bytes that the server of the shares copied by itself.
        decision: What the gate said.
        changed: Whether anything had to be done.
        unprotected: Files that the server does not let this user make read-only.
        attestation: File name of the publication attestation; empty after a dry run.
    """

    candidate: CandidateRef
    location: str
    files: tuple[PublishedFile, ...]
    copied: int
    decision: Decision
    changed: bool
    unprotected: tuple[str, ...]
    attestation: str


@announced("release publish", by_candidate, published)
def publish_release(request: PublishRequest, services: Services) -> PublicationReport:
    """Publish the installers of a candidate, or finish a publication that died.

    Raises:
        ConfigurationError: No such candidate, nothing to publish in it, no key, no release area.
        GateRefused: The gate is shut, or a setup zip goes with images that are not promoted.
        IntegrityError: The candidate was altered, a file is not what QA validated, or another release
            of the version is published: that is never overwritten.
        RemoteError: A share failed, after the retries, or has no room.
        LeaseHeld: Another publication of the version, or a promotion of the candidate, is running.
    """
    signer = services.signer("promotion", request.key or services.configuration.signing.promotion_key)
    area = services.releases
    opened = open_candidate(request.candidate, services)
    sources = files_to_publish(opened, request.setup_zip, services)
    check_sizes(opened, services)
    require_unaltered(opened, services)
    version = opened.ref.version
    found = services.retry(f"look for {area.shown(version)}", lambda: read_published(version, area))
    recorded = _recorded(opened, services)
    if found is not None:
        check_published(found, opened, sources, area, services)
        if recorded and not request.dry_run:
            decision = gate_decision(opened, services)
            unprotected = _protect(version, found.record, area, services)
            return _report(opened, found.record, 0, decision, unprotected, recorded, area, changed=False)
    decision = _require_may_publish(opened, sources, services)
    if request.dry_run:
        planned = tuple(source.record for source in sources)
        return PublicationReport(
            opened.ref, area.shown(version), planned, 0, decision, found is None or not recorded, (), ""
        )
    copied = 0
    holder = services.holder()
    with services.candidates.lease(opened.ref, "promote", holder), area.lease(version, holder) as lease:
        opened = open_candidate(opened.ref, services)
        found = services.retry(f"look for {area.shown(version)}", lambda: read_published(version, area))
        if found is None:
            record, copied, decision = _publish(opened, sources, area, lease, services)
        else:
            check_published(found, opened, sources, area, services)
            record = found.record
            decision = _require_may_publish(opened, sources, services)
        unprotected = _protect(version, record, area, services)
        attestation = _recorded(opened, services)
        if not attestation:
            lease.confirm()
            attestation = attest(opened, _claim(record, decision, area, services), signer, services)
    return _report(opened, record, copied, decision, unprotected, attestation, area, changed=True)


def _require_may_publish(
    opened: OpenCandidate, sources: Sequence[SourceFile], services: Services
) -> Decision:
    plan = make_plan(opened, services)
    decision = require_open_gate(opened, gather_facts(plan, services), plan, services)
    if any(source.record.kind == "setup" for source in sources) and not plan.done:
        raise GateRefused(
            f"the images of {opened.ref} are not promoted: nobody could deploy what the setup zip names",
            hint="'jenkins-release promote run' promotes them",
            reasons=[f"{i.repository} is {i.state}" for i in plan.images if i.state != "released"],
        )
    return decision


def _publish(
    opened: OpenCandidate,
    sources: Sequence[SourceFile],
    area: ReleaseArea,
    lease: Lease,
    services: Services,
) -> tuple[PublishedRelease, int, Decision]:
    version = opened.ref.version

    def attempt() -> tuple[PublishedRelease, int, Decision]:
        _check_space(sources, area, services)
        with area.stage(version) as staging:
            copied = sum(copy_file(source, opened, staging, services) for source in sources)
            # A revocation or a withdrawal during the copy still counts: nothing is visible so far.
            decision = _require_may_publish(open_candidate(opened.ref, services), sources, services)
            record = _record(opened, sources, services)
            _write_records(record, staging)
            lease.confirm()
            staging.commit()
        return record, copied, decision

    return services.retry(f"publish {opened.ref}", attempt)


def _check_space(sources: Sequence[SourceFile], area: ReleaseArea, services: Services) -> None:
    needed = sum(source.record.size for source in sources)
    free = services.retry("ask for free space", area.share.free_space)
    if free is not None and free < needed:
        raise ShareFull(
            f"the release needs {needed} bytes, {area.share.name} has {free} free",
            hint="make room on the share: nothing was published",
        )


def _record(opened: OpenCandidate, sources: Sequence[SourceFile], services: Services) -> PublishedRelease:
    return PublishedRelease(
        product=opened.record.product,
        version=opened.ref.version,
        build=opened.ref.build,
        candidate_digest=opened.digest,
        revision=opened.record.revision,
        published_at=services.now(),
        published_by=services.user(),
        build_url=services.environ.get("BUILD_URL", ""),
        publisher=PROGRAM,
        files=tuple(source.record for source in sources),
    )


def _write_records(record: PublishedRelease, staging: Staging) -> None:
    data = record.to_bytes()
    staging.write(CHECKSUMS, release_checksum_lines(data, record.files))
    staging.write(RELEASE, data)


def _protect(
    version: str, record: PublishedRelease, area: ReleaseArea, services: Services
) -> tuple[str, ...]:
    """Make every file read-only; return those where the server does not let us."""
    left = []
    for path in (*(file.path for file in record.files), CHECKSUMS, RELEASE):
        full = f"{area.folder(version)}/{path}"
        if not services.retry(f"protect {full}", lambda full=full: area.share.protect(full)):  # type: ignore[misc]
            left.append(path)
    return tuple(left)


def _recorded(opened: OpenCandidate, services: Services) -> str:
    """Return the file name of the publication attestation that holds, or an empty string."""
    evidence = evidence_of(opened, services)
    last = evidence.of(PUBLICATION)[-1:]
    if not last or last[0].statement.sequence < evidence.latest(WITHDRAWAL):
        return ""
    return last[0].file


def _claim(record: PublishedRelease, decision: Decision, area: ReleaseArea, services: Services) -> Claim:
    digest = manifest_digest(record.to_bytes())
    predicate: dict[str, Any] = {
        "location": area.shown(record.version),
        "release": digest,
        "files": [file.model_dump(mode="json") for file in record.files],
        "policy": policy_digest(services.policy, services.trusted_keys),
        "approvals": approval_claims(decision),
        "overridden": override_claims(decision),
        "buildUrl": services.environ.get("BUILD_URL", ""),
        "program": PROGRAM,
    }
    subjects = {file.path: file.sha256 for file in record.files}
    subjects[RELEASE] = digest.removeprefix("sha256:")
    return Claim(PUBLICATION, predicate, {"publishedBy": services.user()}, subjects)


def _report(
    opened: OpenCandidate,
    record: PublishedRelease,
    copied: int,
    decision: Decision,
    unprotected: tuple[str, ...],
    attestation: str,
    area: ReleaseArea,
    *,
    changed: bool,
) -> PublicationReport:
    location = area.shown(record.version)
    return PublicationReport(
        opened.ref, location, record.files, copied, decision, changed, unprotected, attestation
    )
