"""What the steps tell about themselves: their reports as events for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jenkins_release.rules.events import who_may_approve
from jenkins_release.steps._announce import Happened

if TYPE_CHECKING:
    from jenkins_release.records.plan import Plan
    from jenkins_release.rules.gate import Decision
    from jenkins_release.steps._attest import AttestationReport
    from jenkins_release.steps._refresh_run import RefreshReport
    from jenkins_release.steps.export import ExportReport, ExportRequest
    from jenkins_release.steps.promote import PromoteRequest, PromotionReport
    from jenkins_release.steps.publish import PublicationReport, PublishRequest
    from jenkins_release.steps.refresh import RefreshRequest
    from jenkins_release.steps.revoke import RevocationRequest
    from jenkins_release.steps.rollback import RollbackRequest
    from jenkins_release.steps.services import Services
    from jenkins_release.steps.sign_off import SignOffRequest
    from jenkins_release.steps.withdraw import WithdrawalReport, WithdrawRequest


def by_candidate(request: Any) -> tuple[str, str]:
    """Return version and build of a request that names a candidate."""
    return request.candidate.version, request.candidate.build


def by_version(request: Any) -> tuple[str, str]:
    """Return version and build of a request that names them apart; the build may be empty."""
    return request.version, request.build


def by_version_alone(request: Any) -> tuple[str, str]:
    """Return the version of a request that leaves the build to what was published."""
    return request.version, ""


def by_release(request: RefreshRequest) -> tuple[str, str]:
    """Return version and build of a refresh; the build may be empty."""
    version, _, build = request.release.partition("/")
    return version, build


def by_stack(_: RollbackRequest) -> tuple[str, str]:
    """A rollback does not say what it leaves."""
    return "", ""


def exported(_: ExportRequest, report: ExportReport, __: Services) -> Happened | None:
    """A candidate is on the share: QA's turn."""
    record = report.candidate
    if record is None:
        return None
    verdict = "--verdict pass --tester NAME --results junit.xml"
    return Happened(
        "candidate",
        record.version,
        record.build,
        location=report.location,
        facts=[
            *(("image", f"{image.reference}, {image.config_digest}") for image in record.images),
            *((installer.kind, installer.name) for installer in record.installers),
            ("candidate.json", report.digest),
            ("revision", record.revision),
            ("build attestation", "signed" if report.attested else "none"),
        ],
        next_step="QA loads it, tests it, and signs the verdict:",
        command=f"jenkins-release qa sign-off {record.ident} {verdict}",
    )


def signed_off(request: SignOffRequest, report: AttestationReport, services: Services) -> Happened | None:
    """QA gave its verdict: release management's turn, unless it failed or something else is missing."""
    if report.found:
        return None
    ref, decision = report.candidate, report.decision
    next_step, command = "The gate is still shut: see what is missing.", ""
    if request.verdict == "fail":
        next_step = "It is not released as it is."
    elif decision.allowed:
        next_step = "Release management plans its promotion, and has the plan approved:"
        command = f"jenkins-release promote plan {ref} --out plan.json"
    return Happened(
        "signed-off",
        ref.version,
        ref.build,
        by=request.tester,
        location=services.candidates.shown(ref),
        verdict=request.verdict,
        facts=[
            ("tests", report.results.summary() if report.results else ""),
            ("note", request.note),
            ("accepted failures", request.accept_failures),
            ("candidate.json", report.digest),
            ("recorded in", report.file),
            *(("missing", reason) for reason in (*decision.altered, *decision.reasons)),
        ],
        next_step=next_step,
        command=command,
    )


def revoked(request: RevocationRequest, report: AttestationReport, services: Services) -> Happened | None:
    """QA took its sign-offs back: nobody's turn but QA's."""
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


def waiting(plan: Plan, decision: Decision, services: Services) -> Happened:
    """A plan lacks nothing but its approval: an approver's turn."""
    return Happened(
        "waiting",
        plan.version,
        plan.build,
        by=plan.requester,
        location=plan.registry or plan.release_area,
        facts=[
            ("plan", plan.digest),
            ("installers", str(len(plan.installers) or "")),
            ("candidate.json", plan.candidate),
            *(("missing", reason.message) for reason in decision.unmet),
            ("who may approve", who_may_approve(plan, decision, services.policy)),
        ],
        next_step="An approver looks at exactly this plan and approves it, in the Jenkins build or by hand:",
        command="jenkins-release promote approve plan.json --approver NAME --reason WHY",
    )


def promoted(_: PromoteRequest, report: PromotionReport, __: Services) -> Happened | None:
    """Customers can pull it; nothing to tell where it was promoted before."""
    if not report.changed:
        return None
    plan = report.plan
    return Happened(
        "promoted",
        plan.version,
        plan.build,
        location=plan.registry,
        facts=[
            *_overridden(report.decision),
            *((image.repository, f"{', '.join(image.tags)}: {image.digest}") for image in report.images),
            ("recorded in", report.attestation),
        ],
        next_step="Customers can pull it. Its whole story:",
        command=f"jenkins-release release history {plan.version}",
    )


def published(_: PublishRequest, report: PublicationReport, __: Services) -> Happened | None:
    """Support can upload it; nothing to tell where it was published before."""
    if not report.changed:
        return None
    return Happened(
        "published",
        report.candidate.version,
        report.candidate.build,
        location=report.location,
        facts=[
            *_overridden(report.decision),
            *((file.kind, f"{file.path}, {file.size} bytes, SHA-256 {file.sha256}") for file in report.files),
            ("not read-only", ", ".join(report.unprotected)),
            ("recorded in", report.attestation),
        ],
        next_step="Support takes it from there to the customers. What else is published:",
        command="jenkins-release release list",
    )


def withdrawn(request: WithdrawRequest, report: WithdrawalReport, __: Services) -> Happened | None:
    """Customers cannot pull it any more; nothing to tell where it was withdrawn before."""
    if not report.changed:
        return None
    return Happened(
        "withdrawn",
        report.candidate.version,
        report.candidate.build,
        location=report.registry,
        facts=[
            ("reason", request.reason),
            *((f"{tag} returns to", str(ref)) for tag, ref in report.returns.items()),
            ("recorded in", report.attestation),
        ],
        next_step="Its tags are gone." if report.registry else "Its files stay in the release area.",
    )


def refreshed(_: RefreshRequest | RollbackRequest, report: RefreshReport, __: Services) -> Happened | None:
    """The stack runs something else; nothing to tell where nothing was recorded."""
    if not report.attestation:
        return None
    version, _slash, build = report.after.release.partition("/")
    return Happened(
        "refreshed",
        version,
        build,
        location=report.stack,
        facts=[
            ("stack", f"{report.stack}, by {report.action}"),
            ("runs", report.after.shown),
            ("before", report.before.shown),
            *((part.name, part.definition) for part in report.after.parts if part.definition),
            *((each.instance, each.status) for each in report.instances),
            *((each.url, f"{each.good} of {each.answers} answers good") for each in report.health),
            ("recorded in", report.attestation),
        ],
        next_step="Clients use it. What runs where:",
        command="jenkins-release saas status",
    )


def _overridden(decision: Decision) -> list[tuple[str, str]]:
    """Return what an override let pass, to stand before everything else."""
    return [
        ("OVERRIDDEN", f"{each.reason.message}, by {each.override.by}: {each.override.reason}")
        for each in decision.waived
    ]
