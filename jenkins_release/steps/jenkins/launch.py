"""Launch: start the promote job on Jenkins, and follow it to its result."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import field, replace
from datetime import timedelta

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, GateRefused, ReleaseError
from jenkins_release.base.text import did_you_mean
from jenkins_release.jenkins.model import JobInfo, Parameter
from jenkins_release.jenkins.templates import BUILD, DRY_RUN, PRODUCT, REASON, REQUEST_ID, VERSION
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.watcher import Watcher
from jenkins_release.steps.jenkins.approval import answer_refusals
from jenkins_release.steps.jenkins.follow import Follower
from jenkins_release.steps.jenkins.run import Run, find_run, outage_policy, promote_job

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def new_request_id() -> str:
    """Return a new request id of 16 hexadecimal digits."""
    return secrets.token_hex(8)


@dataclass(frozen=True)
class LaunchRequest:
    """What to launch.

    Attributes:
        ref: The candidate.
        reason: Why it goes out.
        plan_only: Let the job only plan, and promote nothing.
        parameters: Further parameters that the job declares, name to value. No secrets.
        request_id: Names this launch; launching again with the same id follows what it started.
        approve: Answer the approval as the token's user, where the gate would count it.
        detach: Do not follow.
        timeout_s: Seconds after which following ends; the build goes on. None: no bound.
        dry_run: Check job and parameters, start nothing.
        console_from: Offset in bytes to show the console from.
    """

    ref: CandidateRef
    reason: str
    plan_only: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)
    request_id: str = field(default_factory=new_request_id)
    approve: bool = False
    detach: bool = False
    timeout_s: float | None = None
    dry_run: bool = False
    console_from: int = 0


@dataclass(frozen=True)
class LaunchReport:
    """What was launched, and what became of it.

    Attributes:
        run: The run; of a dry run only the job.
        url: Page of the job.
        parameters: What was, or would be, sent.
        attached: Whether an earlier launch had started it.
        failure: Why it did not end well; None for a success, and where it was not followed.
    """

    run: Run
    url: str
    parameters: Mapping[str, str]
    attached: bool = False
    failure: ReleaseError | None = None


def launch(request: LaunchRequest, services: Services, watcher: Watcher | None = None) -> LaunchReport:
    """Start the promote job for a candidate, and follow it.

    Nothing is started twice: what carries the request id already, in the queue or among the builds,
    is followed instead. That also holds when the answer to the start gets lost.

    Args:
        request: What to launch.
        services: Where Jenkins is reached.
        watcher: Who is told what happens.

    Raises:
        ConfigurationError: The job does not exist, is disabled, or does not take these parameters
            (``reasons`` has everything); the user is unknown or lacks a permission.
        GateRefused: ``approve`` for a user whose approval the gate would not count.
        RemoteError: Jenkins failed for longer than ``jenkins.outage_s``, or the time is up.
    """
    _check_request(request)
    watcher = watcher or Watcher()
    path = services.promote_job
    policy = outage_policy(services)
    # The first call tells a wrong token from a job that is hidden from the user.
    user = services.retry("ask who this user is", services.jenkins.user, policy=policy)
    job = promote_job(services)
    parameters = check_parameters(job, _parameters(request, job, services))
    found = services.retry(
        "look for the request", find_run, path, request.request_id, services, policy=policy
    )
    if found is not None:
        _check_same(found, parameters)
    elif not job.buildable:
        raise ConfigurationError(f"the job {path} is disabled", hint=f"enable it in Jenkins: {job.url}")
    elif request.approve and (against := answer_refusals(user, (user,), services)):
        raise GateRefused(
            f"{user} cannot launch and approve: {against[0]}; nothing was started",
            hint="launch without --approve; an approver then launches with --request-id and --approve",
            reasons=against,
        )
    report = LaunchReport(Run(path, request.request_id), job.url, parameters, found is not None)
    if request.dry_run:
        return report
    run = found or services.retry(
        f"start {path}", _start, path, request.request_id, parameters, services, policy=policy
    )
    deadline = None if request.timeout_s is None else services.now() + timedelta(seconds=request.timeout_s)
    follower = Follower(services, watcher, request.approve, deadline)
    if run.item is not None:
        follower.queued(run.item)
    if request.detach:
        return replace(report, run=run)
    run, failure = follower.follow(replace(run, console_end=request.console_from))
    return replace(report, run=run, failure=failure)


def check_parameters(job: JobInfo, parameters: Mapping[str, str]) -> dict[str, str]:
    """Check values against the definitions in the job. Jenkins drops what a job does not declare.

    Returns:
        The values as they are sent.

    Raises:
        ConfigurationError: ``reasons`` has every mismatch; nothing was started.
    """
    if job.parameters is None:
        raise ConfigurationError(
            f"the job {job.path} has no parameters: Jenkins would not start it with any",
            hint="'jenkins-release jobs apply' defines them; the first run of its script does too",
        )
    declared = {each.name: each for each in job.parameters}
    wrong = []
    for name, value in parameters.items():
        problem = _problem(declared.get(name), value)
        if name not in declared and (question := did_you_mean(name, declared)):
            problem += f"; {question}"
        if problem:
            wrong.append(f"{name} {problem}")
    if wrong:
        raise ConfigurationError(
            f"the job {job.path} does not accept these parameters; nothing was started",
            hint="'jenkins-release jobs diff' shows how the job differs from what launching needs",
            reasons=wrong,
        )
    return dict(parameters)


def _problem(declared: Parameter | None, value: str) -> str:
    if declared is None:
        return "is not a parameter of the job; Jenkins would silently drop it"
    if declared.kind == "boolean" and value not in {"true", "false"}:
        return f"is true or false, not {value!r}"
    if declared.kind == "choice" and value not in declared.choices:
        return f"is one of {', '.join(declared.choices)}, not {value!r}"
    if declared.kind == "password":
        return "is a password: secrets belong in Jenkins' credentials, not in parameters"
    if declared.kind == "string" and re.search(r"[\x00-\x1f]", value):
        return "must be one line, without line breaks and control characters"
    return ""


def _parameters(request: LaunchRequest, job: JobInfo, services: Services) -> dict[str, str]:
    declared = {each.name for each in job.parameters or ()}
    values = {
        VERSION: request.ref.version,
        BUILD: request.ref.build,
        REASON: request.reason,
        DRY_RUN: "true" if request.plan_only else "false",
        REQUEST_ID: request.request_id,
    }
    own = sorted(set(values) & set(request.parameters))
    if own:
        raise ConfigurationError(
            f"{own[0]} is set by launch itself", hint="use the options of the command", reasons=own
        )
    # A job for several products asks which one.
    product = {PRODUCT: services.configuration.product.name} if PRODUCT in declared else {}
    return {**values, **product, **request.parameters}


def _check_request(request: LaunchRequest) -> None:
    if not request.reason.strip():
        raise ConfigurationError("the reason is empty", hint="say why it is released; the reason is recorded")
    if not _REQUEST_ID.fullmatch(request.request_id):
        raise ConfigurationError(
            f"the request id {request.request_id!r} is not valid",
            hint="up to 64 letters, digits and . _ -, the first a letter or a digit",
        )


def _check_same(found: Run, parameters: Mapping[str, str]) -> None:
    started = found.build.parameters if found.build else found.item.parameters if found.item else {}
    # The reason may be worded otherwise by who picks the build up; what it does may not differ.
    other = [
        f"{name} was {started.get(name)!r}, now {value!r}"
        for name, value in parameters.items()
        if name != REASON and started.get(name) != value
    ]
    if other:
        raise ConfigurationError(
            f"the request id {found.request_id} was used for something else: {other[0]}",
            hint="omit --request-id for a new launch",
            reasons=other,
        )


def _start(path: str, request_id: str, parameters: Mapping[str, str], services: Services) -> Run:
    # An earlier attempt may have arrived although its answer did not.
    found = find_run(path, request_id, services)
    if found is not None:
        return found
    number = services.jenkins.trigger(path, parameters)
    return Run(path, request_id, item=services.jenkins.queue_item(number))
