"""What candidates that were read wait for, as the release board says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jenkins_release.base.errors import ReleaseError
from jenkins_release.rules.gate.decision import Decision
from jenkins_release.rules.release.board import Seen, Setting, make_board
from jenkins_release.rules.release.waiting import Wait
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.services import Services

NOT_READ: Mapping[CandidateRef, Sequence[str]] = {}
UNDECIDED: Mapping[CandidateRef, Decision] = {}


def waits_of(
    candidates: Mapping[CandidateRef, OpenCandidate | ReleaseError],
    services: Services,
    problems: Mapping[CandidateRef, Sequence[str]] = NOT_READ,
    decisions: Mapping[CandidateRef, Decision] = UNDECIDED,
) -> dict[CandidateRef, Wait]:
    """Return what each candidate waits for, and for whom.

    Args:
        candidates: Every candidate of the product, or why it cannot be read.
        services: The configuration.
        problems: Why what is recorded of a release is not believed.
        decisions: What the gate said where it was asked already.
    """
    seen = []
    for ref in {**candidates, **problems}:
        opened, why = candidates.get(ref), tuple(problems.get(ref, ()))
        if opened is None or isinstance(opened, ReleaseError):
            said = why or ((opened.message,) if opened else ())
            seen.append(Seen(ref.version, ref.build, problems=said))
            continue
        decision = decisions.get(ref) or opened.decision()
        seen.append(Seen(ref.version, ref.build, opened.record, decision, opened.evidence, opened.chain, why))
    board = make_board(services.configuration.product.name, seen, setting_of(services), services.now())
    return {CandidateRef(line.version, line.build): line.wait for line in board.lines}


def setting_of(services: Services) -> Setting:
    """Return what the configuration says about the stages of a release."""
    configuration = services.configuration
    return Setting(
        services.policy,
        bool(configuration.share.releases),
        configuration.portal.kind != "none",
        configuration.saas.stack if configuration.saas.strategy != "none" else "",
        configuration.support.lines,
        configuration.support.line,
        configuration.support.ends,
    )
