"""Releases as the share records them: promoted candidates, and what their promotion left in the registry."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import cached_property

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.numbers import whole_number
from jenkins_release.base.tags import fill
from jenkins_release.base.text import did_you_mean
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.records.attestation import PROMOTION, PUBLICATION, RETIREMENT, WITHDRAWAL
from jenkins_release.records.release import Promotion, WithdrawalRecord
from jenkins_release.rules.gate.evidence import Counted, misnamed
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidate
from jenkins_release.steps.context.services import Services

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Release:
    """A candidate that was promoted.

    Attributes:
        opened: The candidate.
        promotion: The last promotion that counts.
        withdrawal: The last withdrawal after that promotion that counts; None if there is none.
        retirement: The last retirement after that promotion that counts; None if there is none.
    """

    opened: OpenCandidate
    promotion: Counted
    withdrawal: Counted | None
    retirement: Counted | None = None

    @property
    def ref(self) -> CandidateRef:
        """Its place on the share."""
        return self.opened.ref

    def promoted(self) -> Promotion:
        """What the promotion left in the registry. Raises IntegrityError."""
        return Promotion.of(self.promotion.statement, self.promotion.file)

    def withdrawn(self) -> WithdrawalRecord | None:
        """What the withdrawal says; None if there is none. Raises IntegrityError."""
        if self.withdrawal is None:
            return None
        return WithdrawalRecord.of(self.withdrawal.statement, self.withdrawal.file)


def promoted_here(release: Release, services: Services) -> Promotion:
    """Return what the promotion left in the configured registry.

    Raises:
        ConfigurationError: The release was promoted to another registry.
        RemoteError: ECR failed, after the retries.
    """
    promoted = release.promoted()
    host = services.retry("ask ECR for the registry", lambda: services.registry.host)
    if promoted.registry != host:
        raise ConfigurationError(
            f"{release.ref} was promoted to {promoted.registry}, the configuration leads to {host}",
            hint="use the release.toml of that registry: ecr.region and ecr.account",
        )
    return promoted


def release_of(opened: OpenCandidate) -> Release | None:
    """Return the release that a candidate became; None if it was never promoted."""
    evidence = opened.evidence
    promotions = evidence.of(PROMOTION)
    if not promotions:
        return None
    last = promotions[-1]

    def after(kind: str) -> Counted | None:
        later = [each for each in evidence.of(kind) if each.statement.sequence > last.statement.sequence]
        return later[-1] if later else None

    return Release(opened, last, after(WITHDRAWAL), after(RETIREMENT))


def releases(version: str, services: Services) -> list[Release]:
    """Return the promoted candidates of a version, in the order of their builds.

    Raises:
        ConfigurationError: There is no candidate of that version.
        IntegrityError: A candidate cannot be read, so it is unknown whether it was promoted.
    """
    found = [release_of(opened) for opened in CandidateLook(services).builds(version)]
    return [release for release in found if release is not None]


class CandidateLook:
    """One look at the product's candidates: they are listed at most once, and each is opened at most once.

    Args:
        services: Share and keys.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._opened: dict[CandidateRef, OpenCandidate] = {}

    @cached_property
    def refs(self) -> list[CandidateRef]:
        """Every candidate, in the order of versions and builds."""
        return candidate_refs(self._services)

    def open(self, ref: CandidateRef) -> OpenCandidate:
        """Open a candidate. Raises what :func:`open_candidate` raises."""
        if ref not in self._opened:
            self._opened[ref] = open_candidate(ref, self._services)
        return self._opened[ref]

    def builds(self, version: str) -> Iterator[OpenCandidate]:
        """Open the candidates of a version one after the other, in the order of their builds.

        Raises:
            ConfigurationError: There is no candidate of that version.
            IntegrityError: A candidate cannot be read.
        """
        refs = [ref for ref in self.refs if ref.version == version]
        if not refs:
            raise no_such_version(version, self.refs, self._services)
        return map(self.open, refs)


