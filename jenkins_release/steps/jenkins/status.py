"""Job status: what the promote job did, or does, for a candidate; and following it again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, ReleaseError
from jenkins_release.jenkins.errors import ItemNotFound
from jenkins_release.jenkins.model import Build, PendingInput, QueueItem
from jenkins_release.jenkins.templates import BUILD, REQUEST_ID, VERSION
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.watcher import Watcher
from jenkins_release.steps.jenkins.approval import who_may_answer
from jenkins_release.steps.jenkins.follow import Follower
from jenkins_release.steps.jenkins.run import Run, outage_policy, promote_job


@dataclass(frozen=True)
class JobStatusRequest:
    """What to look for.

    Attributes:
        ref: The candidate that the promote job was started for.
        request_id: Of which launch; the last one for the candidate where it is empty.
        follow: Follow it to its end.
        timeout_s: Seconds after which following ends. None: no bound.
        console_from: Offset in bytes to show the console from.
    """

    ref: CandidateRef
    request_id: str = ""
    follow: bool = False
    timeout_s: float | None = None
    console_from: int = 0


@dataclass(frozen=True)
class JobStatus:
    """Where a run of the promote job stands.

    Attributes:
        run: The run.
        waits_for: The questions that it waits with.
        whom: From whom the gate takes an answer, in words; empty if it asks nothing.
        failure: Where it was followed, why it did not end well.
    """

    run: Run
    waits_for: tuple[PendingInput, ...] = ()
    whom: str = ""
    failure: ReleaseError | None = None


def job_status(request: JobStatusRequest, services: Services, watcher: Watcher | None = None) -> JobStatus:
    """Tell where the promote job stands for a candidate. Changes nothing.

    Args:
        request: What to look for.
        services: Where Jenkins is reached.
        watcher: Who is told what happens while it is followed.

    Raises:
        ConfigurationError: The job was not started for the candidate, or not among its last builds.
        RemoteError: Jenkins failed for longer than ``jenkins.outage_s``, or the time is up.
    """
    policy = outage_policy(services)
    promote_job(services)
    run = services.retry(
        f"look for {request.ref} in {services.promote_job}", _find, request, services, policy=policy
    )
    run = replace(run, console_end=request.console_from)
    if request.follow:
        deadline = (
            None if request.timeout_s is None else services.now() + timedelta(seconds=request.timeout_s)
        )
        run, failure = Follower(services, watcher or Watcher(), deadline=deadline).follow(run)
        return JobStatus(run, failure=failure)
    if run.build is None or not run.build.building:
        return JobStatus(run)
    build = run.build
    try:
        questions = services.retry(
            f"ask what {run.name} waits for", services.jenkins.pending_inputs, run.job, build.number
        )
    except ItemNotFound:
        questions = ()
    return JobStatus(run, questions, who_may_answer(build, services) if questions else "")


def _find(request: JobStatusRequest, services: Services) -> Run:
    path = services.promote_job
    waiting = [item for item in services.jenkins.queued(path) if _fits(item, request)]
    if waiting:
        item = max(waiting, key=lambda each: each.number)
        return Run(path, item.parameters.get(REQUEST_ID, ""), item=item)
    for build in services.jenkins.builds(path):
        if _fits(build, request):
            return Run(path, build.parameters.get(REQUEST_ID, ""), build=build)
    wanted = f" with the request id {request.request_id}" if request.request_id else ""
    raise ConfigurationError(
        f"{path} was not started for {request.ref}{wanted}, or not recently",
        hint="'jenkins-release promote status' without --job shows its state from registry and share",
    )


def _fits(found: QueueItem | Build, request: JobStatusRequest) -> bool:
    values = found.parameters
    if request.request_id and values.get(REQUEST_ID) != request.request_id:
        return False
    return values.get(VERSION) == request.ref.version and values.get(BUILD) == request.ref.build
