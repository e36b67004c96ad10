"""Following a started job from the queue to its result, through restarts and lost connections."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar, TypeVarTuple

from jenkins_release.base.errors import (
    BY_CATEGORY,
    Category,
    GateRefused,
    ReleaseError,
    RemoteError,
)
from jenkins_release.jenkins.console import ConsoleLines
from jenkins_release.jenkins.errors import ItemNotFound
from jenkins_release.jenkins.model import Build, QueueItem
from jenkins_release.jenkins.session import CONSOLE_PIECE
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.context.watcher import Watcher
from jenkins_release.steps.jenkins.approval import answer_question, who_may_answer
from jenkins_release.steps.jenkins.run import Run, find_run, outage_policy, pick_up

_log = logging.getLogger(__name__)
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_SAID = re.compile(rf"ERROR: ({'|'.join(Category)}): (.*)")
_STAMP = re.compile(r"\[\d{4}-\d\d-\d\dT[\d:.]+Z\] ")
"""What the plugin Timestamper writes before a line."""
_NUMBERS = re.compile(r"[\d.]+")
_REJECTED = re.compile(r"Rejected by (.+)")


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
        self._reason: str | None = None
        self._asked: set[str] = set()
        self._answerable = True
        self._warned = False

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
                hint="nothing was run; launch it again if needed",
            )
        self.watcher.started(run.build)
        while run.build is not None and run.build.building:
            run = self._console(run)
            run = self._questions(run)
            build = self._build(run)
            if build.building:
                self._check_answerable(run)
                self._pause(run)
            run = replace(run, build=build)
        return self._end(run)

    def _through_queue(self, run: Run) -> Run:
        while run.build is None and run.state != "cancelled":
            run = self._in_queue(run)
            if run.build is None and run.item is not None and not run.item.cancelled:
                self.queued(run.item)
                self._pause(run)
        return run

    def queued(self, item: QueueItem) -> None:
        """Tell why an item waits in the queue, unless that was the last thing told of it."""
        reason = _NUMBERS.sub("", item.why)  # seconds that count down are no other reason
        if reason != self._reason:
            self._reason = reason
            self.watcher.queued(item)

    def _in_queue(self, run: Run) -> Run:
        jenkins = self.services.jenkins
        number = run.item.number if run.item else 0
        try:
            item = self._ask(f"look after {run.job} in the queue", jenkins.queue_item, number)
        except ItemNotFound as error:
            # Jenkins forgets an item after some minutes, and a crash of the controller loses it.
            found = self._ask(
                f"look for the build of {run.job}", find_run, run.job, run.request_id, self.services
            )
            if found is None:
                raise RemoteError(
                    f"{run.job}: the queue item {number} is gone, but no build has its request id",
                    hint=f"launch it again with --request-id {run.request_id}; it is not started twice",
                ) from error
            return found
        run = replace(run, item=item)
        if item.build is None:
            return run
        reached = item.build
        build = self._ask(f"read {run.job} #{reached}", jenkins.build, run.job, reached)
        return replace(run, build=build)

    def _build(self, run: Run) -> Build:
        number = _number(run)
        try:
            return self._ask(f"follow {run.name}", self.services.jenkins.build, run.job, number)
        except ItemNotFound as error:
            raise RemoteError(
                f"{run.name} was deleted while it was followed",
                hint="'jenkins-release promote status' shows from registry and share what it has done",
            ) from error

    def _console(self, run: Run, *, drain: bool = False) -> Run:
        number = _number(run)
        while True:
            start = run.console_end
            try:
                part = self._ask(
                    f"read the console of {run.name}", self.services.jenkins.console, run.job, number, start
                )
            except ItemNotFound:
                return run  # the build tells whether it was deleted
            self._show(self._lines.feed(part.data))
            run = replace(run, console_end=part.end)
            if not part.data or not part.more or part.end == start:
                return run
            if not drain and len(part.data) < CONSOLE_PIECE:
                return run  # a build that writes all the time does not keep from looking at the rest

    def _show(self, lines: list[str]) -> None:
        for text in lines:
            self.watcher.line(text)
            text = _STAMP.sub("", text, count=1)
            if found := _SAID.fullmatch(text):
                kind = BY_CATEGORY.get(Category(found[1]), ReleaseError)
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
                f"ask what {run.name} waits for", self.services.jenkins.pending_inputs, run.job, number
            )
        except ItemNotFound:
            # Both plugins are missing, or the build is gone, which the next look at it tells.
            self._answerable = False
            return run
        for question in questions:
            if question.ident not in self._asked:
                self._asked.add(question.ident)
                self.watcher.waiting(build, question, who_may_answer(build, self.services))
                if self.approve and len(questions) > 1:
                    raise RemoteError(
                        f"{run.name} asks {len(questions)} questions at once: none is answered from here",
                        hint=f"answer them on its page: {build.url}input/",
                    )
                if self.approve and not run.approved_by:
                    by = answer_question(run.job, build, question, self.services, self._ask)
                    if by:
                        self.watcher.answered(build, question, by)
                        run = replace(run, approved_by=by)
        return run

    def _check_answerable(self, run: Run) -> None:
        if self._answerable or self._warned:
            return
        self._warned = True
        missing = "the controller does not say what builds wait for"
        if self.approve:
            raise RemoteError(
                f"{missing}: {run.name} cannot be approved from here, and goes on",
                hint="install Pipeline Graph View or Pipeline: Stage View, or answer it on its page",
            )
        _log.warning("%s: the plugins Pipeline Graph View and Pipeline: Stage View are missing", missing)

    def _end(self, run: Run) -> tuple[Run, ReleaseError | None]:
        run = self._console(run, drain=True)
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

    def _ask(self, what: str, action: Callable[[*Ts], T], *arguments: *Ts) -> T:
        return self.services.retry(what, action, *arguments, policy=outage_policy(self.services))

    def _pause(self, run: Run) -> None:
        wait = self.services.configuration.jenkins.poll_s
        if self.deadline is not None and self.services.now() + timedelta(seconds=wait) > self.deadline:
            raise RemoteError(
                f"{run.name} has not ended in time, but goes on",
                hint=f"pick it up again: {pick_up(run)}",
            )
        self.services.wait(wait, f"{run.name} to go on")


def _number(run: Run) -> int:
    assert run.build is not None
    return run.build.number
