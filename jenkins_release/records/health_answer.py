"""What a server answered to a health check."""

from __future__ import annotations

from jenkins_release.base.dataclass import dataclass


@dataclass(frozen=True)
class HealthAnswer:
    """What a server answered.

    Attributes:
        status: HTTP status; 0 if there was no answer.
        body: The first :data:`MAX_BODY` bytes of its body.
        problem: Why there was no answer; empty if there was one.
    """

    status: int
    body: bytes = b""
    problem: str = ""
