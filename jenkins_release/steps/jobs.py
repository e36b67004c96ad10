"""Jobs: the folder and the parameterized jobs of a product on the controller, as ``release.toml`` says."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from jenkins_release.errors import ConfigurationError, RemoteError
from jenkins_release.jenkins.errors import ItemNotFound
from jenkins_release.jenkins.job_xml import FOLDER, Item, Source, changed_config, new_config, read_item
from jenkins_release.jenkins.templates import (
    PROMOTE,
    TEMPLATES,
    JobTemplate,
    folder_item,
    job_item,
    managed_for,
)
from jenkins_release.steps.services import Services

if TYPE_CHECKING:
    from jenkins_release.config.jenkins import JenkinsSection

JobAction = Literal["create", "update", "keep"]


@dataclass(frozen=True)
class JobsRequest:
    """What to apply.

    Attributes:
        adopt: Take over jobs of the same name that this tool does not manage.
        dry_run: Check everything, change nothing.
    """

    adopt: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class JobChange:
    """What applying does to one item.

    Attributes:
        path: Full name.
        kind: ``folder`` or ``job``.
        action: ``create``, ``update``, or ``keep`` where nothing differs.
        foreign: Why the item is not ours to change, or an empty string.
        diff: What differs, as a unified diff from the controller to ``release.toml``.
    """

    path: str
    kind: Literal["folder", "job"]
    action: JobAction
    foreign: str
    diff: str


@dataclass(frozen=True)
class JobsReport:
    """What applying did, or would do.

    Attributes:
        url: The controller.
        items: Every item, folders before what is in them.
        applied: Whether the controller was changed.
    """

    url: str
    items: tuple[JobChange, ...]
    applied: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything differs."""
        return any(item.action != "keep" for item in self.items)


def diff_jobs(services: Services) -> JobsReport:
    """Tell what ``apply_jobs`` would change. Changes nothing.

    Raises:
        ConfigurationError: ``[jenkins]`` is not complete, or the user lacks a permission.
        RemoteError: The controller failed, after the retries.
    """
    return JobsReport(services.jenkins_url, tuple(change for change, _, _ in _compare(services)))


def apply_jobs(request: JobsRequest, services: Services) -> JobsReport:
    """Create or update the folder and the jobs. What is as it should be is not touched.

    In an item that exists, what is managed is set: description, parameters, source of the script.
    Permissions, build discarders, credentials of the folder and the like stay.

    Raises:
        ConfigurationError: As in :func:`diff_jobs`, or jobs are in the way that this tool does not
            manage; ``reasons`` names all of them, and nothing was changed.
        RemoteError: The controller failed, after the retries. Apply again: it goes on.
    """
    found = list(_compare(services))
    changes = tuple(change for change, _, _ in found)
    foreign = [f"{change.path}: {change.foreign}" for change in changes if change.foreign]
    if foreign and not request.adopt:
        raise ConfigurationError(
            f"{foreign[0]}; nothing was changed",
            hint="choose another name under [jenkins], or take the job over with --adopt",
            reasons=foreign,
        )
    report = JobsReport(services.jenkins_url, changes)
    if request.dry_run or not report.changed:
        return report
    for change, item, config in found:
        if change.action != "keep":
            _apply(change, item, config, services)
    return JobsReport(services.jenkins_url, changes, applied=True)


def _apply(change: JobChange, item: Item, config: str | None, services: Services) -> None:
    store = services.job_store
    if config is not None:
        changed = changed_config(change.path, config, item)
        services.retry(f"update {change.path}", lambda: store.update(change.path, changed))
        return

    def create() -> None:
        # An answer may get lost after the item was made: creating it twice is an error for Jenkins.
        try:
            store.config(change.path)
        except ItemNotFound:
            store.create(change.path, new_config(item))

    services.retry(f"create {change.path}", create)


def _compare(services: Services) -> Iterator[tuple[JobChange, Item, str | None]]:
    for path, wanted in _wanted(services):
        kind: Literal["folder", "job"] = "folder" if wanted.kind == FOLDER else "job"
        try:
            config = services.retry(
                f"read {path}",
                lambda path=path: services.job_store.config(path),  # type: ignore[misc]
            )
        except ItemNotFound:
            yield JobChange(path, kind, "create", "", _diff(path, [], wanted)), wanted, None
            continue
        now = read_item(path, config)
        if now.kind != wanted.kind:
            raise RemoteError(
                f"{path} on the controller is a {now.kind}, expected a {wanted.kind}",
                hint="rename it, or choose another name under [jenkins]",
            )
        if kind == "folder":
            # Nothing of it is needed but that it is there: a folder that exists stays as it is.
            yield JobChange(path, kind, "keep", "", ""), wanted, config
            continue
        if wanted.parameters is None:
            now = replace(now, parameters=None)
        diff = _diff(path, now.lines(), wanted)
        action: JobAction = "update" if diff else "keep"
        foreign = _foreign(now.description, services.configuration.product.name)
        yield JobChange(path, kind, action, foreign, diff), wanted, config


def _wanted(services: Services) -> Iterator[tuple[str, Item]]:
    section, product = services.configuration.jenkins, services.configuration.product.name
    if not section.git_url:
        raise ConfigurationError(
            "jenkins.git_url is not set: the jobs take their scripts and release.toml from there",
            hint="set it to the git repository of the product",
        )
    jobs = {
        f"{services.jenkins_folder}/{name}": job_item(template, product, source)
        for name, template, source in _jobs(section)
    }
    for folder in dict.fromkeys(above for path in jobs for above in _above(path)):
        yield folder, folder_item(product)
    yield from jobs.items()


def _jobs(section: JenkinsSection) -> Iterator[tuple[str, JobTemplate, Source]]:
    def source(script: str, branch: str = "") -> Source:
        return Source(section.git_url, section.git_login, branch or section.git_branch, script)

    yield section.promote_job, PROMOTE, source(section.promote_script)
    for job in section.jobs:
        template = TEMPLATES[job.kind]
        yield job.job_name, template, source(job.script or template.script, job.branch)


def _above(path: str) -> list[str]:
    names = path.split("/")[:-1]
    return ["/".join(names[:depth]) for depth in range(1, len(names) + 1)]


def _diff(path: str, now: list[str], wanted: Item) -> str:
    lines = difflib.unified_diff(
        now, wanted.lines(), f"controller: {path}", f"release.toml: {path}", lineterm="", n=2
    )
    return "\n".join(lines)


def _foreign(description: str, product: str) -> str:
    owner = managed_for(description)
    if owner is None:
        return "is a job that this tool does not manage"
    return "" if owner == product else f"is managed for another product, {owner}"
