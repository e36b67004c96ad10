"""Jobs: a product's folders and parameterised jobs on the controller, from ``release.toml``.

A build can bind the credentials of every folder that its job is in, whoever started it. So the jobs of each
role are in a separate folder, and anything that could bind the keys of other roles is reported.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, RemoteError, without_logins
from jenkins_release.config.jenkins import ROLE_FOLDERS
from jenkins_release.jenkins.errors import ItemNotFound
from jenkins_release.jenkins.job_dsl import casc, job_dsl
from jenkins_release.jenkins.job_xml import (
    FOLDER,
    Item,
    Source,
    changed_config,
    credentials_in,
    new_config,
    read_item,
)
from jenkins_release.jenkins.templates import (
    PROMOTE,
    TEMPLATES,
    JobTemplate,
    folder_item,
    job_item,
    managed_for,
)
from jenkins_release.steps.context.services import Services

if TYPE_CHECKING:
    from jenkins_release.config.jenkins import JenkinsSection
    from jenkins_release.jenkins.model import FolderEntry

JobAction = Literal["create", "update", "keep"]
JobFormat = Literal["job-dsl", "jcasc", "xml"]


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


_Found = list[tuple[JobChange, Item, str | None]]


@dataclass(frozen=True)
class LeftJob:
    """What stands in the product's folders and is not in ``release.toml``.

    Attributes:
        path: Full name.
        why: What is wrong with that, in words.
        misplaced: Whether it is a job of ours outside of the folders by role, where earlier versions put it.
    """

    path: str
    why: str
    misplaced: bool = False


@dataclass(frozen=True)
class InheritedKeys:
    """Credentials in a folder above those by role: every job of the product can bind them.

    Attributes:
        folder: Full name of the folder.
        credentials: Their ids.
    """

    folder: str
    credentials: tuple[str, ...]


@dataclass(frozen=True)
class JobsReport:
    """What applying did, or would do.

    Attributes:
        url: The controller.
        items: Every item, folders before what is in them.
        applied: Whether the controller was changed.
        left: What is there besides, and can bind credentials that are not meant for it.
        inherited: Credentials that jobs of every role can bind.
    """

    url: str
    items: tuple[JobChange, ...]
    applied: bool = False
    left: tuple[LeftJob, ...] = ()
    inherited: tuple[InheritedKeys, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything differs."""
        return any(item.action != "keep" for item in self.items)


@dataclass(frozen=True)
class ShownJob:
    """The definition of one item.

    Attributes:
        path: Full name.
        kind: ``folder`` or ``job``.
        text: Its definition in the format that was asked for.
    """

    path: str
    kind: Literal["folder", "job"]
    text: str


@dataclass(frozen=True)
class ShownJobs:
    """The definitions of the folders and the jobs, as ``release.toml`` has them.

    Attributes:
        format: The format.
        text: All of them in one text, as it is applied; of XML, one document after another.
        items: Each of them, folders before what is in them.
    """

    format: JobFormat
    text: str
    items: tuple[ShownJob, ...]


def show_jobs(format: JobFormat, services: Services) -> ShownJobs:  # noqa: A002 - the name of the option
    """Write the folders and the jobs as text. Asks no controller.

    Args:
        format: ``job-dsl`` for a seed job, ``jcasc`` for Configuration as Code, ``xml`` for ``config.xml``.
        services: The configuration.

    Raises:
        ConfigurationError: ``[jenkins]`` is not complete, or its repository has a user who may be a token.
    """
    write: Callable[[Mapping[str, Item]], str] = {"job-dsl": job_dsl, "jcasc": casc, "xml": _documents}[
        format
    ]
    wanted = dict(_wanted(services))
    if without_logins(services.configuration.jenkins.git_url) != services.configuration.jenkins.git_url:
        raise ConfigurationError(
            "jenkins.git_url names a user, who may be a token: no definition shows it",
            hint="remove the user from the URL, and set jenkins.git_login to the id of the credential",
        )
    shown = tuple(
        ShownJob(path, "folder" if item.kind == FOLDER else "job", write({path: item}))
        for path, item in wanted.items()
    )
    return ShownJobs(format, write(wanted), shown)


def _documents(items: Mapping[str, Item]) -> str:
    return "".join(map(new_config, items.values()))


def diff_jobs(services: Services) -> JobsReport:
    """Tell what ``apply_jobs`` would change. Changes nothing.

    Raises:
        ConfigurationError: ``[jenkins]`` is not complete, or the user lacks a permission.
        RemoteError: The controller failed, after the retries.
    """
    return _survey(services)[0]


def apply_jobs(request: JobsRequest, services: Services) -> JobsReport:
    """Create or update the folders and the jobs. What is as it should be is not touched.

    In an item that exists, what is managed is set: description, parameters, source of the script.
    Permissions, build discarders, credentials of the folder and the like stay.

    Raises:
        ConfigurationError: As in :func:`diff_jobs`, or jobs are in the way that this tool does not
            manage, or jobs of the product stand outside of the folders by role; ``reasons`` names all of
            them, and nothing was changed.
        RemoteError: The controller failed, after the retries. Apply again: it goes on.
    """
    report, found = _survey(services)
    if misplaced := [f"{job.path}: {job.why}" for job in report.left if job.misplaced]:
        folder = services.jenkins_folder
        raise ConfigurationError(
            f"{misplaced[0]}; nothing was changed",
            hint=f"rename the folder {folder} in Jenkins, delete the credentials in it, apply, and store new "
            "keys in the folders by role; 'Where keys lie' in docs/jenkins.md has the steps",
            reasons=misplaced,
        )
    foreign = [f"{change.path}: {change.foreign}" for change in report.items if change.foreign]
    if foreign and not request.adopt:
        raise ConfigurationError(
            f"{foreign[0]}; nothing was changed",
            hint="choose another name under [jenkins], or take the job over with --adopt",
            reasons=foreign,
        )
    if request.dry_run or not report.changed:
        return report
    for change, item, config in found:
        if change.action != "keep":
            _apply(change, item, config, services)
    return replace(report, applied=True)