def no_such_version(version: str, refs: Iterable[CandidateRef], services: Services) -> ConfigurationError:
    """Return the failure for a version without candidates, with the versions like it."""
    question = did_you_mean(version, {ref.version for ref in refs})
    return ConfigurationError(
        f"there is no candidate of {services.candidates.product} {version} on {services.share.name}",
        hint=f"{question} 'jenkins-release candidate list' lists the candidates".lstrip(),
    )


def all_releases(services: Services, *, but: CandidateRef | None = None) -> Iterator[Release]:
    """Yield every promoted candidate of the product, except those that cannot be proven.

    An unproven one counts as never released. It is not supported, and it opens no line of the support window,
    so that at most fewer releases are retired.

    Args:
        services: Share and keys.
        but: A candidate to leave out, without reading it.
    """
    for ref in candidate_refs(services):
        if ref == but:
            continue
        try:
            ReleaseVersion.parse(ref.version)
            opened = open_candidate(ref, services)
            release = release_of(opened)
            if release is not None:
                require_proven(opened)
        except (IntegrityError, ConfigurationError) as error:
            _log.warning("%s is ignored: %s", ref, error.message)
            continue
        if release is not None:
            yield release


def require_proven(opened: OpenCandidate) -> None:
    """Refuse a candidate that was altered, or to which there is an objection. Raises IntegrityError."""
    evidence = opened.evidence
    against = [*evidence.altered, *misnamed(opened.chain), *evidence.objections]
    if against:
        raise IntegrityError(against[0], reasons=against)


@dataclass(frozen=True)
class PublishedAlone:
    """A candidate without images that was published.

    Attributes:
        opened: The candidate.
        publication: The last publication that counts.
        withdrawal: File name of the withdrawal after it; empty if it is in force.
    """

    opened: OpenCandidate
    publication: Counted
    withdrawal: str


def published_alone(opened: OpenCandidate) -> PublishedAlone | None:
    """Return a candidate as published alone; None if it has images or was not published."""
    last = opened.evidence.of(PUBLICATION)[-1:]
    if opened.record.images or not last:
        return None
    return PublishedAlone(opened, last[0], publication_withdrawn(opened))


def publication_withdrawn(opened: OpenCandidate) -> str:
    """Return the file name of the withdrawal after a candidate's last publication; empty for none."""
    last = _last_of_publication(opened)
    return last.file if last is not None and last.statement.predicate_type == WITHDRAWAL else ""


def publication_recorded(opened: OpenCandidate) -> bool:
    """Whether a candidate's publication is recorded and not withdrawn since. Does not look at its files."""
    last = _last_of_publication(opened)
    return last is not None and last.statement.predicate_type == PUBLICATION


def _last_of_publication(opened: OpenCandidate) -> Counted | None:
    return next(reversed(opened.evidence.of(PUBLICATION, WITHDRAWAL)), None)


def earlier_candidates(
    template: str, tag: str, bad: CandidateRef, refs: Iterable[CandidateRef]
) -> list[CandidateRef]:
    """Return the candidates that would carry a moving tag, newest first.

    Newest means the highest version, and within a version the highest build.

    Args:
        template: Template of the moving tag.
        tag: The tag.
        bad: The release that the tag leaves.
        refs: Every candidate.
    """
    found = []
    for ref in refs:
        try:
            version = ReleaseVersion.parse(ref.version)
        except ConfigurationError:
            continue
        if ref != bad and fill(template, version, ref.build) == tag:
            found.append((version, build_order(ref.build), ref))
    return [ref for _, _, ref in sorted(found, key=lambda item: item[:2], reverse=True)]


def build_order(build: str) -> tuple[int, str]:
    """Return a sort key for builds that compares numbers as numbers."""
    return (whole_number(build) or 0, build)


def candidate_refs(services: Services) -> list[CandidateRef]:
    """Return every candidate of the product, in the order of versions and builds."""
    refs = services.retry("list candidates", services.candidates.refs)
    return sorted(refs, key=lambda ref: (ref.version, build_order(ref.build)))
