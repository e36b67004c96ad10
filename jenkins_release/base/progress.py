"""Progress as an interface that is passed down: the library never prints.

A transfer calls :meth:`Progress.task` and then :meth:`Task.advance`; a retry that rewinds calls
``advance`` with a negative number. Code that may have to wait says for what, with :meth:`Task.waits_for`. The
command line chooses how people see it (:mod:`jenkins_release.cli.progress`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol


class Task(Protocol):
    """One transfer, whose bytes are counted."""

    def advance(self, count: int) -> None:
        """Count ``count`` more bytes; negative when a retry starts over."""

    def waits_for(self, what: str) -> None:
        """Say what the next bytes wait for, such as ``the Docker daemon to prepare 4 images``."""


class Progress(Protocol):
    """Where transfers report to."""

    def task(self, title: str, total: int | None = None) -> AbstractContextManager[Task]:
        """Begin a transfer.

        Args:
            title: What is moved, such as ``export SkyDRM 8.1.0/42``.
            total: Total bytes, if known.
        """
        ...


class _SilentTask:
    def advance(self, count: int) -> None:
        """Count nothing."""

    def waits_for(self, what: str) -> None:
        """Tell nobody."""

    def __enter__(self) -> Task:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class SilentProgress:
    """Progress that is not shown; the default of the Python API."""

    def task(self, title: str, total: int | None = None) -> AbstractContextManager[Task]:  # noqa: ARG002
        """Begin a transfer that reports nothing."""
        return _SilentTask()


def telling_waits(
    chunks: Iterable[bytes], task: Task, *, source: str, sink: str, first: str = "", last: str = ""
) -> Iterator[bytes]:
    """Yield the chunks, and report what is being waited for.

    Args:
        chunks: The bytes.
        task: Their transfer.
        source: Who sends them, such as ``the Docker daemon``.
        sink: Who takes them.
        first: What the first chunk waits for, if not the source.
        last: What is waited for once all chunks have been taken.
    """
    task.waits_for(first or source)
    for chunk in chunks:
        task.waits_for(sink)
        yield chunk
        task.waits_for(source)
    task.waits_for(last or sink)
