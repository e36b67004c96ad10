"""A started job: what is known of it, and how it is found again."""

from __future__ import annotations

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.retry import RetryPolicy
from jenkins_release.jenkins.errors import ItemNotFound
from jenkins_release.jenkins.model import Build, JobInfo, QueueItem
from jenkins_release.jenkins.templates import BUILD, REQUEST_ID, VERSION
from jenkins_release.steps.context.services import Services

_MAX_WAIT_S = 15.0


@dataclass(frozen=True)
class Run:
    """A job that was started: what is known of it.

    Attributes:
        job: Full name of the job.
        request_id: Value of its parameter ``REQUEST_ID``; empty if somebody else started it.
        item: Its queue item, or None if that is forgotten.
        build: Its build, or None while it waits in the queue.
        console_end: Offset in bytes up to which its console was shown.
        approved_by: User whose answer this run gave, or an empty string.
    """

    job: str
    request_id: str = ""
    item: QueueItem | None = None
    build: Build | None = None
    console_end: int = 0
    approved_by: str = ""

    @property
    def state(self) -> str:
        """``queued``, ``cancelled``, ``running`` or ``finished``."""
        if self.build is None:
            return "cancelled" if self.item is not None and self.item.cancelled else "queued"
        return "running" if self.build.building else "finished"

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.job} #{self.build.number}" if self.build else self.job


def promote_job(services: Services) -> JobInfo:
    """Read the promote job.

    Raises:
        ConfigurationError: It is where earlier versions put it.
        ItemNotFound: It is not there at all, or hidden from the user.
    """
    path, policy = services.promote_job, outage_policy(services)
    try:
        return services.retry(f"read the job {path}", services.jenkins.job, path, policy=policy)
    except ItemNotFound as error:
        before = f"{services.jenkins_folder}/{services.configuration.jenkins.promote_job}"
        try:
            services.retry(f"read the job {before}", services.jenkins.job, before, policy=policy)
        except ItemNotFound:
            raise error from error.__cause__
        raise ConfigurationError(
            f"the promote job is {before}, expected {path}: it is outside the folders by role",
            hint="'Where keys lie' in docs/jenkins.md explains how to move to these folders",
        ) from error


def find_run(job: str, request_id: str, services: Services) -> Run | None:
    """Find what was started with a request id: in the queue, else among the last builds.

    Args:
        job: Full name of the job.
        request_id: The request id; nothing is found for an empty one.
        services: Where Jenkins is reached; this does not retry.
    """
    if not request_id:
        return None
    for item in services.jenkins.queued(job):
        if item.parameters.get(REQUEST_ID) == request_id:
            return Run(job, request_id, item=item)
    for build in services.jenkins.builds(job):
        if build.parameters.get(REQUEST_ID) == request_id:
            return Run(job, request_id, build=build)
    return None


def outage_policy(services: Services) -> RetryPolicy:
    """Return how long a restart of the controller or a lost connection is waited for."""
    section = services.configuration.jenkins
    return RetryPolicy(
        attempts=None,
        deadline_s=section.outage_s,
        first_wait_s=section.poll_s,
        max_wait_s=max(_MAX_WAIT_S, section.poll_s),
        jitter_s=section.poll_s / 2,
        setting="jenkins.outage_s",
    )


def pick_up(run: Run) -> str:
    """Return the command that follows a run again."""
    parameters = run.build.parameters if run.build else run.item.parameters if run.item else {}
    ref = f"{parameters.get(VERSION, VERSION)}/{parameters.get(BUILD, BUILD)}"
    which = f" --request-id {run.request_id}" if run.request_id else ""
    return f"jenkins-release promote status {ref} --job{which} --follow"
