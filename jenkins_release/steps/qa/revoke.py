"""Revoke: signs that a candidate's sign-offs no longer count, and why."""

from __future__ import annotations

from jenkins_release.base.dataclass import dataclass
from jenkins_release.records.attestation import REVOCATION
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.attest import AttestationReport, Claim, attest, named, report
from jenkins_release.steps.candidate.opened import open_candidate
from jenkins_release.steps.candidate.speaker import speaker
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.notices.announce import Happened, announced, by_candidate


@dataclass(frozen=True)
class RevocationRequest:
    """Which candidate's sign-offs to revoke, and why.

    Attributes:
        candidate: The candidate.
        tester: Who revokes them; the key's owner by default.
        reason: Why; recorded and shown by the gate.
        key: URI of the tester's key; ``signing.qa_key`` by default.
        dry_run: Check everything, write nothing.
    """

    candidate: CandidateRef
    tester: str
    reason: str
    key: str = ""
    dry_run: bool = False


def _happened(request: RevocationRequest, report: AttestationReport, services: Services) -> Happened | None:
    """QA revoked its sign-offs: it is QA's turn again."""
    if report.found:
        return None
    ref = report.candidate
    return Happened(
        "revoked",
        ref.version,
        ref.build,
        by=request.tester,
        location=services.candidates.shown(ref),
        facts=[("reason", request.reason), ("recorded in", report.file)],
        next_step="It is not promoted before QA passes it again.",
    )


@announced("qa revoke", by_candidate, _happened)
def revoke_sign_off(request: RevocationRequest, services: Services) -> AttestationReport:
    """Revoke every sign-off that a candidate has so far; a later pass opens the gate again.

    Raises:
        ConfigurationError: No such candidate, no reason, or a key that the gate would not count.
    """
    reason = named("reason", request.reason)
    signer = services.signer("qa", request.key)
    tester = speaker("tester", request.tester, "qa", signer, services)
    opened = open_candidate(request.candidate, services)

    claim = Claim(REVOCATION, {}, {"tester": tester, "reason": reason}, {})
    done = attest(opened, claim, signer, services, dry_run=request.dry_run)
    return report(done, tester)
