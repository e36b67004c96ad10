"""Following a started job from the queue to its result, through restarts and lost connections."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from jenkins_release.errors import (
    Category,
    ConfigurationError,
    GateRefused,
    IntegrityError,
    LeaseHeld,
    ReleaseError,
    RemoteError,
)
from jenkins_release.jenkins.console import ConsoleLines
from jenkins_release.jenkins.errors import ItemNotFound
from jenkins_release.jenkins.protocol import Build, PendingInput, QueueItem
from jenkins_release.jenkins.templates import REQUEST_ID
from jenkins_release.retry import RetryPolicy
from jenkins_release.steps._answer import answer_question, who_may_answer
from jenkins_release.steps.services import Services

T = TypeVar("T")
_MAX_WAIT_S = 15.0
_SAID = re.compile(rf"ERROR: ({'|'.join(Category)}): (.*)")
_REJECTED = re.compile(r"Rejected by (.+)")
_ERRORS: dict[str, type[ReleaseError]] = {
    str(kind.category): kind
    for kind in (ConfigurationError, GateRefused, IntegrityError, RemoteError, LeaseHeld)
}


class Watcher(Protocol):
    """Who is told what happens to a build that is followed."""

    def queued(self, item: QueueItem) -> None:
        """It waits in the queue; called again when Jenkins gives another reason."""

    def started(self, build: Build) -> None:
        """It left the queue."""

    def line(self, text: str) -> None:
        """Its console has another line: text of others, without control sequences."""

    def waiting(self, build: Build, question: PendingInput, whom: str) -> None:
        """It waits for an answer; ``whom`` says in words from whom the gate takes one."""

    def answered(self, build: Build, question: PendingInput, by: str) -> None:
        """This run answered; ``by`` is the user of the token."""


class Unwatched:
    """Tells nobody; the default of the Python API."""

    def queued(self, item: QueueItem) -> None:
        """Do nothing."""

    def started(self, build: Build) -> None:
        """Do nothing."""

    def line(self, text: str) -> None:
        """Do nothing."""

    def waiting(self, build: Build, question: PendingInput, whom: str) -> None:
        """Do nothing."""

    def answered(self, build: Build, question: PendingInput, by: str) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Run:
    """A job that was started: what is known of it.

    Attributes:
        job: Full name of the job.
        request_id: Value of its parameter ``REQUEST_ID``; empty where somebody else started it.
        item: Its queue item, or None where that is forgotten.
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


