"""A line of the ledger: what was recorded outside the share, and when."""

from __future__ import annotations

from datetime import datetime

from jenkins_release.base.dataclass import dataclass


@dataclass(frozen=True)
class Line:
    """A line of the ledger.

    Attributes:
        path: Its path below the ledger's root.
        data: Its bytes, as they were first written.
        arrived: When the ledger took it, UTC, by the ledger's own clock.
        problem: Why it cannot be trusted, such as a second version of it; empty if it is sound.
    """

    path: str
    data: bytes
    arrived: datetime
    problem: str = ""
