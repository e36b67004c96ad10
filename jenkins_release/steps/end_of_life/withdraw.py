"""Withdraw: take a bad release away from customers, and keep its record.

The signed record stands before the first tag goes: from then on the gate refuses the candidate, so
a promotion that runs after a withdrawal that died cannot bring the tags back. Running it again
finishes the work. The images stay in the registry under a tag of their own, so every digest in the
history can still be pulled and examined.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.names import check_identifier
from jenkins_release.records.attestation import WITHDRAWAL
from jenkins_release.records.release import WithdrawnImage
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.attest import Claim, attest, named
from jenkins_release.steps.candidate.opened import OpenCandidate, reopen
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.end_of_life.withdrawal import Todo, look, prepare, require_gone, take_back
from jenkins_release.steps.notices.announce import Happened, announce, announced, by_version
from jenkins_release.steps.referrers.leftovers import Leftovers
from jenkins_release.steps.referrers.removal import ReleaseStatements
from jenkins_release.steps.release.releases import (
    CandidateLook,
    PublishedAlone,
    Release,
    publication_withdrawn,
    published_alone,
    release_of,
)

if TYPE_CHECKING:
    from jenkins_release.base.signing import Signer


@dataclass(frozen=True)
class WithdrawRequest:
    """What to withdraw, and why.

    Attributes:
        version: Version of the release.
        reason: Why; recorded, and shown wherever the release is.
        build: Build; only needed where several builds of the version are released.
        key: URI of the promotion key; ``signing.promotion_key`` by default; a dry run needs none.
        dry_run: Check everything and tell what would be done, change nothing.
    """

    version: str
    reason: str
    build: str = ""
    key: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class WithdrawalReport:
    """What a withdrawal did, or would do.

    Attributes:
        candidate: The candidate that was released.
        registry: Registry host; empty for a release without images.
        images: Tags that were removed and moved, image by image; none where nothing was left to do.
        returns: Moving tag to the release that it returned to.
        changed: Whether anything had to be done.
        attestation: File name of the withdrawal attestation; empty after a dry run of a first one.
        head: SHA-256 in hex of the last attestation's file, to be kept elsewhere.
        statements: Number of statements about the release that were removed from its images, or would be.
    """

    candidate: CandidateRef
    registry: str
    images: tuple[WithdrawnImage, ...]
    returns: dict[str, CandidateRef]
    changed: bool
    attestation: str
    head: str = ""
    statements: int = 0


def _happened(request: WithdrawRequest, report: WithdrawalReport, __: Services) -> Happened | None:
    """Customers can no longer pull it; nothing to report if it was already withdrawn."""
    if not report.changed:
        return None
    return Happened(
        "withdrawn",
        report.candidate.version,
        report.candidate.build,
        location=report.registry,
        facts=[
            ("reason", request.reason),
            *((f"{tag} returns to", str(ref)) for tag, ref in report.returns.items()),
            ("recorded in", report.attestation),
        ],
        next_step="Its tags are gone." if report.registry else "Its files stay in the release area.",
    )


@announced("release withdraw", by_version, _happened)
def withdraw_release(request: WithdrawRequest, services: Services) -> WithdrawalReport:
    """Remove the customer-visible tags of a release, or finish a withdrawal that died.

    Fixed tags are removed. Moving tags return to the newest other release in force that would carry
    them, and are removed where there is none. Only tags that name exactly what the promotion
    recorded are touched. Statements that vouch for the release are removed from its images. Published
    files stay: 'release portal' takes them from customers.

    Raises:
        ConfigurationError: No such release, several builds to choose from, no reason or key, or the
            configuration leads to another registry.
        IntegrityError: The candidate was altered, or a release tag names other content; or the tags are gone,
            and of what refers to the images, something could not be read.
        RemoteError: Share or registry failed, after the retries.
        LeaseHeld: A promotion or another withdrawal of this candidate is running.
    """
    reason = named("reason", request.reason)
    signer = services.promotion_signer(request.key, dry_run=request.dry_run)
    seen = CandidateLook(services)
    release = _find(request, seen, services)
    if isinstance(release, PublishedAlone):
        return _withdraw_publication(release, request, reason, signer, services)
    release.opened.require_unaltered()
    todos = look(release, seen, services)
    if request.dry_run or not _left(release, todos):
        # Otherwise asked for last: nothing that refers to the images may hold up the end of their tags.
        unread = Leftovers()
        statements = ReleaseStatements(release.opened.record, release.promoted(), services).count(unread)
        if request.dry_run:
            unread.require_none()
        if request.dry_run or not (statements or unread):
            return _report(release, todos, not request.dry_run, "", statements)
    assert signer is not None  # a dry run has ended
    with services.holding_candidate(release.ref) as lease:
        release = _must(release_of(reopen(release.opened)), release.ref)
        todos = look(release, CandidateLook(services), services)
        prepare(release, todos, lease, services)
        # What a run that died has recorded is found there, and entered in the ledger if that run could not.
        claim = _claim(release, todos, reason)
        attestation, opened, _ = attest(
            release.opened, claim, signer, services, there=lambda now: _withdrawal(now, todos)
        )
        take_back(todos, lease, services)
        require_gone(_must(release_of(opened), release.ref), services)
        lease.confirm()
        unremoved = Leftovers()
        statements = ReleaseStatements(release.opened.record, release.promoted(), services).remove(unremoved)
    report = _report(replace(release, opened=opened), todos, True, attestation, statements)
    if unremoved:  # customers cannot pull it any longer all the same
        announce(lambda: _happened(request, report, services), services)
        unremoved.require_none()
    return report


def _withdraw_publication(
    found: PublishedAlone, request: WithdrawRequest, reason: str, signer: Signer | None, services: Services
) -> WithdrawalReport:
    """Record that a release without images is bad: the gate is shut then. Its files stay where they are."""
    found.opened.require_unaltered()
    ref = found.opened.ref
    if request.dry_run:
        return WithdrawalReport(ref, "", (), {}, False, found.withdrawal, found.opened.head)
    assert signer is not None  # a dry run has ended
    with services.holding_candidate(ref) as lease:
        predicate = {
            "registry": "",
            "publication": found.publication.file,
            "images": [],
        }
        claim = Claim(WITHDRAWAL, predicate, {"reason": reason}, {}, by="withdrawnBy")
        lease.confirm()
        attestation, opened, before = attest(
            found.opened, claim, signer, services, there=lambda now: publication_withdrawn(now)
        )
    return WithdrawalReport(ref, "", (), {}, not before, attestation, opened.head)


def _find(request: WithdrawRequest, seen: CandidateLook, services: Services) -> Release | PublishedAlone:
    """Find the release: the one that is in force, else the one whose withdrawal has to be finished."""
    version = check_identifier("version", request.version)
    if request.build:
        ref = CandidateRef(version, check_identifier("build", request.build))
        opened = seen.open(ref)
        return published_alone(opened) or _must(release_of(opened), ref)
    found: list[Release] = []
    for opened in seen.builds(version):
        if alone := published_alone(opened):
            return alone
        if release := release_of(opened):
            found.append(release)
    if not found:
        raise ConfigurationError(
            f"no build of {version} was promoted, so there is nothing to withdraw",
            hint=f"'jenkins-release release history {version}' shows what happened to it",
        )
    in_force = [release for release in found if release.withdrawal is None]
    if len(in_force) > 1:
        names = ", ".join(release.ref.build for release in in_force)
        raise ConfigurationError(
            f"several builds of {version} are released: {names}", hint="name one with --build"
        )
    if in_force:
        return in_force[0]
    return next((release for release in found if _left(release, look(release, seen, services))), found[-1])


def _must(release: Release | None, ref: CandidateRef) -> Release:
    if release is None:
        raise ConfigurationError(
            f"{ref} was not promoted, so there is nothing to withdraw",
            hint="no promotion attestation by a trusted key is on the share; 'promote status' shows more",
        )
    return release


def _left(release: Release, todos: list[Todo]) -> bool:
    """Whether anything is left to do."""
    unpinned = any(todo.stored is not None and not todo.pinned for todo in todos)
    return release.withdrawal is None or unpinned or any(todo.image.touched for todo in todos)


def _recorded(release: Release, todos: list[Todo]) -> bool:
    """Whether the withdrawal on record says all that is left to do."""
    record = release.withdrawn()
    if record is None:
        return False
    return all(
        not todo.image.touched or any(image.covers(todo.image) for image in record.images) for todo in todos
    )


def _withdrawal(opened: OpenCandidate, todos: list[Todo]) -> str:
    """Return the file name of the withdrawal that says all that is left to do; empty for none."""
    release = release_of(opened)
    if release is None or release.withdrawal is None or not _recorded(release, todos):
        return ""
    return release.withdrawal.file


def _claim(release: Release, todos: list[Todo], reason: str) -> Claim:
    promoted = release.promoted()
    predicate = {
        "registry": promoted.registry,
        "promotion": release.promotion.file,
        "images": [todo.image.model_dump(mode="json", by_alias=True) for todo in todos],
    }
    subjects = {
        f"{promoted.registry}/{todo.image.repository}": todo.image.digest.removeprefix("sha256:")
        for todo in todos
    }
    return Claim(WITHDRAWAL, predicate, {"reason": reason}, subjects, by="withdrawnBy")


def _report(
    release: Release, todos: list[Todo], final: bool, attestation: str, statements: int
) -> WithdrawalReport:
    left = _left(release, todos)
    recorded = attestation or (release.withdrawal.file if release.withdrawal else "")
    return WithdrawalReport(
        release.ref,
        release.promoted().registry,
        tuple(todo.image for todo in todos) if left else (),
        {tag: way.release.ref for todo in todos for tag, way in todo.returns.items()},
        (left or statements > 0) and final,
        recorded,
        release.opened.head,
        statements,
    )
