"""The jobs that ``jobs apply`` makes: a table, one row for each kind of job."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jenkins_release.jenkins.job_xml import FOLDER, PIPELINE, Item, Source
from jenkins_release.jenkins.protocol import Parameter

PRODUCT, VERSION, BUILD, REASON, TICKET = "PRODUCT", "VERSION", "BUILD", "REASON", "TICKET"
DRY_RUN, REQUEST_ID = "DRY_RUN", "REQUEST_ID"
_MARK = re.compile(r"^managed by jenkins-release for (\S+): ", re.MULTILINE)


@dataclass(frozen=True)
class JobTemplate:
    """One kind of job.

    Attributes:
        name: Its name in ``release.toml``: ``jenkins.<name>_job`` and ``jenkins.<name>_script``.
        summary: What the job does, for its page.
        parameters: Its parameters. The pipeline, ``vars/<name>Pipeline.groovy``, repeats them: Jenkins puts
            those of the script in the job with every run, and this table before the first one.
    """

    name: str
    summary: str
    parameters: tuple[Parameter, ...]


PROMOTE = JobTemplate(
    "promote",
    "Plans a promotion, waits for its approval, and brings the candidate to Amazon ECR.",
    (
        Parameter(PRODUCT, description="Product; empty for the one of this job"),
        Parameter(VERSION, description="Product version, such as 8.1.0"),
        Parameter(BUILD, description="Build that QA signed off, such as 42"),
        Parameter(REASON, description="Why it goes out; recorded with the approval"),
        Parameter(TICKET, description="Ticket of the release; recorded with the reason"),
        Parameter(DRY_RUN, "boolean", "false", description="Plan only"),
        Parameter(REQUEST_ID, description="Filled in by promote launch; leave it empty"),
    ),
)
TEMPLATES = (PROMOTE,)
"""Every kind of job, in the order in which they are applied."""


def folder_item(product: str) -> Item:
    """Return the folder of a product's jobs."""
    return Item(FOLDER, f"Release jobs of {product}.\n{mark_of(product)}")


def job_item(template: JobTemplate, product: str, source: Source) -> Item:
    """Return the job of one kind for a product."""
    description = f"{template.summary}\n{mark_of(product)}"
    return Item(PIPELINE, description, template.parameters, source)


def mark_of(product: str) -> str:
    """Return the line in a description that says who manages the item."""
    return f"managed by jenkins-release for {product}: jobs apply overwrites what is changed here"


def managed_for(description: str) -> str | None:
    """Return the product that an item is managed for, or None where it is somebody else's."""
    found = _MARK.search(description)
    return found[1] if found else None
