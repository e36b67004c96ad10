"""``jenkins-release promote launch`` and ``promote status --job``: the promote job on Jenkins."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from jenkins_release.base.errors import ConfigurationError, Interrupted
from jenkins_release.base.names import check_identifier
from jenkins_release.base.signals import (
    INTERRUPTED,
    TERMINATED,
    Terminated,
    first_signal,
    other_last_words,
    speaking,
)
from jenkins_release.cli.command import Command
from jenkins_release.cli.output import plain, tell
from jenkins_release.cli.runtime import Runtime, common_options, jenkins_option, pass_runtime
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.context.watcher import Watcher

if TYPE_CHECKING:
    from jenkins_release.jenkins.model import Build, PendingInput, QueueItem
    from jenkins_release.steps.jenkins.run import Run

T = TypeVar("T")


class ConsoleWatcher(Watcher):
    """Writes to stderr what happens to a build, and remembers how to pick it up again.

    Args:
        ref: The candidate, for the command that picks it up again.
        request_id: The request id, or an empty string.
        job: Full name of the job.
    """

    def __init__(self, ref: CandidateRef, request_id: str, job: str) -> None:
        self._again = f"jenkins-release promote status {ref} --job --follow"
        if request_id:
            self._again += f" --request-id {request_id}"
        self._job = job
        self._build: Build | None = None
        self._item: QueueItem | None = None

    def queued(self, item: QueueItem) -> None:
        """Report what it is waiting for in the queue."""
        self._item = item
        _say(f"{self._job}: queue item {item.number}: {item.why or 'about to start'}")

    def started(self, build: Build) -> None:
        """Report which build it became."""
        self._build = build
        by = f", started by {', '.join(build.started_by)}" if build.started_by else ""
        _say(f"{self._job} #{build.number}: {build.url}{by}")

    def line(self, text: str) -> None:
        """Write a line of the console."""
        tell(f"  {plain(text)}", err=True)

    def waiting(self, build: Build, question: PendingInput, whom: str) -> None:
        """Report that it is waiting for an answer, and from whom."""
        _say(f"{self._job} #{build.number} waits for approval: {question.message}")
        _say(f"can be approved by: {whom}; answer it here: {build.url}input/")

    def answered(self, build: Build, question: PendingInput, by: str) -> None:
        """Report that this run answered."""
        _say(f"{self._job} #{build.number}: {by} approved: {question.message}")

    def left(self) -> str:
        """Report that following has stopped, and what goes on."""
        if self._build is None and self._item is None:
            return (
                f"stopped; it is unknown whether Jenkins had already started the build: '{self._again}' tells"
            )
        what = f"{self._job} #{self._build.number}" if self._build else f"queue item {self._item.number}"  # type: ignore[union-attr] # one of the two is set
        return f"stopped following; {what} goes on in Jenkins: '{self._again}' picks it up again"


@click.command(cls=Command)
@click.option("--version", required=True, help="Version of the candidate, such as 8.1.0.")
@click.option("--build", required=True, help="Build of the candidate, such as 42.")
@click.option("--reason", required=True, help="Why it is released; recorded with the approval.")
@click.option("--plan-only", is_flag=True, help="Let the job only plan, and promote nothing.")
@click.option(
    "--param", "params", metavar="NAME=VALUE", multiple=True, help="Additional parameter; may be repeated."
)
@click.option("--request-id", default="", help="Id of this launch: the same id never starts a second build.")
@click.option("--approve", is_flag=True, help="Answer the approval too, as the user of the token.")
@click.option("--detach", is_flag=True, help="Do not follow the build.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), help="Stop following after this many seconds."
)
@click.option(
    "--console-from", type=click.IntRange(min=0), default=0, help="Show the console from this byte."
)
@click.option("--dry-run", is_flag=True, help="Check job and parameters, start nothing.")
@jenkins_option
@common_options
@pass_runtime
def launch(
    runtime: Runtime,
    version: str,
    build: str,
    reason: str,
    plan_only: bool,
    params: tuple[str, ...],
    request_id: str,
    approve: bool,
    detach: bool,
    timeout_s: float | None,
    console_from: int,
    dry_run: bool,
) -> None:
    """Start the promote job on Jenkins, and follow it to its result.

    The console goes to stderr. Ctrl-C stops following with status 130; the build goes on.
    """
    from jenkins_release.steps.jenkins.launch import LaunchRequest, new_request_id
    from jenkins_release.steps.jenkins.launch import launch as launch_job

    ref = CandidateRef(check_identifier("version", version), check_identifier("build", build))
    request = LaunchRequest(
        ref,
        reason,
        plan_only=plan_only,
        parameters=dict(_parameter(each) for each in params),
        request_id=request_id or new_request_id(),
        approve=approve,
        detach=detach,
        timeout_s=timeout_s,
        dry_run=dry_run,
        console_from=console_from,
    )
    watcher = ConsoleWatcher(ref, request.request_id, runtime.services.promote_job)
    report = _interruptible(runtime, watcher, lambda: launch_job(request, runtime.services, watcher))
    result = run_json(report.run) | {
        "jobUrl": report.url,
        "parameters": dict(report.parameters),
        "attached": report.attached,
        "dryRun": dry_run,
    }
    if dry_run:
        text = f"{report.run.job} takes these parameters; nothing was started"
        if report.attached:
            text = f"{report.run.job} was already started with the request id {request.request_id}"
        runtime.succeed(result, text)
        return
    failure = report.failure
    runtime.conclude(result, run_text(report.run), failure, reasons=failure.reasons if failure else ())


def job_status_command(
    runtime: Runtime, ref: CandidateRef, request_id: str, follow: bool, timeout_s: float | None, start: int
) -> None:
    """Show or follow the promote job of a candidate."""
    from jenkins_release.steps.jenkins.status import JobStatusRequest, job_status

    watcher = ConsoleWatcher(ref, request_id, runtime.services.promote_job)
    request = JobStatusRequest(ref, request_id, follow, timeout_s, start)
    status = _interruptible(runtime, watcher, lambda: job_status(request, runtime.services, watcher))
    questions = [{"id": each.ident, "message": each.message} for each in status.waits_for]
    lines = [run_text(status.run)]
    lines += [
        f"waits for approval: {plain(each.message)}; can be approved by: {status.whom}"
        for each in status.waits_for
    ]
    result = run_json(status.run) | {"candidate": str(ref), "waitsFor": questions, "approvers": status.whom}
    failure = status.failure
    runtime.conclude(result, "\n".join(lines), failure, reasons=failure.reasons if failure else ())


def run_json(run: Run) -> dict[str, Any]:
    """Return a run for the result document."""
    return {
        "job": run.job,
        "state": run.state,
        "requestId": run.request_id,
        "queueItem": run.item.number if run.item else run.build.queue_item if run.build else None,
        "build": run.build.number if run.build else None,
        "url": run.build.url if run.build else None,
        "result": run.build.result if run.build else None,
        "startedBy": list(run.build.started_by) if run.build else [],
        "approvedBy": run.approved_by or None,
        "consoleEnd": run.console_end,
    }


def run_text(run: Run) -> str:
    """Return a run for people: its state, and how to refer to it."""
    state = f"finished: {run.build.result}" if run.build and not run.build.building else run.state
    lines = [f"{run.name}: {state}"]
    if run.item is not None and run.build is None and run.item.why:
        lines[0] += f" ({plain(run.item.why)})"
    if run.build is not None:
        lines.append(run.build.url)
    if run.request_id:
        lines.append(f"request id {plain(run.request_id)}")
    return "\n".join(lines)


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigurationError(f"--param {text!r} is not NAME=VALUE", hint="such as --param TICKET=REL-17")
    return name, value


def _interruptible(runtime: Runtime, watcher: ConsoleWatcher, action: Callable[[], T]) -> T:
    def speak(_: int) -> None:
        left = watcher.left()
        tell(left, err=True)
        runtime.result_only(Interrupted(left))

    with other_last_words(speak):
        try:
            return action()
        except KeyboardInterrupt as error:
            # An ended wait's error does not say which signal it was.
            terminated = isinstance(error, Terminated) or first_signal() == signal.SIGTERM
            with speaking() as first:
                if first:
                    speak(signal.SIGTERM if terminated else signal.SIGINT)
            raise click.exceptions.Exit(TERMINATED if terminated else INTERRUPTED) from None


def _say(text: str) -> None:
    tell(plain(text), err=True)
