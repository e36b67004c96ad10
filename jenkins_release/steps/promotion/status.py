"""Status: derives the state of a promotion from the registry and the share alone."""

from __future__ import annotations

from typing import Literal

from jenkins_release.base.dataclass import dataclass
from jenkins_release.records.attestation import PROMOTION, RETIREMENT, WITHDRAWAL
from jenkins_release.records.journal import JournalEntry
from jenkins_release.records.plan import Plan
from jenkins_release.rules.gate.decision import Decision
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.authority import release_refusals
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidate
from jenkins_release.steps.candidate.promotion_journal import read_promotion_journal
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.promotion.plan import make_plan

PromotionState = Literal["not started", "pushing", "pushed", "tagging", "released", "recorded", "withdrawn"]


@dataclass(frozen=True)
class PromotionStatus:
    """The state of a promotion.

    Attributes:
        plan: The current plan, which shows what the registry holds.
        decision: What the gate says.
        state: ``not started``: no image is pushed; ``pushing``: some are; ``pushed``: all are, but no
            release tag is set; ``tagging``: some release tags are set; ``released``: all are;
            ``recorded``: the promotion attestation is on the share, too; ``withdrawn``: the
            release was withdrawn, and no new promotion of the candidate is under way.
        attestation: File name of the promotion attestation; empty if there is none.
        journal: What the runs noted, oldest first. For information: nothing above depends on it.
    """

    plan: Plan
    decision: Decision
    state: PromotionState
    attestation: str
    journal: tuple[JournalEntry, ...] = ()


def promotion_status(ref: CandidateRef, services: Services) -> PromotionStatus:
    """Return the state of a candidate's promotion. Changes nothing.

    Raises:
        ConfigurationError: No such candidate.
        IntegrityError: The candidate was altered, or a manifest in the registry does not match its digest.
        RemoteError: Share or registry failed, after the retries.
    """
    opened = open_candidate(ref, services)
    plan, facts = make_plan(opened, services)
    attestation = promotion_attestation(opened) or ""
    decision = opened.decision(facts=facts, plan=plan)
    journal = read_promotion_journal(opened, plan.registry, services).entries
    state = _state(plan, attestation)
    if _is_withdrawn(opened, plan):
        state = "withdrawn"
    return PromotionStatus(plan, decision, state, attestation, journal)


def promotion_attestation(opened: OpenCandidate) -> str | None:
    """Return the file name of the promotion attestation that is in force; None if none is.

    It is the last one by a trusted key, unless the release was later withdrawn or retired, or the policy does
    not allow it.
    """
    evidence = opened.evidence
    last = evidence.of(PROMOTION, WITHDRAWAL, RETIREMENT)[-1:]
    if not last or last[0].statement.predicate_type != PROMOTION:
        return None
    return None if release_refusals(opened, {PROMOTION}) else last[0].file


def _is_withdrawn(opened: OpenCandidate, plan: Plan) -> bool:
    evidence = opened.evidence
    again = any(image.candidate_tag_set for image in plan.images)
    return evidence.latest(WITHDRAWAL) > evidence.latest(PROMOTION) and not again


def _state(plan: Plan, attestation: str) -> PromotionState:
    if plan.done:
        return "recorded" if attestation else "released"
    if any(image.is_named_by(now) for image in plan.images for now in image.tags if not now.moving):
        return "tagging"
    present = [image for image in plan.images if image.state != "absent"]
    if not present:
        return "not started"
    return "pushed" if len(present) == len(plan.images) else "pushing"
