"""Publish: copies the installers of a validated candidate to the release area, all or nothing.

Everything is copied into a staging folder, read back and compared with what QA validated, and renamed into
place in one step. Then all of it is read again in its place, and only after that is the publication signed.
To finish a publication that died, run it again: a signed and unaltered release is accepted, and anything that
was not signed is written again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import GateRefused, IntegrityError, ReleaseError
from jenkins_release.base.version import PROGRAM
from jenkins_release.records.attestation import PUBLICATION, WITHDRAWAL
from jenkins_release.records.published_release import PublishedFile, PublishedRelease, release_checksum_lines
from jenkins_release.rules.gate.decision import Decision
from jenkins_release.rules.gate.evidence import Counted
from jenkins_release.rules.gate.policy import policy_digest
from jenkins_release.share.candidates import CHECKSUMS, CandidateRef
from jenkins_release.share.protocol import Lease, PathNotFound, ShareFull
from jenkins_release.share.releases import RELEASE, ReleaseArea
from jenkins_release.share.staging import Staging
from jenkins_release.steps.candidate.attest import Claim, approval_claims, attest, catch_up, override_claims
from jenkins_release.steps.candidate.authority import release_refusals
from jenkins_release.steps.candidate.opened import (
    OpenCandidate,
    check_sizes,
    open_candidate,
    reopen,
)
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.notices.announce import Happened, announced, by_candidate, overridden_facts
from jenkins_release.steps.promotion.plan import make_plan
from jenkins_release.steps.publication.published_files import (
    FoundRelease,
    SourceFile,
    altered_files,
    check_files,
    check_record,
    copy_file,
    files_to_publish,
    read_published,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishRequest:
    """What to publish.

    Attributes:
        candidate: The candidate.
        setup_zip: The zip with which customers deploy the images; None if the candidate has it.
        key: URI of the promotion key; ``signing.promotion_key`` by default; a dry run needs none.
        dry_run: Check everything and report what would be published, without changing anything.
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
        copied: Bytes that the file server copied by itself.
        decision: What the gate said.
        changed: Whether anything had to be done.
        unprotected: Files that the server does not let this user make read-only.
        attestation: File name of the publication attestation; empty after a dry run.
        head: SHA-256 in hex of the last attestation's file, to be kept elsewhere.
    """

    candidate: CandidateRef
    location: str
    files: tuple[PublishedFile, ...]
    copied: int
    decision: Decision
    changed: bool
    unprotected: tuple[str, ...]
    attestation: str
    head: str = ""


def _happened(_: PublishRequest, report: PublicationReport, __: Services) -> Happened | None:
    """Support can upload it; nothing to report if it was published before."""
    if not report.changed:
        return None
    return Happened(
        "published",
        report.candidate.version,
        report.candidate.build,
        location=report.location,
        facts=[
            *overridden_facts(report.decision),
            *((file.kind, f"{file.path}, {file.size} bytes, SHA-256 {file.sha256}") for file in report.files),
            ("not read-only", ", ".join(report.unprotected)),
            ("recorded in", report.attestation),
        ],
        next_step="Support takes it from there to the customers. What else is published:",
        command="jenkins-release release list",
    )


@announced("release publish", by_candidate, _happened)
def publish_release(request: PublishRequest, services: Services) -> PublicationReport:
    """Publish the installers of a candidate, or finish a publication that died.

    Raises:
        ConfigurationError: No such candidate, nothing to publish in it, no key, or no release area.
        GateRefused: The gate is shut, or there is a setup zip but the images are not promoted.
        IntegrityError: The candidate was altered; a file is not what QA validated; another release of the
            version is published, which is never overwritten; or the new release was altered once it was
            visible, and was hidden again instead of signed.
        RemoteError: A share failed, after the retries, or is full.
        LeaseHeld: Another publication of the version, or a promotion of the candidate, is running.
    """
    signer = services.promotion_signer(request.key, dry_run=request.dry_run)
    area = services.releases
    opened = open_candidate(request.candidate, services)
    sources = files_to_publish(opened, request.setup_zip, services)
    check_sizes(opened)
    opened.require_unaltered()
    version = opened.ref.version
    found = _find(opened, sources, area, services)
    recorded = ""
    if found is not None and _signed(opened):
        check_files(found, area, services)
        recorded = _recorded(opened, found)
        if recorded and not request.dry_run:
            decision = opened.decision()
            unprotected = _protect(version, found.record, area, services)
            return _report(opened, found.record, 0, decision, unprotected, recorded, area, changed=False)
    decision = _require_may_publish(opened, sources, services)
    if request.dry_run:
        planned = tuple(source.record for source in sources)
        return PublicationReport(
            opened.ref, area.shown(version), planned, 0, decision, not recorded, (), "", opened.head
        )
    assert signer is not None  # a dry run has ended
    copied = 0
    holder = services.holder()
    with (
        services.holding_candidate(opened.ref),
        services.holding(area.shown(version), lambda: area.lease(version, holder)) as lease,
    ):
        opened = catch_up(reopen(opened), services)
        found = _find(opened, sources, area, services)
        if found is not None and _signed(opened):
            decision = _require_may_publish(opened, sources, services)
            unprotected = _protect(version, found.record, area, services)
            check_files(found, area, services)
        else:
            if found is not None:
                _clear(found, area, services)
            found, copied, decision, opened = _publish(opened, sources, area, lease, services)
            unprotected = _protect(version, found.record, area, services)
            _look_again(found, area, services)
        attestation = _recorded(opened, found)
        if not attestation:
            lease.confirm()
            claim = _claim(found, decision, area, services)
            attestation, opened, _ = attest(
                opened, claim, signer, services, there=lambda now: _recorded(now, found)
            )
    return _report(opened, found.record, copied, decision, unprotected, attestation, area, changed=True)


def _find(
    opened: OpenCandidate, sources: Sequence[SourceFile], area: ReleaseArea, services: Services
) -> FoundRelease | None:
    """Read the published release of the version; None if there is none.

    Raises:
        IntegrityError: It is not what would be published, or ``release.json`` is not the one that was signed.
    """
    version = opened.ref.version
    found = services.retry(f"look for {area.shown(version)}", read_published, version, area)
    if found is None:
        return None
    check_record(found, opened, sources, area)
    signed = _signed(opened)
    if signed and signed[-1].statement.subjects.get(RELEASE) != found.digest.removeprefix("sha256:"):
        # Nothing would prove who published it, when, and in which build.
        raise IntegrityError(
            f"{area.shown(version, RELEASE)} is not what was published of {opened.ref}: "
            f"{signed[-1].file} names another one",
            hint="find out who changed the release area, and restore the file; if it is lost, remove the "
            "folder and run 'release publish' again",
        )
    return found


def _require_may_publish(
    opened: OpenCandidate, sources: Sequence[SourceFile], services: Services
) -> Decision:
    plan, facts = make_plan(opened, services)
    decision = opened.require_open_gate(facts, plan, to_be="published")
    if any(source.record.kind == "setup" for source in sources) and not plan.done:
        raise GateRefused(
            f"the images of {opened.ref} are not promoted, so the setup zip could not be deployed",
            hint="'jenkins-release promote run' promotes them",
            reasons=[f"{i.repository} is {i.state}" for i in plan.images if i.state != "released"],
        )
    return decision


class _Made(NamedTuple):
    found: FoundRelease
    copied: int
    decision: Decision
    opened: OpenCandidate


def _publish(
    opened: OpenCandidate,
    sources: Sequence[SourceFile],
    area: ReleaseArea,
    lease: Lease,
    services: Services,
) -> _Made:
    version = opened.ref.version
    made: dict[bytes, _Made] = {}

    def attempt() -> _Made:
        nonlocal opened
        # An earlier attempt may have published it, and only the answer was lost.
        found = read_published(version, area) if made else None
        if found is not None and (mine := made.get(found.data)):
            _log.warning("%s is already visible: only the answer was lost", area.shown(version))
            return mine
        needed = _check_space(sources, area, services)
        with area.stage(version) as staging:
            try:
                copied = sum(copy_file(source, opened, staging, services) for source in sources)
            except ShareFull as error:
                error.hint = f"the release needs {needed} bytes: {error.hint}"
                raise
            # Nothing is visible yet, so a revocation or a withdrawal during the copy still counts.
            services.refresh_trust()
            opened = reopen(opened)
            decision = _require_may_publish(opened, sources, services)
            record = _record(opened, sources, services)
            release = FoundRelease(record.to_bytes(), record)
            _write_records(release, staging)
            lease.confirm()
            made[release.data] = _Made(release, copied, decision, opened)
            staging.commit()
        return made[release.data]

    return services.retry(f"publish {opened.ref}", attempt)


def _clear(found: FoundRelease, area: ReleaseArea, services: Services) -> None:
    """Set aside a complete but unsigned release: a publication died before it was signed, or it is forged.

    It has the files that will be published, but nothing proves who published them, when, and in which build.

    Raises:
        IntegrityError: It has other files, and was hidden.
        RemoteError: The release area failed, after the retries.
    """
    _look_again(found, area, services)
    version = found.record.version
    shown = area.shown(version)
    _log.warning("no publication of %s was signed: it is published again", shown)
    services.retry(f"set {shown} aside", area.set_aside, version, "incoming")


def _look_again(made: FoundRelease, area: ReleaseArea, services: Services) -> None:
    """Read the release that became visible, and hide it if it differs from what was written.

    Whoever can write to the release area could have changed the folder at any time, before and after the
    rename.

    Raises:
        IntegrityError: It differs. The message says where it is now.
        RemoteError: The release area failed, after the retries; nothing is signed.
    """
    problems = altered_files(made, area, services)
    if not problems:
        return
    version = made.record.version
    shown = area.shown(version)
    try:
        aside = services.retry(f"set {shown} aside", area.set_aside, version, "altered")
    except ReleaseError as error:
        raise IntegrityError(
            f"{shown} was altered while it was published, and is still there: {problems[0]}",
            hint="it is not signed, so it is not in force. Remove the folder, find out who changed the "
            "release area, and run 'release publish' again",
            reasons=[*problems, f"it could not be hidden: {error.message}"],
        ) from error
    raise IntegrityError(
        f"{shown} was altered while it was published: {problems[0]}",
        hint=f"it is not published; what was there is now in {aside}. Find out who changed the release area, "
        "remove that folder, and run 'release publish' again",
        reasons=problems,
    )


def _check_space(sources: Sequence[SourceFile], area: ReleaseArea, services: Services) -> int:
    needed = sum(source.record.size for source in sources)
    free = services.retry("ask for free space", area.share.free_space)
    if free is not None and free < needed:
        raise ShareFull(
            f"the release needs {needed} bytes, but {area.share.name} has {free} free",
            hint="free some space on the share, or ask for a larger volume or quota; nothing was published",
        )
    return needed


def _record(opened: OpenCandidate, sources: Sequence[SourceFile], services: Services) -> PublishedRelease:
    return PublishedRelease(
        product=opened.record.product,
        version=opened.ref.version,
        build=opened.ref.build,
        candidate_digest=opened.digest,
        revision=opened.record.revision,
        published_at=services.now(),
        published_by=services.user(),
        build_url=services.build_url,
        publisher=PROGRAM,
        files=tuple(source.record for source in sources),
    )


def _write_records(made: FoundRelease, staging: Staging) -> None:
    staging.write(CHECKSUMS, release_checksum_lines(made.data, made.record.files))
    staging.write(RELEASE, made.data)


def _protect(
    version: str, record: PublishedRelease, area: ReleaseArea, services: Services
) -> tuple[str, ...]:
    """Make every file read-only, and return those for which the server does not allow it."""
    left = []
    for path in (*(file.path for file in record.files), CHECKSUMS, RELEASE):
        full = f"{area.folder(version)}/{path}"
        try:
            if not services.retry(f"protect {full}", area.share.protect, full):
                left.append(path)
        except PathNotFound:
            left.append(path)  # the next check reports that it is missing
    return tuple(left)


def _signed(opened: OpenCandidate) -> list[Counted]:
    """Return the publications that count, whether withdrawn since or not."""
    return opened.evidence.of(PUBLICATION)


def _recorded(opened: OpenCandidate, found: FoundRelease) -> str:
    """Return the file name of the attestation that proves a release is published; empty for none."""
    evidence = opened.evidence
    last = evidence.of(PUBLICATION)[-1:]
    if not last or last[0].statement.sequence < evidence.latest(WITHDRAWAL):
        return ""
    if last[0].statement.subjects.get(RELEASE) != found.digest.removeprefix("sha256:"):
        return ""
    return "" if release_refusals(opened, {PUBLICATION}) else last[0].file


def _claim(found: FoundRelease, decision: Decision, area: ReleaseArea, services: Services) -> Claim:
    record, digest = found.record, found.digest
    predicate: dict[str, Any] = {
        "location": area.shown(record.version),
        "release": digest,
        "files": [file.model_dump(mode="json") for file in record.files],
        "policy": policy_digest(services.policy, services.trusted_keys),
        **services.trust.claim,
        "approvals": approval_claims(decision),
        "overridden": override_claims(decision),
    }
    subjects = {file.path: file.sha256 for file in record.files}
    subjects[RELEASE] = digest.removeprefix("sha256:")
    return Claim(PUBLICATION, predicate, {}, subjects, by="publishedBy")


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
        opened.ref,
        location,
        record.files,
        copied,
        decision,
        changed,
        unprotected,
        attestation,
        opened.head,
    )
