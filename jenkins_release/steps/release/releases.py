"""Releases as the share records them: promoted candidates, with what stands in the registry."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from jenkins_release.base.errors import ConfigurationError, GateRefused, IntegrityError
from jenkins_release.base.numbers import whole_number
from jenkins_release.base.tags import fill
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.records.attestation import PROMOTION, PUBLICATION, RETIREMENT, WITHDRAWAL
from jenkins_release.records.release import Promotion, WithdrawalRecord
from jenkins_release.rules.gate.evidence import Counted, misnamed
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.authority import require_allowed
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidate
from jenkins_release.steps.context.services import Services

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Release:
    """A candidate that was promoted.

    Attributes:
        opened: The candidate.
        promotion: The last promotion that counts.
        withdrawal: The last withdrawal that counts, where it came after that promotion.
        retirement: The last retirement that counts, where it came after that promotion.
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
        """What the withdrawal says, None where the release is in force. Raises IntegrityError."""
        if self.withdrawal is None:
            return None
        return WithdrawalRecord.of(self.withdrawal.statement, self.withdrawal.file)


def promoted_here(release: Release, services: Services) -> Promotion:
    """Return what was promoted to the registry that the configuration leads to.

    Raises:
        ConfigurationError: It was promoted to another one.
        RemoteError: ECR did not name its registry, after the retries.
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
    """Return the release that a candidate became, None where it was never promoted."""
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
        IntegrityError: A candidate cannot be read: nobody can tell whether it was promoted.
    """
    refs = [ref for ref in _refs(services) if ref.version == version]
    if not refs:
        raise ConfigurationError(
            f"there is no candidate of {services.candidates.product} {version} on {services.share.name}",
            hint="'jenkins-release candidate list' lists the candidates",
        )
    found = [release_of(open_candidate(ref, services)) for ref in refs]
    return [release for release in found if release is not None]


def all_releases(services: Services) -> Iterator[Release]:
    """Yield every promoted candidate of the product; one that is not proven is passed over.

    What is passed over counts as never released: it opens no line of the support window, which retires
    less and never more, and nothing of it is called supported.
    """
    for ref in _refs(services):
        try:
            ReleaseVersion.parse(ref.version)
            opened = open_candidate(ref, services)
            release = release_of(opened)
            if release is not None:
                _require_proven(opened)
        except (IntegrityError, ConfigurationError) as error:
            _log.warning("%s is not looked at: %s", ref, error.message)
            continue
        if release is not None:
            yield release


def _require_proven(opened: OpenCandidate) -> None:
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
        withdrawal: File name of the withdrawal after it; empty where it is in force.
    """

    opened: OpenCandidate
    publication: Counted
    withdrawal: str


def published_alone(version: str, build: str, services: Services) -> PublishedAlone | None:
    """Return the candidate of a version that was published and has no images; None where there is none.

    Args:
        version: Version.
        build: Build; empty for any.
        services: Where to look.

    Raises:
        IntegrityError: A candidate cannot be read.
    """
    for ref in _refs(services):
        if ref.version != version or build not in {"", ref.build}:
            continue
        opened = open_candidate(ref, services)
        evidence = opened.evidence
        last = evidence.of(PUBLICATION)[-1:]
        if not opened.record.images and last:
            return PublishedAlone(opened, last[0], publication_withdrawn(opened))
    return None


def publication_withdrawn(opened: OpenCandidate) -> str:
    """Return the file name of the withdrawal after a candidate's last publication; empty for none."""
    last = _last_of_publication(opened)
    return last.file if last is not None and last.statement.predicate_type == WITHDRAWAL else ""


def publication_recorded(opened: OpenCandidate) -> bool:
    """Whether a candidate's publication is recorded, and not withdrawn since. Its files are not looked at."""
    last = _last_of_publication(opened)
    return last is not None and last.statement.predicate_type == PUBLICATION


def _last_of_publication(opened: OpenCandidate) -> Counted | None:
    return next(reversed(opened.evidence.of(PUBLICATION, WITHDRAWAL)), None)


def earlier_releases(template: str, tag: str, bad: CandidateRef, services: Services) -> Iterator[Release]:
    """Yield the releases in force that a moving tag may return to, newest first.

    Newest means the highest version, and of one version the highest build. A candidate that was
    altered, or released against the policy, is passed over: nothing returns to what cannot be proven.

    Args:
        template: Template of the moving tag.
        tag: The tag.
        bad: The release that it leaves.
        services: Where to look.
    """
    found = []
    for ref in _refs(services):
        try:
            version = ReleaseVersion.parse(ref.version)
        except ConfigurationError:
            continue
        if ref != bad and fill(template, version, ref.build) == tag:
            found.append((version, build_order(ref.build), ref))
    for _, _, ref in sorted(found, key=lambda item: item[:2], reverse=True):
        try:
            opened = open_candidate(ref, services)
        except (IntegrityError, ConfigurationError) as error:
            _log.warning("%s does not return to %s: %s", tag, ref, error.message)
            continue
        release = release_of(opened)
        if release is None or release.withdrawal is not None or release.retirement is not None:
            continue
        try:
            _require_proven(opened)
            require_allowed(opened)
        except (IntegrityError, GateRefused) as error:
            _log.warning("%s does not return to %s: %s", tag, ref, error.message)
            continue
        yield release


def build_order(build: str) -> tuple[int, str]:
    """Sort key of builds: numbers as numbers."""
    return (whole_number(build) or 0, build)


def _refs(services: Services) -> list[CandidateRef]:
    refs = services.retry("list candidates", services.candidates.refs)
    return sorted(refs, key=lambda ref: (ref.version, build_order(ref.build)))
