"""A published release as it stands in the release area, and what the candidate's chain says of it."""

from __future__ import annotations

from dataclasses import replace

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused, IntegrityError
from jenkins_release.base.names import check_identifier
from jenkins_release.records.attestation import PORTAL
from jenkins_release.records.published_release import PublishedFile, PublishedRelease, release_checksum_lines
from jenkins_release.records.release import PortalRecord
from jenkins_release.share.candidates import CHECKSUMS, CandidateRef
from jenkins_release.share.protocol import PathNotFound
from jenkins_release.share.releases import RELEASE
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidate, reopen
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.publication.published_files import FoundRelease, read_published
from jenkins_release.steps.publication.standing import pinned_in_registry, require_published


@dataclass(frozen=True)
class Published:
    """A release in the release area, with the candidate that it was published from.

    Attributes:
        found: ``release.json``.
        checksums: The bytes of ``SHA256SUMS``.
        opened: The candidate.
    """

    found: FoundRelease
    checksums: bytes
    opened: OpenCandidate

    @property
    def record(self) -> PublishedRelease:
        """What ``release.json`` says."""
        return self.found.record


def open_published(version: str, services: Services) -> Published:
    """Read a release and check it against the candidate's chain of attestations.

    Raises:
        ConfigurationError: It is not published, or the candidate is not on the share any more.
        IntegrityError: The release is not what was published, or the candidate was altered.
        GateRefused: The release was withdrawn.
    """
    area = services.releases
    check_identifier("version", version)
    shown = area.shown(version, RELEASE)
    found = services.retry(f"read {shown}", read_published, version, area)
    if found is None:
        raise ConfigurationError(
            f"{area.product} {version} is not published in {area.share.name}",
            hint="'jenkins-release release list' lists published releases",
        )
    record = found.record
    if (record.product, record.version) != (area.product, version):
        raise IntegrityError(
            f"{shown}: expected {area.product} {version}, found {record.product} {record.version}",
            hint="the folder was renamed or copied by hand",
        )
    checksums = services.retry(f"read {version} {CHECKSUMS}", area.read_small, version, CHECKSUMS)
    if checksums != release_checksum_lines(found.data, record.files):
        raise IntegrityError(
            f"{area.shown(version, CHECKSUMS)} does not match {RELEASE}",
            hint="find out who changed the release area",
        )
    opened = open_candidate(CandidateRef.parse(record.candidate), services)
    gone = f"customers must not get it; 'release portal {version} --remove' takes it from the portal"
    require_published(found, opened, services, if_withdrawn=gone)
    pinned = pinned_in_registry([opened], services).get(opened.ref)
    if pinned:
        raise GateRefused(
            pinned, hint="finish it with 'release withdraw', or find out who removed the withdrawal's record"
        )
    return Published(found, checksums, opened)


def still_published(published: Published, services: Services) -> Published:
    """Look at the candidate once more: it has not changed, and the release is still in force.

    Raises:
        IntegrityError: The candidate changed since it was opened, or was altered.
        GateRefused: The release was withdrawn.
    """
    services.refresh_trust()
    opened = reopen(published.opened)
    gone = f"'release portal {published.record.version} --remove' takes from the portal what was uploaded"
    require_published(published.found, opened, services, if_withdrawn=gone)
    return replace(published, opened=opened)


def require_files(published: Published, services: Services) -> None:
    """Check that every file of the release is there with its size, before the first is sent.

    Raises:
        IntegrityError: ``reasons`` has every file that is missing or has another size.
    """
    area, version = services.releases, published.record.version

    def problem(file: PublishedFile) -> str:
        path = f"{area.folder(version)}/{file.path}"
        try:
            size = services.retry(f"stat {path}", area.share.stat, path).size
        except PathNotFound:
            return f"{area.shown(version, file.path)} is missing"
        if size != file.size:
            return f"{area.shown(version, file.path)}: expected {file.size} bytes, found {size}"
        return ""

    found = [text for text in services.each(problem, published.record.files) if text]
    if found:
        raise IntegrityError(
            f"the published release {version} was altered: {found[0]}",
            hint="find out who changed the release area, and restore the file from the candidate",
            reasons=found,
        )


def last_at_portal(opened: OpenCandidate, portal: str) -> tuple[str, PortalRecord | None]:
    """Return the last that the chain says of a portal, with its file name; nothing where it is silent."""
    for counted in reversed(opened.evidence.of(PORTAL)):
        record = PortalRecord.of(counted.statement, counted.file)
        if record.portal == portal:
            return counted.file, record
    return "", None
