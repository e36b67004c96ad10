"""The jobs that ``jobs apply`` creates: a table with one row for each kind."""

from __future__ import annotations

import re

from jenkins_release.base.dataclass import dataclass
from jenkins_release.jenkins.job_xml import FOLDER, PIPELINE, Item, Source
from jenkins_release.jenkins.model import Parameter

PRODUCT, VERSION, BUILD, REASON, TICKET = "PRODUCT", "VERSION", "BUILD", "REASON", "TICKET"
DRY_RUN, REQUEST_ID = "DRY_RUN", "REQUEST_ID"
_MARK = re.compile(r"^managed by jenkins-release for (\S+): ", re.MULTILINE)


@dataclass(frozen=True)
class JobTemplate:
    """One kind of job.

    Attributes:
        kind: Its name in ``jenkins.jobs.kind``; of the promote job, ``jenkins.promote_job`` says more.
        summary: What the job does, for its page.
        parameters: Its parameters. The pipeline repeats them: Jenkins takes over the script's with every run,
            and this table sets them before the first one. None: the script's are not touched.
        script: Default path of its script in the product's repository.
    """

    kind: str
    summary: str
    parameters: tuple[Parameter, ...] | None
    script: str


_VERSION = Parameter(VERSION, description="Required. Product version, such as 8.1.0")
_SIGNED_OFF = Parameter(BUILD, description="Required. Build that QA signed off, such as 42")
_WHY = (
    Parameter(REASON, description="Required unless already approved. Why it goes out; recorded"),
    Parameter(TICKET, description="Ticket of the release; recorded with the reason"),
    Parameter(DRY_RUN, "boolean", "false", description="Plan only"),
)
_ACTIONS = ("doctor", "list", "audit", "issue", "rotate", "revoke")

PROMOTE = JobTemplate(
    "promote",
    "Plans a promotion, waits for its approval, and brings the candidate to Amazon ECR.",
    (
        _VERSION,
        _SIGNED_OFF,
        *_WHY,
        Parameter(
            PRODUCT, description="Internal: a guard against the wrong job, filled in by promote launch"
        ),
        Parameter(REQUEST_ID, description="Internal: filled in by promote launch"),
    ),
    "jobs/promote.Jenkinsfile",
)
_ROWS = (
    JobTemplate(
        "candidate", "Builds the product and exports it as a release candidate.", None, "Jenkinsfile"
    ),
    JobTemplate(
        "qa",
        "Loads a candidate, tests it, asks for QA's verdict and signs it.",
        (_VERSION, Parameter(BUILD, description="Required. Build to test, such as 42")),
        "jobs/qa.Jenkinsfile",
    ),
    PROMOTE,
    JobTemplate(
        "publish",
        "Plans a publication, waits for its approval, and brings the installers to the release area.",
        (_VERSION, _SIGNED_OFF, *_WHY),
        "jobs/publish.Jenkinsfile",
    ),
    JobTemplate(
        "customer-access",
        "Gives a customer access to the images, renews it, ends it, or looks at it.",
        (
            Parameter("ACTION", "choice", None, _ACTIONS, "Required. What to do"),
            Parameter("CUSTOMER", description="Required, except for list and audit. Customer, such as ACME"),
            Parameter(
                "KIND",
                "choice",
                None,
                ("iam-user", "aws-account"),
                "A user with a key, or an AWS account of the customer",
            ),
            Parameter("ACCOUNT_ID", description="Required to issue to an aws-account. That account"),
            Parameter(TICKET, description="Required for issue. Ticket that asks for the access"),
            Parameter(
                "NETWORKS", description="Networks that may pull, with blanks between them; empty for all"
            ),
            Parameter("EXPIRES_DAYS", description="Days from now, to renew an access"),
            Parameter("SECRET", description="Secret in AWS Secrets Manager that gets the key"),
            Parameter(
                "RECIPIENT",
                description="Or the public key that a hand-over file is encrypted for: age1...",
            ),
            Parameter(REASON, description="Required for revoke. Why"),
            Parameter("UNDO", "boolean", "false", description="Take a rotation or a revocation back"),
            Parameter("DELETE", "boolean", "false", description="Delete what a revocation left"),
            Parameter(
                "CUSTOMER_KEY",
                description="Id of the credentials with the key of the customer, "
                "for doctor and the proof of revoke",
            ),
        ),
        "jobs/customer-access.Jenkinsfile",
    ),
    JobTemplate("pipeline", "A pipeline of the product's own.", None, ""),
)
TEMPLATES = {each.kind: each for each in _ROWS}
"""Every kind of job by its name."""


def folder_item(product: str, role: str = "") -> Item:
    """Return the folder of a product's jobs, or the one in it for the jobs of a role."""
    keys = f" The credentials of the role {role} belong in this folder, and no others." if role else ""
    return Item(FOLDER, f"Release jobs of {product}.{keys}\n{mark_of(product)}")


def job_item(template: JobTemplate, product: str, source: Source) -> Item:
    """Return the job of one kind for a product."""
    description = f"{template.summary}\n{mark_of(product)}"
    return Item(PIPELINE, description, template.parameters, source)


def mark_of(product: str) -> str:
    """Return the line in a description that says who manages the item."""
    return f"managed by jenkins-release for {product}: jobs apply overwrites what is changed here"


def managed_for(description: str) -> str | None:
    """Return the product that an item is managed for, or None if it is not ours."""
    found = _MARK.search(description)
    return found[1] if found else None
