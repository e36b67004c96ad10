"""Progress as an interface that is handed down: the library never prints.

A transfer calls :meth:`Progress.task` and then :meth:`Task.advance`; a retry that rewinds calls
``advance`` with a negative number. Which form a person sees is the command line's choice
(:mod:`jenkins_release.cli.progress`).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol


class Task(Protocol):
    """One transfer of which bytes are counted."""

    def advance(self, count: int) -> None:
        """Count ``count`` more bytes; negative when a retry starts over."""


class Progress(Protocol):
    """Where transfers report to."""

    def task(self, title: str, total: int | None = None) -> AbstractContextManager[Task]:
        """Begin a transfer.

        Args:
            title: What is moved, such as ``export SkyDRM 8.1.0/42``.
            total: Bytes in all, where known.
        """
        ...


class _SilentTask:
    def advance(self, count: int) -> None:
        """Count nothing."""

    def __enter__(self) -> Task:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class SilentProgress:
    """Progress that nobody watches; the default of the Python API."""

    def task(self, title: str, total: int | None = None) -> AbstractContextManager[Task]:  # noqa: ARG002
        """Begin a transfer that reports nothing."""
        return _SilentTask()
