"""Who is told what happens to a build that is followed, or to a stack. Nothing else is imported for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jenkins_release.jenkins.model import Build, PendingInput, QueueItem


class Watcher:
    """Who is told what happens to a build that is followed. This one does nothing with it."""

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


class StackWatcher:
    """Who is told what happens to a stack that is refreshed. This one does nothing with it."""

    def event(self, part: str, text: str) -> None:
        """Something happened to a service, an instance or a health check: text of others."""
