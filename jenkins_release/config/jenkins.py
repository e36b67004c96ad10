"""The section ``[jenkins]`` of ``release.toml``: the controller, and the jobs on it. No secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from jenkins_release.config.section import Section

# jenkins.model.Jenkins.checkGoodName; the slash separates folders here.
_ILLEGAL = re.compile(r"[\x00-\x1f?*\\%!@#$^&|<>\[\]:;]")


def job_path_problem(path: str) -> str | None:
    """Return why ``path`` cannot be the full name of an item in Jenkins, or None if it can."""
    for name in path.split("/"):
        if not name.strip() or name != name.strip():
            return "has an empty name between its slashes, or a name that begins or ends with a space"
        if name in {".", ".."} or name.endswith("."):
            return f"has the name {name!r}, which Jenkins does not allow"
        if found := _ILLEGAL.search(name):
            return f"contains {found.group()!r}, which is not allowed in the name of a job"
    return None


def _job_path(value: str) -> str:
    problem = job_path_problem(value) if value else None
    if problem is not None:
        raise ValueError(f"{value!r} {problem}")
    return value


def check_controller_url(value: str) -> str:
    """Return a controller's root URL with a slash at its end. Raises ValueError if it is not one."""
    if not value:
        return value
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not the URL of a controller, such as https://jenkins.nextlabs.com/")
    if parts.username is not None or parts.password is not None:
        raise ValueError("contains a login: user and token belong in the environment")
    if parts.query or parts.fragment:
        raise ValueError("has more than the controller's root: remove everything from ? or #")
    return value if value.endswith("/") else f"{value}/"


def _git_url(value: str) -> str:
    if re.match(r"[a-z+]+://[^/@]*:[^/@]*@", value, re.IGNORECASE):
        raise ValueError("contains a password: store it in Jenkins, and set jenkins.git_login to its id")
    return value


ControllerUrl = Annotated[str, AfterValidator(check_controller_url)]
JobPath = Annotated[str, AfterValidator(_job_path)]
JobKind = Literal["candidate", "qa", "publish", "customer-access", "pipeline"]
JobRole = Literal["build", "qa", "release", "customers", "saas"]
ROLE_FOLDERS: tuple[JobRole, ...] = get_args(JobRole)
"""Folders that ``jobs apply`` creates in the product's folder, if they have jobs."""
ROLE_OF: Mapping[str, JobRole] = {
    "candidate": "build",
    "qa": "qa",
    "promote": "release",
    "publish": "release",
    "customer-access": "customers",
    # The folder with the fewest keys, unless the job names another one.
    "pipeline": "build",
}
"""The role of each kind of job: its folder, with the credentials that it may bind."""


def _in_role(role: JobRole, name: str) -> str:
    # Names that already separate the jobs do not get two folders of one name.
    return name if name.casefold().startswith(f"{role}/") else f"{role}/{name}"


class JobSection(Section):
    """``[[jenkins.jobs]]``: one job in addition to the promote job.

    An empty ``name`` defaults to the kind, an empty ``script`` to ``jobs/<kind>.Jenkinsfile``, or
    ``Jenkinsfile`` for a candidate, and an empty ``branch`` to ``jenkins.git_branch``. A ``pipeline`` has no
    such defaults, and is the only kind that may set its ``role``.
    """

    kind: JobKind
    name: JobPath = ""
    script: str = ""
    branch: str = ""
    role: JobRole | None = None

    @property
    def job_name(self) -> str:
        """Name of the job in its role's folder."""
        return self.name or self.kind

    @property
    def path(self) -> str:
        """Path of the job in the product's folder: its role's folder, and its name."""
        return _in_role(self.role or ROLE_OF[self.kind], self.job_name)

    @model_validator(mode="after")
    def _complete(self) -> JobSection:
        if self.kind == "pipeline" and not (self.name and self.script):
            raise ValueError("a job of the kind pipeline needs a name and a script")
        if self.role not in {None, ROLE_OF[self.kind]} and self.kind != "pipeline":
            raise ValueError(
                f"a job of the kind {self.kind} is in the folder {ROLE_OF[self.kind]}: remove role"
            )
        return self


class JenkinsSection(Section):
    """``[jenkins]``: the controller, and the jobs that ``jobs apply`` writes into it.

    ``timeout_s`` is the longest wait for one answer, ``outage_s`` the longest wait for a restart of the
    controller or a lost connection, and ``poll_s`` the interval at which queue, build and console are polled.
    All in seconds.
    """

    url: ControllerUrl = ""
    folder: JobPath = ""
    promote_job: Annotated[JobPath, Field(min_length=1)] = "promote"
    promote_script: Annotated[str, Field(min_length=1)] = "jobs/promote.Jenkinsfile"
    git_url: Annotated[str, AfterValidator(_git_url)] = ""
    git_branch: Annotated[str, Field(min_length=1)] = "main"
    git_login: str = ""
    timeout_s: Annotated[float, Field(ge=1, le=600)] = 30.0
    jobs: tuple[JobSection, ...] = ()
    poll_s: Annotated[float, Field(ge=0.1, le=60)] = 2.0
    outage_s: Annotated[float, Field(ge=0, le=7200)] = 900.0

    @property
    def promote_path(self) -> str:
        """Path of the promote job in the product's folder."""
        return _in_role(ROLE_OF["promote"], self.promote_job)

    @model_validator(mode="after")
    def _one_job_of_a_name(self) -> JenkinsSection:
        # On some file systems, Jenkins treats names that differ only in case as the same.
        seen = {self.promote_path.casefold()}
        for job in self.jobs:
            if job.path.casefold() in seen:
                raise ValueError(f"two jobs have the name {job.path!r}: rename one of them")
            seen.add(job.path.casefold())
        return self
