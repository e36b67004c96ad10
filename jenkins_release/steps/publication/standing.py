"""Decides whether a published release is in force: it is what was published, and was not withdrawn since.

What cannot be read or proven is not in force. So removing the evidence against a release does not bring it
back to customers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import GateRefused, IntegrityError, ReleaseError
from jenkins_release.base.tags import pin_tag
from jenkins_release.records.attestation import PUBLICATION, WITHDRAWAL
from jenkins_release.records.published_release import PublishedRelease
from jenkins_release.registry.protocol import RepositoryNotFound
from jenkins_release.rules.gate.attested_release import read_publication
from jenkins_release.rules.gate.evidence import Counted, Evidence
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.share.releases import RELEASE
from jenkins_release.steps.candidate.authority import require_allowed
from jenkins_release.steps.candidate.opened import (
    OpenCandidate,
    open_candidate,
    open_candidates,
)
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.publication.published_files import FoundRelease, check_files, read_published
from jenkins_release.steps.release.releases import release_of


def require_published(
    found: FoundRelease, opened: OpenCandidate, services: Services, *, if_withdrawn: str
) -> None:
    """Refuse a release that no publication attestation names, or that was withdrawn since.

    ``release.json`` is not signed. The attestation, which names its digest, proves it.

    Args:
        found: The release in the release area.
        opened: The candidate that it names.
        services: Keys and release area.
        if_withdrawn: Hint for the error about a withdrawn release.

    Raises:
        GateRefused: It was withdrawn, there is an objection to it, or the policy does not allow it.
        IntegrityError: The candidate was altered, or the release is not what was published from it.
    """
    require_believed(opened)
    evidence = opened.evidence
    if is_withdrawn(evidence):
        raise withdrawn_error([(opened.ref, evidence.of(WITHDRAWAL)[-1])], if_withdrawn)
    require_allowed(opened)
    require_recorded(found, opened, services)


def require_recorded(found: FoundRelease, opened: OpenCandidate, services: Services) -> None:
    """Refuse a ``release.json`` that was not signed, or whose files are not those that QA validated.

    Raises:
        IntegrityError: No publication attestation names it, or its files differ from the candidate's.
    """
    publications = opened.evidence.of(PUBLICATION)
    last = publications[-1].statement if publications else None
    shown = services.releases.shown(found.record.version, RELEASE)
    digest = found.digest.removeprefix("sha256:")
    if last is None or last.subjects.get(RELEASE) != digest or found.record.candidate_digest != opened.digest:
        raise IntegrityError(
            f"{shown} is not what was published of {opened.ref}: no publication attestation names it",
            hint="run 'release publish' again, or find out who changed the release area",
        )
    _, problems = read_publication(publications[-1], opened.record)
    problems += _other_files(found.record, opened, shown)
    if problems:
        raise IntegrityError(
            f"{opened.ref} was published with other files than QA validated: {problems[0]}",
            hint="whoever holds the promotion key signed it: find out who did",
            reasons=problems,
        )


def require_intact(ref: CandidateRef, services: Services) -> None:
    """Read a whole release in the release area, and refuse it unless it is exactly what was signed.

    Raises:
        IntegrityError: It is gone, or a file was altered, is missing, or does not belong there.
        RemoteError: A share failed, after the retries.
    """
    area, version = services.releases, ref.version
    found = services.retry(f"read {area.shown(version)}", read_published, version, area)
    if found is None:
        raise IntegrityError(
            f"{area.shown(version)} is gone", hint="find out who removed it; 'release publish' brings it back"
        )
    require_recorded(found, open_candidate(ref, services), services)
    check_files(found, area, services)


def _other_files(record: PublishedRelease, opened: OpenCandidate, shown: str) -> list[str]:
    """Return the published files whose size or hash differs from the candidate's file of the same name."""
    candidate = opened.record
    known = {i.name: candidate.file(i.path) for i in candidate.installers}
    known |= {each.path: candidate.file(each.path) for each in candidate.documents}
    return [
        f"{shown} has {file.path} with {file.size} bytes and SHA-256 {file.sha256}, "
        f"the candidate has {own.size} bytes and {own.sha256}"
        for file in record.files
        if (own := known.get(file.path) or known.get(file.path.rpartition("/")[2])) is not None
        and (own.size, own.sha256) != (file.size, file.sha256)
    ]


@dataclass(frozen=True)
class ReleaseStanding:
    """Whether customers may get a published release.

    Attributes:
        withdrawn: That it was withdrawn, by whom and why; empty if it was not.
        unproven: Why it cannot be proven to be in force; empty if it can.
        opened: Its candidate; None if that cannot be read.
    """

    withdrawn: str = ""
    unproven: str = ""
    opened: OpenCandidate | None = None

    @property
    def in_force(self) -> bool:
        """Whether it is proven that it was published and not withdrawn since."""
        return not self.withdrawn and not self.unproven


