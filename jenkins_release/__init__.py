"""Promote exactly what QA validated: from Jenkins to the SMB share to Amazon ECR.

The verbs of the release process and their request and report types, as pipeline steps import
them::

    from jenkins_release import ExportRequest, Services, export_candidate, load_configuration

    services = Services(load_configuration(environ=os.environ))
    report = export_candidate(ExportRequest(version="8.1.0", build="42"), services)

Names are imported on first use, so that ``import jenkins_release`` loads neither boto3 nor docker.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jenkins_release.version import __version__

if TYPE_CHECKING:
    from jenkins_release.config import Configuration, load_configuration
    from jenkins_release.errors import (
        Category,
        ConfigurationError,
        GateRefused,
        IntegrityError,
        LeaseHeld,
        ReleaseError,
        RemoteError,
    )
    from jenkins_release.records.candidate import Candidate
    from jenkins_release.records.plan import Plan
    from jenkins_release.rules.forecast import Forecast
    from jenkins_release.rules.gate import Decision
    from jenkins_release.rules.setup_proof import SetupProof
    from jenkins_release.share.candidates import CandidateRef
    from jenkins_release.steps._attest import AttestationReport
    from jenkins_release.steps._delivery import Delivery
    from jenkins_release.steps._handover import FileHandOver, SecretHandOver
    from jenkins_release.steps._refresh_run import RefreshReport
    from jenkins_release.steps._run import Run
    from jenkins_release.steps.approve import (
        ApprovalReport,
        ApprovalRequest,
        OverrideRequest,
        approve_plan,
        override_gate,
    )
    from jenkins_release.steps.attestations import (
        AttestationsReport,
        AttestationsRequest,
        write_attestations,
    )
    from jenkins_release.steps.bundle import BundleReport, BundleRequest, build_bundle
    from jenkins_release.steps.bundle_verify import BundleVerifyRequest, verify_bundle
    from jenkins_release.steps.customer_account import (
        AccountReport,
        AccountRequest,
        issue_account,
        revoke_account,
    )
    from jenkins_release.steps.customer_doctor import DoctorReport, examine_customer
    from jenkins_release.steps.customer_issue import IssueReport, IssueRequest, issue_customer
    from jenkins_release.steps.customer_list import (
        AuditReport,
        CustomerList,
        ListedCustomer,
        audit_customers,
        list_customers,
    )
    from jenkins_release.steps.customer_revoke import RevokeReport, RevokeRequest, revoke_customer
    from jenkins_release.steps.customer_rotate import RotateRequest, RotationReport, rotate_customer
    from jenkins_release.steps.export import ExportReport, ExportRequest, export_candidate
    from jenkins_release.steps.fetch import FetchReport, fetch_candidate
    from jenkins_release.steps.forecast import forecast_promotion
    from jenkins_release.steps.history import VersionHistory, release_history
    from jenkins_release.steps.job_status import JobStatus, JobStatusRequest, job_status
    from jenkins_release.steps.jobs import JobChange, JobsReport, JobsRequest, apply_jobs, diff_jobs
    from jenkins_release.steps.launch import LaunchReport, LaunchRequest, launch
    from jenkins_release.steps.listing import (
        ListedCandidate,
        ShownCandidate,
        list_candidates,
        show_candidate,
    )
    from jenkins_release.steps.load import LoadReport, load_candidate
    from jenkins_release.steps.notify import NotifyTestReport, NotifyTestRequest, try_notifiers
    from jenkins_release.steps.plan import ask_for_approval, plan_promotion, write_plan
    from jenkins_release.steps.portal import PortalReport, PortalRequest, upload_release
    from jenkins_release.steps.portal_link import PortalLink, PortalLinkRequest, portal_link
    from jenkins_release.steps.portal_removal import (
        PortalRemoval,
        PortalRemovalRequest,
        remove_from_portal,
    )
    from jenkins_release.steps.promote import PromoteRequest, PromotionReport, promote
    from jenkins_release.steps.refresh import RefreshRequest, refresh_stack
    from jenkins_release.steps.retire import RetireReport, RetireRequest, retire_releases
    from jenkins_release.steps.revoke import RevocationRequest, revoke_sign_off
    from jenkins_release.steps.rollback import RollbackRequest, rollback_stack
    from jenkins_release.steps.running import StackStatus, stack_status
    from jenkins_release.steps.services import Services
    from jenkins_release.steps.sign_off import SignOffRequest, sign_off
    from jenkins_release.steps.status import PromotionStatus, promotion_status
    from jenkins_release.steps.verify import VerifyReport, verify_candidate
    from jenkins_release.steps.verify_release import (
        ReleaseVerification,
        VerifyReleaseRequest,
        verify_release,
    )
    from jenkins_release.steps.watcher import StackWatcher, Watcher
    from jenkins_release.steps.withdraw import WithdrawalReport, WithdrawRequest, withdraw_release

_HOMES = {
    "config": ("Configuration", "load_configuration"),
    "errors": (
        "Category",
        "ConfigurationError",
        "GateRefused",
        "IntegrityError",
        "LeaseHeld",
        "ReleaseError",
        "RemoteError",
    ),
    "records.candidate": ("Candidate",),
    "records.plan": ("Plan",),
    "rules.forecast": ("Forecast",),
    "rules.gate": ("Decision",),
    "rules.setup_proof": ("SetupProof",),
    "share.candidates": ("CandidateRef",),
    "steps._attest": ("AttestationReport",),
    "steps._delivery": ("Delivery",),
    "steps._handover": ("FileHandOver", "SecretHandOver"),
    "steps._refresh_run": ("RefreshReport",),
    "steps._run": ("Run",),
    "steps.approve": (
        "ApprovalReport",
        "ApprovalRequest",
        "OverrideRequest",
        "approve_plan",
        "override_gate",
    ),
    "steps.attestations": ("AttestationsReport", "AttestationsRequest", "write_attestations"),
    "steps.bundle": ("BundleReport", "BundleRequest", "build_bundle"),
    "steps.bundle_verify": ("BundleVerifyRequest", "verify_bundle"),
    "steps.customer_account": ("AccountReport", "AccountRequest", "issue_account", "revoke_account"),
    "steps.customer_doctor": ("DoctorReport", "examine_customer"),
    "steps.customer_issue": ("IssueReport", "IssueRequest", "issue_customer"),
    "steps.customer_list": (
        "AuditReport",
        "CustomerList",
        "ListedCustomer",
        "audit_customers",
        "list_customers",
    ),
    "steps.customer_revoke": ("RevokeReport", "RevokeRequest", "revoke_customer"),
    "steps.customer_rotate": ("RotateRequest", "RotationReport", "rotate_customer"),
    "steps.export": ("ExportReport", "ExportRequest", "export_candidate"),
    "steps.fetch": ("FetchReport", "fetch_candidate"),
    "steps.forecast": ("forecast_promotion",),
    "steps.history": ("VersionHistory", "release_history"),
    "steps.job_status": ("JobStatus", "JobStatusRequest", "job_status"),
    "steps.jobs": ("JobChange", "JobsReport", "JobsRequest", "apply_jobs", "diff_jobs"),
    "steps.launch": ("LaunchReport", "LaunchRequest", "launch"),
    "steps.listing": ("ListedCandidate", "ShownCandidate", "list_candidates", "show_candidate"),
    "steps.load": ("LoadReport", "load_candidate"),
    "steps.notify": ("NotifyTestReport", "NotifyTestRequest", "try_notifiers"),
    "steps.plan": ("ask_for_approval", "plan_promotion", "write_plan"),
    "steps.portal": ("PortalReport", "PortalRequest", "upload_release"),
    "steps.portal_link": ("PortalLink", "PortalLinkRequest", "portal_link"),
    "steps.portal_removal": ("PortalRemoval", "PortalRemovalRequest", "remove_from_portal"),
    "steps.promote": ("PromoteRequest", "PromotionReport", "promote"),
    "steps.retire": ("RetireReport", "RetireRequest", "retire_releases"),
    "steps.refresh": ("RefreshRequest", "refresh_stack"),
    "steps.revoke": ("RevocationRequest", "revoke_sign_off"),
    "steps.rollback": ("RollbackRequest", "rollback_stack"),
    "steps.running": ("StackStatus", "stack_status"),
    "steps.services": ("Services",),
    "steps.sign_off": ("SignOffRequest", "sign_off"),
    "steps.status": ("PromotionStatus", "promotion_status"),
    "steps.verify": ("VerifyReport", "verify_candidate"),
    "steps.verify_release": ("ReleaseVerification", "VerifyReleaseRequest", "verify_release"),
    "steps.watcher": ("StackWatcher", "Watcher"),
    "steps.withdraw": ("WithdrawRequest", "WithdrawalReport", "withdraw_release"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AccountReport",
    "AccountRequest",
    "ApprovalReport",
    "ApprovalRequest",
    "AttestationReport",
    "AttestationsReport",
    "AttestationsRequest",
    "AuditReport",
    "BundleReport",
    "BundleRequest",
    "BundleVerifyRequest",
    "Candidate",
    "CandidateRef",
    "Category",
    "Configuration",
    "ConfigurationError",
    "CustomerList",
    "Decision",
    "Delivery",
    "DoctorReport",
    "ExportReport",
    "ExportRequest",
    "FetchReport",
    "FileHandOver",
    "Forecast",
    "GateRefused",
    "IntegrityError",
    "IssueReport",
    "IssueRequest",
    "JobChange",
    "JobStatus",
    "JobStatusRequest",
    "JobsReport",
    "JobsRequest",
    "LaunchReport",
    "LaunchRequest",
    "LeaseHeld",
    "ListedCandidate",
    "ListedCustomer",
    "LoadReport",
    "NotifyTestReport",
    "NotifyTestRequest",
    "OverrideRequest",
    "Plan",
    "PortalLink",
    "PortalLinkRequest",
    "PortalRemoval",
    "PortalRemovalRequest",
    "PortalReport",
    "PortalRequest",
    "PromoteRequest",
    "PromotionReport",
    "PromotionStatus",
    "RefreshReport",
    "RefreshRequest",
    "ReleaseError",
    "ReleaseVerification",
    "RemoteError",
    "RetireReport",
    "RetireRequest",
    "RevocationRequest",
    "RevokeReport",
    "RevokeRequest",
    "RollbackRequest",
    "RotateRequest",
    "RotationReport",
    "Run",
    "SecretHandOver",
    "Services",
    "SetupProof",
    "ShownCandidate",
    "SignOffRequest",
    "StackStatus",
    "StackWatcher",
    "VerifyReleaseRequest",
    "VerifyReport",
    "VersionHistory",
    "Watcher",
    "WithdrawRequest",
    "WithdrawalReport",
    "__version__",
    "apply_jobs",
    "approve_plan",
    "ask_for_approval",
    "audit_customers",
    "build_bundle",
    "diff_jobs",
    "examine_customer",
    "export_candidate",
    "fetch_candidate",
    "forecast_promotion",
    "issue_account",
    "issue_customer",
    "job_status",
    "launch",
    "list_candidates",
    "list_customers",
    "load_candidate",
    "load_configuration",
    "override_gate",
    "plan_promotion",
    "portal_link",
    "promote",
    "promotion_status",
    "refresh_stack",
    "release_history",
    "remove_from_portal",
    "retire_releases",
    "revoke_account",
    "revoke_customer",
    "revoke_sign_off",
    "rollback_stack",
    "rotate_customer",
    "show_candidate",
    "sign_off",
    "stack_status",
    "try_notifiers",
    "upload_release",
    "verify_bundle",
    "verify_candidate",
    "verify_release",
    "withdraw_release",
    "write_attestations",
    "write_plan",
]


def __getattr__(name: str) -> Any:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module 'jenkins_release' has no attribute {name!r}")
    return getattr(import_module(f"jenkins_release.{module}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
