"""List: what was released of a product, in the registry and in the release area."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from jenkins_release.errors import ConfigurationError, IntegrityError, ReleaseError
from jenkins_release.records.attestation import PROMOTION, PUBLICATION, RETIREMENT, WITHDRAWAL
from jenkins_release.rules.evidence import Counted
from jenkins_release.rules.versions import ReleaseVersion
from jenkins_release.steps._open import OpenCandidate, open_candidates
from jenkins_release.steps._published import FoundRelease, read_published
from jenkins_release.steps._releases import build_order, evidence_of
from jenkins_release.steps.services import Services


@dataclass(frozen=True)
class ListedRelease:
    """A release, as share and release area record it.

    Attributes:
        version: Version.
        build: Build; empty where what is published cannot be read.
        promoted: When its images were promoted, None where they were not.
        published: When its installers were published, None where they were not.
        withdrawn: Why it was withdrawn; empty where it is in force.
        images: Images in the registry.
        files: Published files.
        bytes: Their bytes.
        location: Folder in the release area; empty where nothing is published.
        problem: What is wrong with the record; empty where nothing is.
        retired: When its images were taken out of the registry again, None where they were not.
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


def list_releases(services: Services) -> list[ListedRelease]:
    """Return everything that was released, newest version first.

    Raises:
        RemoteError: A share failed, after the retries.
    """
    published = _published(services)
    refs = services.retry("list candidates", services.candidates.refs)
    found: list[ListedRelease] = []
    seen: set[tuple[str, str]] = set()
    for ref, opened in open_candidates(refs, services).items():
        if isinstance(opened, ReleaseError):
            continue
        release = published.get(ref.version)
        own = release if isinstance(release, FoundRelease) and release.record.build == ref.build else None
        listed = _listed(opened, own, services)
        if listed is not None:
            seen.add((ref.version, ref.build))
            found.append(listed)
    for version, release in published.items():
        if isinstance(release, ReleaseError):
            found.append(ListedRelease(version, "", problem=release.message))
        elif (version, release.record.build) not in seen:
            problem = f"its candidate {release.record.candidate} says nothing of it"
            found.append(_without_candidate(release, problem, services))
    return sorted(found, key=_order, reverse=True)


def _published(services: Services) -> dict[str, FoundRelease | ReleaseError]:
    if not services.configuration.share.releases:
        return {}
    area = services.releases
    found: dict[str, FoundRelease | ReleaseError] = {}
    for version in services.retry("list the published releases", area.versions):
        try:
            release = services.retry(f"read {area.shown(version)}", partial(read_published, version, area))
        except (IntegrityError, ConfigurationError) as error:
            found[version] = error
            continue
        if release is not None:
            found[version] = release
    return found


def _listed(
    opened: OpenCandidate, published: FoundRelease | None, services: Services
) -> ListedRelease | None:
    evidence = evidence_of(opened, services)
    promotions, publications = evidence.of(PROMOTION), evidence.of(PUBLICATION)
    if not promotions and not publications:
        return None
    released = max(evidence.latest(PROMOTION), evidence.latest(PUBLICATION))
    problem = evidence.altered[0] if evidence.altered else ""
    if publications and published is None and services.configuration.share.releases:
        problem = problem or f"{services.releases.shown(opened.ref.version)} is not what was published"
    record = published.record if published else None
    retired = [r for r in evidence.of(RETIREMENT) if r.statement.sequence > evidence.latest(PROMOTION)]
    return ListedRelease(
        opened.ref.version,
        opened.ref.build,
        _signed_at(promotions),
        record.published_at if record else _signed_at(publications),
        next(_reasons(evidence.of(WITHDRAWAL), released), ""),
        len(opened.record.images) if promotions and not retired else 0,
        len(record.files) if record else 0,
        sum(file.size for file in record.files) if record else 0,
        services.releases.shown(opened.ref.version) if record else "",
        problem,
        _signed_at(retired),
    )


def _without_candidate(release: FoundRelease, problem: str, services: Services) -> ListedRelease:
    record = release.record
    return ListedRelease(
        record.version,
        record.build,
        published=record.published_at,
        files=len(record.files),
        bytes=sum(file.size for file in record.files),
        location=services.releases.shown(record.version),
        problem=problem,
    )


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
