"""Watchers of a followed build or a stack. This module imports nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jenkins_release.jenkins.model import Build, PendingInput, QueueItem


class Watcher:
    """Receives what happens to a followed build. This one ignores it."""

    def queued(self, item: QueueItem) -> None:
        """It waits in the queue; called again if Jenkins gives another reason."""

    def started(self, build: Build) -> None:
        """It left the queue."""

    def line(self, text: str) -> None:
        """Its console has another line: untrusted text, without control sequences."""

    def waiting(self, build: Build, question: PendingInput, whom: str) -> None:
        """It waits for an answer; ``whom`` describes from whom the gate accepts one."""

    def answered(self, build: Build, question: PendingInput, by: str) -> None:
        """This run answered; ``by`` is the user of the token."""


class StackWatcher:
    """Receives what happens to a stack during a refresh. This one ignores it."""

    def event(self, part: str, text: str) -> None:
        """Something happened to a service, an instance or a health check: untrusted text."""
