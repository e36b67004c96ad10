"""Status: where a promotion stands, told from the registry and the share alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jenkins_release.errors import IntegrityError
from jenkins_release.records.attestation import PROMOTION, read_envelope, verified_by
from jenkins_release.records.plan import Plan
from jenkins_release.rules.gate import Decision
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps._open import OpenCandidate, gate_decision, open_candidate
from jenkins_release.steps.plan import make_plan
from jenkins_release.steps.services import Services

PromotionState = Literal["not started", "pushing", "pushed", "tagging", "released", "recorded"]


@dataclass(frozen=True)
class PromotionStatus:
    """Where a promotion stands.

    Attributes:
        plan: What the registry holds now.
        decision: What the gate says.
        state: ``not started``: no image is there; ``pushing``: some are; ``pushed``: all are, no
            release tag is set; ``tagging``: some release tags are; ``released``: all are;
            ``recorded``: and the promotion attestation stands on the share.
        attestation: File name of the promotion attestation, or an empty string.
    """

    plan: Plan
    decision: Decision
    state: PromotionState
    attestation: str


def promotion_status(ref: CandidateRef, services: Services) -> PromotionStatus:
    """Tell where the promotion of a candidate stands. Changes nothing.

    Raises:
        ConfigurationError: No such candidate.
        IntegrityError: The candidate or a manifest in the registry is not what it should be.
        RemoteError: Share or registry failed, after the retries.
    """
    opened = open_candidate(ref, services)
    plan = make_plan(opened, services)
    attestation = promotion_attestation(opened, services) or ""
    return PromotionStatus(plan, gate_decision(opened, services), _state(plan, attestation), attestation)


def promotion_attestation(opened: OpenCandidate, services: Services) -> str | None:
    """Return the file name of the candidate's promotion attestation by a trusted key, or None."""
    for name, data in opened.attestations.items():
        try:
            envelope, statement = read_envelope(data, name)
            key = verified_by(envelope, services.trusted_keys)
        except IntegrityError:
            continue  # the gate names it; it does not count as a record here
        about = statement.subjects.get("candidate.json") == opened.digest.removeprefix("sha256:")
        if statement.predicate_type == PROMOTION and about and key and "promotion" in key.roles:
            return name
    return None


def _state(plan: Plan, attestation: str) -> PromotionState:
    if plan.done:
        return "recorded" if attestation else "released"
    if any(now.config_digest == i.config_digest for i in plan.images for now in i.tags if not now.moving):
        return "tagging"
    present = [image for image in plan.images if image.state != "absent"]
    if not present:
        return "not started"
    return "pushed" if len(present) == len(plan.images) else "pushing"
