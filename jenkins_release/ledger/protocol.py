"""What the release process needs from a ledger of any kind."""

from __future__ import annotations

from typing import Protocol

from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.records.ledger_line import Line

MAX_LINE_BYTES = 16 * 1024
"""Largest line that is read; one has a few hundred bytes."""
MAX_LINES = 5000
"""Maximum lines that are read below one folder: a build has one for each attestation in its chain."""


class NotInLedger(RemoteError):
    """The path has no line."""


class Ledger(Protocol):
    """A store that accepts each line once. Every method may raise :class:`RemoteError`."""

    @property
    def name(self) -> str:
        """The readable name of the ledger, such as ``s3://bucket/prefix``; never with a login."""
        ...

    def add(self, path: str, data: bytes) -> Line:
        """Write a line once, and return it as stored.

        The same bytes under the same path are a success, whoever wrote them: so an attempt whose answer was
        lost is looked up, and two writers of one line do not conflict.

        Raises:
            IntegrityError: The path has another line; nothing was changed.
        """
        ...

    def read(self, folder: str) -> list[Line]:
        """Return every line below a folder, sorted by path; empty if the folder does not exist.

        Raises:
            IntegrityError: There are more than :data:`MAX_LINES`, or one is far too large.
        """
        ...

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders directly below a folder, sorted; empty if there are none."""
        ...


def check_line(data: bytes, shown: str) -> bytes:
    """Return a line's bytes. Raises IntegrityError if they are too many."""
    if len(data) > MAX_LINE_BYTES:
        raise IntegrityError(
            f"{shown} has {len(data)} bytes, but a line of the ledger has at most {MAX_LINE_BYTES}",
            hint="find out who wrote it",
        )
    return data


def check_count(count: int, shown: str) -> None:
    """Check how many lines there are. Raises IntegrityError if they are too many."""
    if count > MAX_LINES:
        raise IntegrityError(
            f"there are more than {MAX_LINES} lines below {shown}, but no build has that many attestations",
            hint="find out who wrote them",
        )


def other_line(shown: str, wanted: bytes, found: bytes) -> IntegrityError:
    """Return the error for a path that has another line; it quotes both."""
    return IntegrityError(
        f"{shown} has different content in the ledger: expected {_quoted(wanted)}, found {_quoted(found)}",
        hint="find out who wrote the other line; nothing in the ledger is ever replaced",
    )


def _quoted(line: bytes) -> str:
    return repr(line.decode("utf-8", "replace").strip()[:600])