def standings(
    found: Mapping[str, FoundRelease],
    services: Services,
    known: Mapping[str, OpenCandidate | ReleaseError] = MappingProxyType({}),
) -> dict[str, ReleaseStanding]:
    """Return the standing of several published releases; a problem with one does not affect the others.

    Args:
        found: Version to its release, as found.
        services: Share, keys, registry and release area.
        known: Version to its candidate, or to why that cannot be read, if it was read in this look already.

    Raises:
        RemoteError: Share or registry failed, after the retries.
    """
    refs = {version: CandidateRef.parse(release.record.candidate) for version, release in found.items()}
    read = open_candidates([ref for version, ref in refs.items() if version not in known], services)
    opened = {version: known[version] if version in known else read[ref] for version, ref in refs.items()}
    said = {version: _standing(found[version], opened[version], services) for version in refs}
    pinned = pinned_in_registry([each.opened for each in said.values() if each.in_force], services)
    return {
        version: replace(each, withdrawn=pinned[refs[version]]) if refs[version] in pinned else each
        for version, each in said.items()
    }


def pinned_in_registry(
    candidates: Sequence[OpenCandidate | None], services: Services
) -> dict[CandidateRef, str]:
    """Find candidates that a tag in the registry marks as withdrawn, though the share has no withdrawal.

    Only tags are listed, since reading an image would count as a pull.

    Returns:
        Candidate to what shows its withdrawal.

    Raises:
        RemoteError: The registry failed, after the retries.
    """
    wanted: dict[CandidateRef, set[tuple[str, str]]] = {}
    for opened in candidates:
        release = release_of(opened) if opened is not None and opened.record.images else None
        if release is None or release.opened.evidence.of(WITHDRAWAL):
            continue
        promoted = release.promoted()
        if promoted.registry == services.retry("ask ECR for the registry", lambda: services.registry.host):
            ref = release.ref
            pins = {(i.repository, pin_tag(ref.version, ref.build, i.digest)) for i in promoted.images}
            wanted[ref] = pins

    def tags(name: str) -> list[str]:
        try:
            return services.retry(f"list the tags of {name}", services.registry.tags, name)
        except RepositoryNotFound:
            return []

    names = sorted({name for pins in wanted.values() for name, _ in pins})
    held = zip(names, services.each(tags, names), strict=True)
    there = {(name, tag) for name, own in held for tag in own}
    return {
        ref: f"{ref} was withdrawn: the registry holds the tag {min(pins & there)[1]}, "
        "and no withdrawal is on the share"
        for ref, pins in wanted.items()
        if pins & there
    }


def _standing(
    found: FoundRelease, opened: OpenCandidate | ReleaseError, services: Services
) -> ReleaseStanding:
    if isinstance(opened, ReleaseError):
        return ReleaseStanding(unproven=opened.message)
    try:
        require_believed(opened)
        evidence = opened.evidence
        if is_withdrawn(evidence):
            told = withdrawn_error([(opened.ref, evidence.of(WITHDRAWAL)[-1])], "")
            return ReleaseStanding(withdrawn=told.message, opened=opened)
        require_published(found, opened, services, if_withdrawn="")
    except (GateRefused, IntegrityError) as error:
        return ReleaseStanding(unproven=error.message, opened=opened)
    return ReleaseStanding(opened=opened)


def is_withdrawn(evidence: Evidence) -> bool:
    """Whether a published candidate was withdrawn since its last publication."""
    return evidence.latest(WITHDRAWAL) > evidence.latest(PUBLICATION)


def withdrawn_error(found: Sequence[tuple[CandidateRef, Counted]], hint: str) -> GateRefused:
    """Return the error for a release whose builds were all withdrawn."""
    reasons = []
    for ref, withdrawal in found:
        said = withdrawal.statement.extension
        reasons.append(f"{ref} was withdrawn by {said.get('withdrawnBy')}: {said.get('reason')}")
    return GateRefused(reasons[0], hint=hint, reasons=reasons)


def require_believed(opened: OpenCandidate) -> None:
    """Refuse a candidate that was altered, or to which there is an objection.

    Raises:
        GateRefused: It has a failing verdict or a withdrawal that no trusted key signed.
        IntegrityError: It was altered.
    """
    opened.require_unaltered()
    objections = opened.evidence.objections
    if objections:
        raise GateRefused(
            f"something speaks against {opened.ref}: {objections[0]}",
            hint="'jenkins-release release history' shows who signed what",
            reasons=objections,
        )