def _apply(change: JobChange, item: Item, config: str | None, services: Services) -> None:
    store = services.jenkins
    if config is not None:
        changed = changed_config(change.path, config, item)
        services.retry(f"update {change.path}", store.update, change.path, changed)
        return

    def create() -> None:
        # An answer may get lost after the item was made: creating it twice is an error for Jenkins.
        try:
            there = read_item(change.path, store.config(change.path))
        except ItemNotFound:
            store.create(change.path, new_config(item))
            return
        if there.kind != item.kind or (item.kind != FOLDER and _diff(change.path, there.lines(), item)):
            raise RemoteError(
                f"cannot create {change.path}: it was made meanwhile, and not as release.toml has it",
                hint="'jobs diff' shows the difference; find out who made it, then apply again",
            )

    services.retry(f"create {change.path}", create)


def _survey(services: Services) -> tuple[JobsReport, _Found]:
    wanted = dict(_wanted(services))
    left = tuple(_left(wanted, services))
    found = list(_compare(wanted, {job.path for job in left if job.misplaced}, services))
    changes = tuple(change for change, _, _ in found)
    inherited = tuple(_inherited(found, services))
    return JobsReport(services.jenkins_url, changes, left=left, inherited=inherited), found


def _compare(
    items: Mapping[str, Item], misplaced: Collection[str], services: Services
) -> Iterator[tuple[JobChange, Item, str | None]]:
    for path, wanted in items.items():
        kind: Literal["folder", "job"] = "folder" if wanted.kind == FOLDER else "job"
        try:
            config = services.retry(f"read {path}", services.jenkins.config, path)
        except ItemNotFound:
            yield JobChange(path, kind, "create", "", _diff(path, [], wanted)), wanted, None
            continue
        now = read_item(path, config)
        if path in misplaced:
            # A job of an earlier version has the name of a folder by role: the folder comes in its place.
            yield JobChange(path, kind, "create", "", _diff(path, [], wanted)), wanted, None
            continue
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
        f"{services.jenkins_folder}/{path}": job_item(template, product, source)
        for path, template, source in _jobs(section)
    }
    for folder in dict.fromkeys(above for path in jobs for above in _above(path)):
        yield folder, folder_item(product, _role(folder, services))
    yield from jobs.items()


def _left(wanted: Mapping[str, Item], services: Services) -> Iterator[LeftJob]:
    """Yield what could bind credentials that are not meant for it, or is in the way."""
    product, section = services.configuration.product.name, services.configuration.jenkins
    top = services.jenkins_folder
    jobs = {path.casefold() for path, item in wanted.items() if item.kind != FOLDER}
    # Where earlier versions put the jobs: in the product's folder, and in folders that their names had.
    names = [section.promote_job, *(job.job_name for job in section.jobs)]
    before = dict.fromkeys([top, *(f"{top}/{name}".rpartition("/")[0] for name in names)])
    for folder in before:
        for entry in [] if _role(folder, services) else _inside(folder, services):
            if not entry.is_folder and managed_for(entry.description) == product:
                yield LeftJob(entry.path, "is outside the folders by role, as in earlier versions", True)
    folders = [path for path, item in wanted.items() if item.kind == FOLDER]
    for folder in folders:
        role = _role(folder, services)
        for entry in _inside(folder, services) if role else []:
            ours = managed_for(entry.description) == product
            # Among the builds others may have jobs of their own, such as a multibranch project.
            if entry.path.casefold() in jobs or entry.path in folders or (role == "build" and not ours):
                continue
            why = "is no longer in release.toml" if ours else "is not in release.toml"
            yield LeftJob(entry.path, f"{why}, and can bind the credentials in {folder}")


def _inherited(found: _Found, services: Services) -> Iterator[InheritedKeys]:
    for change, item, config in found:
        if item.kind != FOLDER or config is None or _role(change.path, services):
            continue
        # Every job checks the same repository out.
        others = set(credentials_in(change.path, config)) - {services.configuration.jenkins.git_login}
        if others:
            yield InheritedKeys(change.path, tuple(sorted(others)))


def _inside(folder: str, services: Services) -> list[FolderEntry]:
    try:
        return services.retry(f"read what is in {folder}", services.jenkins.inside, folder)
    except ItemNotFound:
        return []


def _role(folder: str, services: Services) -> str:
    """Return the role whose folder this is, or is in; an empty string for the product's folder and above."""
    top, inside, below = folder.partition(f"{services.jenkins_folder}/")
    role = below.partition("/")[0].casefold()
    return role if inside and not top and role in ROLE_FOLDERS else ""


def _jobs(section: JenkinsSection) -> Iterator[tuple[str, JobTemplate, Source]]:
    def source(script: str, branch: str = "") -> Source:
        return Source(section.git_url, section.git_login, branch or section.git_branch, script)

    yield section.promote_path, PROMOTE, source(section.promote_script)
    for job in section.jobs:
        template = TEMPLATES[job.kind]
        yield job.path, template, source(job.script or template.script, job.branch)


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