@dataclass
class Follower:
    """Follows one run.

    Attributes:
        services: Where Jenkins is reached.
        watcher: Who is told.
        approve: Whether to answer the approval in the name of the token's user.
        deadline: When to give up following; the build goes on.
    """

    services: Services
    watcher: Watcher
    approve: bool = False
    deadline: datetime | None = None

    def __post_init__(self) -> None:
        self._lines = ConsoleLines()
        self._said: ReleaseError | None = None
        self._asked: set[str] = set()
        self._answerable = True

    def follow(self, run: Run) -> tuple[Run, ReleaseError | None]:
        """Follow a run to its end.

        Returns:
            The run as it ended, and what its end means: None for a success.

        Raises:
            GateRefused: The token's user must not give the approval.
            RemoteError: The build was deleted, the time is up, or the controller stayed away.
        """
        run = self._through_queue(run)
        if run.build is None:
            return run, RemoteError(
                f"{run.job} was cancelled in the queue",
                hint="nothing was run; launch it again if it has to run",
            )
        self.watcher.started(run.build)
        while run.build is not None and run.build.building:
            run = self._console(run)
            run = self._questions(run)
            build = self._build(run)
            if build.building:
                self._pause(run)
            run = replace(run, build=build)
        return self._end(run)

    def _through_queue(self, run: Run) -> Run:
        told = None
        while run.build is None and run.state != "cancelled":
            run = self._in_queue(run)
            if run.build is None and run.item is not None and not run.item.cancelled:
                if run.item.why != told:
                    told = run.item.why
                    self.watcher.queued(run.item)
                self._pause(run)
        return run

    def _in_queue(self, run: Run) -> Run:
        jenkins = self.services.jenkins
        number = run.item.number if run.item else 0
        try:
            item = self._ask(f"look after {run.job} in the queue", lambda: jenkins.queue_item(number))
        except ItemNotFound as error:
            # Jenkins forgets an item after some minutes, and a crash of the controller loses it.
            found = self._ask(
                f"look for the build of {run.job}", lambda: find_run(run.job, run.request_id, self.services)
            )
            if found is None:
                raise RemoteError(
                    f"{run.job}: the queue item {number} is gone, and no build has its request id",
                    hint=f"launch it again with --request-id {run.request_id}: it is not started twice",
                ) from error
            return found
        run = replace(run, item=item)
        if item.build is None:
            return run
        reached = item.build
        build = self._ask(f"read {run.job} #{reached}", lambda: jenkins.build(run.job, reached))
        return replace(run, build=build)

    def _build(self, run: Run) -> Build:
        number = _number(run)
        try:
            return self._ask(f"follow {run.name}", lambda: self.services.jenkins.build(run.job, number))
        except ItemNotFound as error:
            raise RemoteError(
                f"{run.name} was deleted while it was followed",
                hint="'jenkins-release promote status' tells from registry and share what it has done",
            ) from error

    def _console(self, run: Run) -> Run:
        number = _number(run)
        while True:
            start = run.console_end
            try:
                part = self._ask(
                    f"read the console of {run.name}",
                    lambda job=run.job, start=start: self.services.jenkins.console(job, number, start),  # type: ignore[misc]
                )
            except ItemNotFound:
                return run  # the build tells whether it was deleted
            self._show(self._lines.feed(part.data))
            run = replace(run, console_end=part.end)
            if not part.data or not part.more or part.end == start:
                return run

    def _show(self, lines: list[str]) -> None:
        for text in lines:
            self.watcher.line(text)
            if found := _SAID.fullmatch(text):
                kind = _ERRORS.get(found[1], ReleaseError)
                self._said = kind(found[2])
            elif found := _REJECTED.fullmatch(text):
                self._said = GateRefused(f"{found[1]} rejected it")
            elif self._said is not None and text.startswith("  - "):
                reasons = (*self._said.reasons, text.removeprefix("  - "))
                self._said = type(self._said)(self._said.message, reasons=reasons)

    def _questions(self, run: Run) -> Run:
        number, build = _number(run), run.build
        assert build is not None
        if not self._answerable:
            return run
        try:
            questions = self._ask(
                f"ask what {run.name} waits for",
                lambda: self.services.jenkins.pending_inputs(run.job, number),
            )
        except ItemNotFound:
            # The plugin is missing, or the build is gone, which the next look at it tells.
            self._answerable = False
            return run
        for question in questions:
            if question.ident not in self._asked:
                self._asked.add(question.ident)
                self.watcher.waiting(build, question, who_may_answer(build, self.services))
                if self.approve and not run.approved_by and len(questions) == 1:
                    by = answer_question(run.job, build, question, self.services, self._ask)
                    if by:
                        self.watcher.answered(build, question, by)
                        run = replace(run, approved_by=by)
        return run

    def _end(self, run: Run) -> tuple[Run, ReleaseError | None]:
        run = self._console(run)
        self._show(self._lines.close())
        build = run.build
        assert build is not None
        if build.result == "SUCCESS":
            return run, None
        ended = f"{run.name} ended with {build.result or 'no result'}"
        hint = f"the console: {build.url}console"
        if self._said is None:
            return run, RemoteError(ended, hint=hint)
        kind = type(self._said)
        return run, kind(f"{ended}: {self._said.message}", hint=hint, reasons=self._said.reasons)

    def _ask(self, what: str, action: Callable[[], T]) -> T:
        return self.services.retry(what, action, policy=outage_policy(self.services))

    def _pause(self, run: Run) -> None:
        wait = self.services.configuration.jenkins.poll_s
        if self.deadline is not None and self.services.now() + timedelta(seconds=wait) > self.deadline:
            raise RemoteError(
                f"{run.name} has not ended in time; it goes on",
                hint=f"pick it up again: {pick_up(run)}",
            )
        self.services.sleep(wait)


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
        attempts=1_000_000,
        deadline_s=section.outage_s,
        first_wait_s=section.poll_s,
        max_wait_s=max(_MAX_WAIT_S, section.poll_s),
        jitter_s=section.poll_s / 2,
    )


def pick_up(run: Run) -> str:
    """Return the command that follows a run again."""
    parameters = run.build.parameters if run.build else run.item.parameters if run.item else {}
    ref = f"{parameters.get('VERSION', 'VERSION')}/{parameters.get('BUILD', 'BUILD')}"
    which = f" --request-id {run.request_id}" if run.request_id else ""
    return f"jenkins-release promote status {ref} --job{which} --follow"


def _number(run: Run) -> int:
    assert run.build is not None
    return run.build.number
