"""Request: signs who asks for a release, so that they cannot approve it under another name."""

from __future__ import annotations

from jenkins_release.base.dataclass import dataclass
from jenkins_release.records.attestation import REQUEST
from jenkins_release.records.plan import Plan
from jenkins_release.rules.gate.decision import Decision
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.attest import Claim, attest
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidate
from jenkins_release.steps.candidate.speaker import speaker
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.promotion.plan import make_plan


@dataclass(frozen=True)
class PlanRequest:
    """A request to release a candidate.

    Attributes:
        candidate: The candidate.
        key: URI of the request key; ``signing.request_key`` by default. With a person's key, its owner asks;
            with a notary's, the user who started the Jenkins build.
    """

    candidate: CandidateRef
    key: str = ""


@dataclass(frozen=True)
class PlanRequestReport:
    """A plan that was requested.

    Attributes:
        plan: The plan.
        decision: What the gate says to it.
        file: File name of the attestation; of the earlier one if the same person requested this plan before
            with the same key.
        head: SHA-256 in hex of the last attestation's file, to be kept elsewhere.
    """

    plan: Plan
    decision: Decision
    file: str
    head: str = ""


def request_plan(request: PlanRequest, services: Services) -> PlanRequestReport:
    """Make a plan, and sign and record who asks for it.

    Raises:
        ConfigurationError: No such candidate, or a key that the gate would not count.
        GateRefused: The key may not sign for the person who asks.
        IntegrityError: The candidate was altered.
        RemoteError: Share or registry failed, after the retries.
    """
    return ask_for_plan(request, services)[0]


def ask_for_plan(request: PlanRequest, services: Services) -> tuple[PlanRequestReport, OpenCandidate]:
    """Do the same as :func:`request_plan`, and also return the candidate, to compare a later look with."""
    signer = services.signer("request", request.key)
    requester = speaker("requester", services.user(), "request", signer, services)
    opened = open_candidate(request.candidate, services)
    opened.require_unaltered()
    plan, facts = make_plan(opened, services)
    claim = Claim(REQUEST, {"planDigest": plan.digest}, {"requester": requester}, {})
    file, opened, _ = attest(opened, claim, signer, services)
    decision = opened.decision(facts=facts, plan=plan)
    return PlanRequestReport(plan, decision, file, opened.head), opened
