"""List: what was released of a product, in the registry and in the release area."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import (
    ConfigurationError,
    GateRefused,
    IntegrityError,
    ReleaseError,
    RemoteError,
)
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.records.attestation import KINDS, PROMOTION, PUBLICATION, RETIREMENT, WITHDRAWAL
from jenkins_release.records.release import Publication, ReleasedFile
from jenkins_release.rules.gate.evidence import Counted
from jenkins_release.rules.release.waiting import Wait
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.authority import require_allowed
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidates
from jenkins_release.steps.candidate.waiting import waits_of
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.publication.published_files import FoundRelease, misplaced_files, read_published
from jenkins_release.steps.publication.standing import require_believed, require_recorded
from jenkins_release.steps.release.releases import build_order


@dataclass(frozen=True)
class ListedRelease:
    """A release, as share and release area record it.

    Attributes:
        version: Version.
        build: Build; empty if what is published cannot be read.
        promoted: When its images were promoted, None if they were not.
        published: When its installers were published, None if they were not.
        withdrawn: Why it was withdrawn; empty if it is in force.
        images: Images in the registry.
        files: Published files.
        bytes: Their bytes.
        location: Folder in the release area; empty if nothing is published.
        problem: Why it is not provable, or what was altered; empty if nothing is. Such a release is
            not in force, and nothing that is not signed is repeated of it.
        retired: When its images were taken out of the registry again, None if they were not.
        wait: What it waits for, and for whom; None if its build is unknown.
    """

    version: str
    build: str
    promoted: datetime | None = None
    published: datetime | None = None
    withdrawn: str = ""
    images: int = 0
    files: int = 0
    bytes: int = 0
    location: str = ""
    problem: str = ""
    retired: datetime | None = None
    wait: Wait | None = None


def list_releases(services: Services) -> list[ListedRelease]:
    """Return everything that was released, newest version first.

    Raises:
        RemoteError: A share failed, after the retries.
    """
    area = look_at_area(services)
    refs = services.retry("list candidates", services.candidates.refs)
    opened = open_candidates(refs, services)
    found = releases_among(opened, area, services)
    problems = {CandidateRef(each.version, each.build): [each.problem] for each in found if each.problem}
    waits = waits_of(opened, services, {ref: why for ref, why in problems.items() if ref.build})
    return [replace(each, wait=waits.get(CandidateRef(each.version, each.build))) for each in found]


@dataclass(frozen=True)
class AreaLook:
    """What is in the release area.

    Attributes:
        published: Version to its release, or to why that cannot be read.
        misplaced: Version to what is wrong with its files.
    """

    published: Mapping[str, FoundRelease | ReleaseError]
    misplaced: Mapping[str, Sequence[str]]


def look_at_area(services: Services) -> AreaLook | None:
    """Look at the release area; None if there is none.

    Raises:
        RemoteError: The share failed, after the retries.
    """
    if not services.configuration.share.releases:
        return None
    published = _published(services)
    return AreaLook(published, _misplaced(published, services))


def releases_among(
    candidates: Mapping[CandidateRef, OpenCandidate | ReleaseError], area: AreaLook | None, services: Services
) -> list[ListedRelease]:
    """Return what was released of candidates that were read already, newest version first.

    Args:
        candidates: Every candidate of the product, or why it cannot be read.
        area: What is in the release area; None compares nothing with it.
        services: Share and keys.

    Raises:
        RemoteError: A share failed, after the retries.
    """
    published = area.published if area else {}
    found: list[ListedRelease] = []
    seen: set[tuple[str, str]] = set()
    for ref, opened in candidates.items():
        release = published.get(ref.version)
        own = release if isinstance(release, FoundRelease) and release.record.build == ref.build else None
        if isinstance(opened, ReleaseError):
            listed = _unreadable(ref, opened.message) if own or _released(ref, services) else None
        else:
            listed = _listed(opened, own, area, services)
        if listed is not None:
            seen.add((ref.version, ref.build))
            found.append(listed)
    for version, release in published.items():
        if isinstance(release, ReleaseError):
            found.append(ListedRelease(version, "", problem=f"altered: {release.message}"))
        elif (version, release.record.build) not in seen:
            ref = CandidateRef(version, release.record.build)
            found.append(_unreadable(ref, f"its candidate {ref} says nothing of it"))
    return sorted(found, key=_order, reverse=True)


def altered_releases(found: Sequence[ListedRelease]) -> IntegrityError | None:
    """Return the error that a list ends with where something in it is not provable, or else None."""
    reasons = [f"{each.version}/{each.build or '?'}: {each.problem}" for each in found if each.problem]
    if not reasons:
        return None
    return IntegrityError(
        f"not every release is provable: {reasons[0]}",
        hint="find out who changed the share; 'jenkins-release release history' shows what was signed",
        reasons=reasons,
    )


def _published(services: Services) -> dict[str, FoundRelease | ReleaseError]:
    area = services.releases
    found: dict[str, FoundRelease | ReleaseError] = {}
    for version in services.retry("list the published releases", area.versions):
        try:
            release = services.retry(f"read {area.shown(version)}", read_published, version, area)
        except (IntegrityError, ConfigurationError) as error:
            found[version] = error
            continue
        if release is not None:
            found[version] = release
    return found


def _misplaced(
    published: Mapping[str, FoundRelease | ReleaseError], services: Services
) -> dict[str, list[str]]:
    """Say by version which files of a release are missing, too much, or have another size."""
    releases = [each for each in published.values() if isinstance(each, FoundRelease)]
    if not releases:
        return {}
    found = misplaced_files(releases, services.releases, services)
    return {version: [*problems.values()] for version, problems in found.items()}


def _listed(
    opened: OpenCandidate, published: FoundRelease | None, area: AreaLook | None, services: Services
) -> ListedRelease | None:
    evidence = opened.evidence
    promotions, publications = evidence.of(PROMOTION), evidence.of(PUBLICATION)
    if not promotions and not publications and published is None and not _names_release(opened.attestations):
        return None
    released = max(evidence.latest(PROMOTION), evidence.latest(PUBLICATION))
    withdrawn = next(_reasons(evidence.of(WITHDRAWAL), released), "")
    retired = [r for r in evidence.of(RETIREMENT) if r.statement.sequence > evidence.latest(PROMOTION)]
    problem = _problem(opened, published, area, services)
    misplaced = area.misplaced.get(opened.ref.version) if area else None
    if not problem and published is not None and misplaced:
        problem = f"altered: {misplaced[0]}"
    if not problem and not withdrawn and not retired:
        # What is out of force needs nobody's leave.
        problem = _refused(opened)
    if not promotions and not publications and published is None:
        return _unreadable(opened.ref, problem) if problem else None
    # What was signed, and not what release.json says: whoever may write there may have changed it.
    files = _signed_files(publications)
    return ListedRelease(
        opened.ref.version,
        opened.ref.build,
        _signed_at(promotions),
        published.record.published_at if published and not problem else _signed_at(publications),
        withdrawn,
        len(opened.record.images) if promotions and not retired else 0,
        len(files),
        sum(file.size for file in files),
        services.releases.shown(opened.ref.version) if published else "",
        problem,
        _signed_at(retired),
    )


def _problem(
    opened: OpenCandidate, published: FoundRelease | None, area: AreaLook | None, services: Services
) -> str:
    """Say why a release is not provable, or what was altered; empty if nothing is."""
    try:
        require_believed(opened)
    except IntegrityError as error:
        return f"altered: {error.reasons[0] if error.reasons else error.message}"
    except GateRefused as error:
        return f"not provable: {error.message}"
    evidence = opened.evidence
    if published is None:
        if evidence.of(PUBLICATION) and area is not None:
            return f"altered: {services.releases.shown(opened.ref.version)} is not what was published"
        return ""
    try:
        require_recorded(published, opened, services)
    except IntegrityError as error:
        return f"altered: {error.message}"
    return ""


def _refused(opened: OpenCandidate) -> str:
    """Say why the policy does not allow a release; empty if it does."""
    try:
        require_allowed(opened)
    except GateRefused as error:
        return f"not provable: {error.message}"
    return ""


def _unreadable(ref: CandidateRef, why: str) -> ListedRelease:
    """Return the line of a release that cannot be proven: nothing that it says of itself is repeated."""
    problem = why if why.startswith(("altered: ", "not provable: ")) else f"not provable: {why}"
    return ListedRelease(ref.version, ref.build, problem=problem)


def _signed_files(publications: list[Counted]) -> tuple[ReleasedFile, ...]:
    """Return the files that the last publication names; none where it cannot be read, which is told."""
    if not publications:
        return ()
    try:
        return Publication.of(publications[-1].statement, publications[-1].file).files
    except IntegrityError:
        return ()


def _released(ref: CandidateRef, services: Services) -> bool:
    """Whether a candidate that cannot be read seems to have been released."""
    area = services.candidates
    try:
        names, strange = services.retry(f"list {ref}", area.look_at_attestations, ref)
    except RemoteError as error:
        if error.retryable:
            raise
        return True
    return _names_release([*names, *strange])


def _names_release(names: Iterable[str]) -> bool:
    """Whether file names tell of a release. They are not signed: they only have more shown, never less."""
    return any(f"-{KINDS[kind]}." in name for name in names for kind in (PROMOTION, PUBLICATION))


def _signed_at(items: list[Counted]) -> datetime | None:
    return items[-1].statement.signed_at if items else None


def _reasons(withdrawals: list[Counted], released: int) -> Iterator[str]:
    for item in reversed(withdrawals):
        if item.statement.sequence > released:
            yield str(item.statement.extension.get("reason") or "no reason given")


def _order(listed: ListedRelease) -> tuple[bool, ReleaseVersion | None, str, tuple[int, str]]:
    try:
        version = ReleaseVersion.parse(listed.version)
    except ConfigurationError:
        return (False, None, listed.version, build_order(listed.build))
    return (True, version, listed.version, build_order(listed.build))
