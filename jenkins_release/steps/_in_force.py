"""Whether a release is what was published, and was not taken back since."""

from __future__ import annotations

from collections.abc import Sequence

from jenkins_release.errors import GateRefused, IntegrityError
from jenkins_release.records.attestation import PUBLICATION, WITHDRAWAL
from jenkins_release.rules.evidence import Counted, Evidence
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.share.releases import RELEASE
from jenkins_release.steps._open import OpenCandidate, require_unaltered
from jenkins_release.steps._published import FoundRelease
from jenkins_release.steps._releases import evidence_of
from jenkins_release.steps.services import Services


def require_published(
    found: FoundRelease, opened: OpenCandidate, services: Services, *, if_withdrawn: str
) -> None:
    """Refuse a release that is not what a publication attestation names, or that was withdrawn since.

    ``release.json`` is not signed: what makes it believable is the attestation, which names its digest.

    Args:
        found: What stands in the release area.
        opened: The candidate that it names.
        services: Keys and release area.
        if_withdrawn: What to do about a withdrawn release.

    Raises:
        GateRefused: It was withdrawn, or something speaks against it.
        IntegrityError: The candidate was altered, or the release is not what was published of it.
    """
    require_believed(opened, services)
    evidence = evidence_of(opened, services)
    publications, withdrawals = evidence.of(PUBLICATION), evidence.of(WITHDRAWAL)
    last = publications[-1].statement if publications else None
    if is_withdrawn(evidence):
        raise withdrawn_error([(opened.ref, withdrawals[-1])], if_withdrawn)
    digest = found.digest.removeprefix("sha256:")
    if last is None or last.subjects.get(RELEASE) != digest or found.record.candidate_digest != opened.digest:
        shown = services.releases.shown(found.record.version, RELEASE)
        raise IntegrityError(
            f"{shown} is not what was published of {opened.ref}: no publication attestation names it",
            hint="run 'release publish' again, or find out who changed the release area",
        )


def is_withdrawn(evidence: Evidence) -> bool:
    """Whether what was published of a candidate was taken back since."""
    return evidence.latest(WITHDRAWAL) > evidence.latest(PUBLICATION)


def withdrawn_error(found: Sequence[tuple[CandidateRef, Counted]], hint: str) -> GateRefused:
    """Return the refusal of a release of which every build was withdrawn."""
    reasons = []
    for ref, withdrawal in found:
        said = withdrawal.statement.extension
        reasons.append(f"{ref} was withdrawn by {said.get('withdrawnBy')}: {said.get('reason')}")
    return GateRefused(reasons[0], hint=hint, reasons=reasons)


def require_believed(opened: OpenCandidate, services: Services) -> None:
    """Refuse a candidate that was altered, or against which something speaks.

    Raises:
        GateRefused: A failing verdict or a withdrawal that no trusted key signed.
        IntegrityError: It was altered.
    """
    require_unaltered(opened, services)
    objections = evidence_of(opened, services).objections
    if objections:
        raise GateRefused(
            f"something speaks against {opened.ref}: {objections[0]}",
            hint="'jenkins-release release history' shows who signed what",
            reasons=objections,
        )
