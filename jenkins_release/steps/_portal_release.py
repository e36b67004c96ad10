"""A published release as it stands in the release area, and what the candidate's chain says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jenkins_release.errors import ConfigurationError, GateRefused, IntegrityError, ReleaseError
from jenkins_release.records.attestation import PORTAL, PROMOTION, WITHDRAWAL
from jenkins_release.records.candidate import manifest_digest
from jenkins_release.records.published import PublishedFile, PublishedRelease, release_checksum_lines
from jenkins_release.records.release import PortalRecord
from jenkins_release.rules.evidence import Evidence
from jenkins_release.rules.names import check_identifier
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.share.protocol import PathNotFound
from jenkins_release.share.releases import RELEASE
from jenkins_release.share.staging import CHECKSUMS
from jenkins_release.steps._open import OpenCandidate, open_candidate, open_candidates, require_unaltered
from jenkins_release.steps._releases import evidence_of
from jenkins_release.steps.services import Services


@dataclass(frozen=True)
class Published:
    """A release in the release area, with the candidate that it was published from.

    Attributes:
        data: The bytes of ``release.json``.
        record: What they say.
        checksums: The bytes of ``SHA256SUMS``.
        opened: The candidate.
    """

    data: bytes
    record: PublishedRelease
    checksums: bytes
    opened: OpenCandidate

    @property
    def digest(self) -> str:
        """Digest of ``release.json``."""
        return manifest_digest(self.data)


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
    data = services.retry(f"read {shown}", lambda: area.read_small(version, RELEASE))
    record = PublishedRelease.from_bytes(data, shown)
    if (record.product, record.version) != (area.product, version):
        raise IntegrityError(
            f"{shown}: expected {area.product} {version}, found {record.product} {record.version}",
            hint="the folder was renamed or copied by hand",
        )
    checksums = services.retry(f"read {version} {CHECKSUMS}", lambda: area.read_small(version, CHECKSUMS))
    if checksums != release_checksum_lines(data, record.files):
        raise IntegrityError(
            f"{area.shown(version, CHECKSUMS)} does not list what {RELEASE} lists",
            hint="find out who changed the release area",
        )
    opened = open_candidate(CandidateRef.parse(record.candidate), services)
    require_unaltered(opened, services)
    if opened.digest != record.candidate_digest:
        raise IntegrityError(
            f"{shown} was published from candidate.json {record.candidate_digest}, "
            f"the candidate {opened.ref} has {opened.digest}",
            hint="find out which of the two was changed",
        )
    if is_withdrawn(evidence_of(opened, services)):
        raise GateRefused(
            f"{area.product} {version} was withdrawn: customers are not to get it",
            hint=f"'jenkins-release release history {version}' tells why",
            reasons=[f"the release {version} was withdrawn"],
        )
    return Published(data, record, checksums, opened)


def check_files(published: Published, services: Services) -> None:
    """Check that every file of the release is there with its size, before the first is sent.

    Raises:
        IntegrityError: ``reasons`` has every file that is missing or has another size.
    """
    area, version = services.releases, published.record.version

    def problem(file: PublishedFile) -> str | None:
        path = f"{area.folder(version)}/{file.path}"
        try:
            size = services.retry(f"stat {path}", lambda: area.share.stat(path)).size
        except PathNotFound:
            return f"{area.shown(version, file.path)} is missing"
        if size != file.size:
            return f"{area.shown(version, file.path)}: expected {file.size} bytes, found {size}"
        return None

    found = [text for text in services.each(problem, published.record.files) if text]
    if found:
        raise IntegrityError(
            f"the release {version} is not what was published: {found[0]}",
            hint="find out who changed the release area; nothing was uploaded",
            reasons=found,
        )


def is_withdrawn(evidence: Evidence) -> bool:
    """Whether the release that a candidate became was taken back since."""
    return evidence.latest(WITHDRAWAL) > evidence.latest(PROMOTION)


def last_at_portal(opened: OpenCandidate, portal: str, services: Services) -> PortalRecord | None:
    """Return the last that the chain says of a portal, None where it says nothing."""
    for counted in reversed(evidence_of(opened, services).of(PORTAL)):
        record = PortalRecord.of(counted.statement, counted.file)
        if record.portal == portal:
            return record
    return None


def withdrawn_among(records: Sequence[PublishedRelease], services: Services) -> Mapping[str, bool]:
    """Say of each release whether it was withdrawn; one whose candidate is gone counts as not withdrawn."""
    refs = {record.version: CandidateRef.parse(record.candidate) for record in records}
    found = open_candidates([*refs.values()], services) if refs else {}
    withdrawn: dict[str, bool] = {}
    for version, ref in refs.items():
        opened = found[ref]
        if isinstance(opened, ConfigurationError):
            withdrawn[version] = False
        elif isinstance(opened, ReleaseError):
            raise opened
        else:
            withdrawn[version] = is_withdrawn(evidence_of(opened, services))
    return withdrawn
