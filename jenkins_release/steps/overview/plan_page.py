"""The page of a plan: everything that an approver of a release wants to see, in one place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError, ReleaseError
from jenkins_release.base.moments import age, duration
from jenkins_release.base.text import size
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.records.candidate import Candidate, CandidateImage, FileRecord
from jenkins_release.records.plan import Plan, PlannedImage
from jenkins_release.rules.gate.checklist import Check, checklist
from jenkins_release.rules.gate.decision import Decision
from jenkins_release.rules.notices.events import only_approval_is_missing, who_may_approve
from jenkins_release.rules.release.forecast import Forecast
from jenkins_release.rules.release.support import line_of
from jenkins_release.rules.release.verdicts import ToldVerdict, told_verdicts
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.candidate.opened import OpenCandidate, open_candidate
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.overview.compare import compare_candidates, is_released
from jenkins_release.steps.overview.comparison import CompareReport
from jenkins_release.steps.overview.pages import write_page
from jenkins_release.steps.release.releases import CandidateLook, build_order


@dataclass(frozen=True)
class PlanView:
    """A plan, with everything that an approver looks at.

    Attributes:
        plan: The plan.
        record: The candidate.
        decision: What the gate says.
        checks: The gate's conditions one by one.
        verdicts: What QA says.
        forecast: Bytes to push, and how long that takes.
        approvers: Who may approve; empty if the policy asks for no approval.
        done: Whether everything that the plan names was recorded as done before.
        comparison: What changed since the release before; None if that is unknown.
        uncompared: Why it is unknown.
        at: When all this was read, UTC.
    """

    plan: Plan
    record: Candidate
    decision: Decision
    checks: tuple[Check, ...]
    verdicts: tuple[ToldVerdict, ...]
    forecast: Forecast
    approvers: str
    done: bool
    comparison: CompareReport | None
    uncompared: str
    at: datetime

    @property
    def headline(self) -> tuple[str, str]:
        """How it stands: ``good``, ``wait`` or ``bad``, and a sentence."""
        plan, decision = self.plan, self.decision
        if decision.altered:
            return "bad", "The candidate was altered. Approve nothing of it."
        if self.done:
            return "good", "Nothing is left to do: it was released before."
        in_the_way = len(plan.occupied) + len(plan.obstacles)
        if in_the_way:
            return "bad", f"It cannot be released: {_things(in_the_way)} in the way."
        if only_approval_is_missing(plan, decision):
            return "wait", "It waits for approval. Nothing else is missing."
        if decision.unmet:
            return "bad", f"The gate is shut: {_things(len(decision.unmet))} missing."
        scans = "" if decision.scanned else " ECR's scans are checked after the push."
        if decision.waived:
            waived = len(decision.waived)
            return "wait", f"The gate is open, although {_things(waived)} overridden.{scans}"
        return "good", f"The gate is open.{scans}"

    @property
    def old(self) -> str:
        """How long ago the candidate was exported."""
        return age(self.at - self.record.exported_at)

    @property
    def images(self) -> Iterator[tuple[PlannedImage, CandidateImage]]:
        """Each image as it is planned, and as the candidate has it."""
        return zip(self.plan.images, self.record.images, strict=True)

    @property
    def installers(self) -> Iterator[tuple[str, str, FileRecord]]:
        """Name, kind and file of each installer."""
        return ((each.name, each.kind, self.record.file(each.path)) for each in self.record.installers)

    @property
    def time(self) -> str:
        """How much the promotion pushes, and how long that takes."""
        found = self.forecast
        if not found.bytes:
            return "Nothing to push"
        if found.seconds is None:
            return f"{size(found.bytes)} to push; no promotion to this registry is recorded yet"
        return f"{size(found.bytes)} to push, about {duration(found.seconds)}, as in {', '.join(found.seen)}"


def _things(count: int) -> str:
    return "1 thing is" if count == 1 else f"{count} things are"


def view_plan(
    opened: OpenCandidate,
    plan: Plan,
    decision: Decision,
    forecast: Forecast,
    services: Services,
    *,
    done: bool = False,
) -> PlanView:
    """Collect what an approver looks at. Changes nothing.

    Args:
        opened: The candidate.
        plan: Its plan.
        decision: What the gate says.
        forecast: Bytes and time.
        services: Share and policy.
        done: Whether everything that the plan names was recorded as done before.

    Raises:
        RemoteError: The share failed, after the retries.
    """
    comparison, uncompared = _comparison(opened, services)
    policy = services.policy
    return PlanView(
        plan,
        opened.record,
        decision,
        checklist(decision, policy),
        told_verdicts(opened.evidence, decision),
        forecast,
        who_may_approve(plan, decision, policy) if policy.approvals else "",
        done,
        comparison,
        uncompared,
        services.now(),
    )


def write_plan_page(view: PlanView, page: Path) -> None:
    """Write the page, and its style sheet beside it. Raises ConfigurationError."""
    write_page("plan.html", page, view=view)


def _comparison(opened: OpenCandidate, services: Services) -> tuple[CompareReport | None, str]:
    """Compare a candidate with the release before it; what cannot be read must not hide the plan."""
    notes: list[str] = []
    try:
        before = _release_before(opened.ref, services, notes)
        if before is None:
            return None, "; ".join(["no older release is known", *notes])
        return compare_candidates(before, opened, services, notes), ""
    except ReleaseError as error:
        return None, error.message


def _release_before(ref: CandidateRef, services: Services, notes: list[str]) -> OpenCandidate | None:
    """Find the newest released candidate of the same line, or else of any line, that is not newer.

    Only as many are opened as it takes, newest first.
    """
    version, kind = ReleaseVersion.parse(ref.version), services.configuration.support.line
    older = []
    for other in CandidateLook(services).refs:
        try:
            found = ReleaseVersion.parse(other.version)
        except ConfigurationError:
            continue
        if other != ref and found <= version:
            same_line = line_of(found, kind) == line_of(version, kind)
            older.append((same_line, found, build_order(other.build), other))
    for *_, other in sorted(older, key=lambda each: each[:3], reverse=True):
        try:
            opened = open_candidate(other, services)
        except (ConfigurationError, IntegrityError) as error:
            notes.append(f"{other} is left out: {error.message}")
            continue
        if is_released(opened):
            return opened
    return None
