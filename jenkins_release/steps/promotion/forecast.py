"""Forecast: how much a promotion will push, and how long that will take at the rates seen so far."""

from __future__ import annotations

import logging

from jenkins_release.base.errors import ReleaseError
from jenkins_release.records.attestation import PROMOTION, ROLES
from jenkins_release.records.plan import Plan
from jenkins_release.rules.gate.chain import Document
from jenkins_release.rules.release.forecast import Forecast, SeenRate, forecast, seen_rate
from jenkins_release.share.candidates import ATTESTATIONS, CandidateRef
from jenkins_release.steps.candidate.order import candidate_order
from jenkins_release.steps.context.services import Services

_log = logging.getLogger(__name__)
LOOKED_AT = 12
"""How many other candidates are searched for rates, newest first."""
COUNTED = 3
"""How many promotions' rates count at most: last year's network says nothing about today's."""
_KIND = "-promotion."


def forecast_promotion(plan: Plan, services: Services) -> Forecast:
    """Forecast how many bytes running a plan moves, and how long it takes.

    The rates are those that the product's newest promotions to the same registry recorded. The forecast is
    for people and not part of the plan. What cannot be read is skipped, and nothing is raised.
    """
    size = sum(image.push_bytes for image in plan.images if image.state == "absent")
    return forecast(size, _seen(plan, services) if size else ())


def _seen(plan: Plan, services: Services) -> list[SeenRate]:
    area = services.candidates
    try:
        refs = services.retry("list candidates", area.refs)
        others = [ref for ref in refs if ref != CandidateRef(plan.version, plan.build)]
        newest = sorted(others, key=candidate_order, reverse=True)[:LOOKED_AT]
        names = services.each(lambda ref: services.retry(f"list {ref}", area.attestation_names, ref), newest)
        last = [
            (ref, next((name for name in reversed(found) if _KIND in name), ""))
            for ref, found in zip(newest, names, strict=True)
        ]
        promoted = [(ref, name) for ref, name in last if name][:COUNTED]
        _ = services.trusted_keys  # read them once, before the threads start
        rates = services.each(lambda found: _rate(*found, plan, services), promoted)
    except ReleaseError as error:
        _log.info("no forecast of the time: %s", error)
        return []
    return [rate for rate in rates if rate is not None]


def _rate(ref: CandidateRef, name: str, plan: Plan, services: Services) -> SeenRate | None:
    try:
        data = services.candidates.read_small(ref, f"{ATTESTATIONS}/{name}")
        document = Document(name, data)
        statement, key = document.statement, document.signed_by(services.trusted_keys)
    except ReleaseError as error:
        _log.info("%s of %s has no rate: %s", name, ref, error)
        return None
    genuine = key is not None and ROLES[PROMOTION] in key.roles and not key.revoked
    if not genuine or statement.predicate_type != PROMOTION:
        return None
    if statement.predicate.get("registry") != plan.registry:
        return None
    return seen_rate(str(ref), statement.predicate)
