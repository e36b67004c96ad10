"""Faults that tests and rehearsals order from the ECR front, and the log of its requests."""

from __future__ import annotations

import re
import threading
from collections import deque
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from jenkins_release.sandbox.ecr.http import RequestRecord

MAX_RECORDS = 20_000
"""Requests that the log keeps; the oldest go first."""


class Fault(BaseModel):
    """What to do wrong, and for which requests. Everything that is set must match.

    Attributes:
        method: Regular expression for the whole HTTP method.
        path: Regular expression to search in the path, such as ``/blobs/uploads/``.
        action: Action of the ECR API, such as ``PutImage``; ``*`` for any action.
        repository: Name of the repository.
        after: Regular expression for the whole label of a request that must come first: ``PutImage``.
        skip: Matching requests that are first answered properly.
        count: Matching requests that get the fault; None for all of them.
        status: Answer with this HTTP status instead.
        code: AWS's error name for ``status``.
        message: Text for ``status``.
        retry_after: Seconds in a ``Retry-After`` header for ``status``.
        latency_s: Wait this many seconds before anything else.
        reset_request_after: Reset the connection after this many bytes of the request's body.
        reset_response_after: Reset the connection after this many bytes of the answer's body, after the work
            was done; 0 resets before the status line.
        expire_tokens: Let all existing registry tokens expire before the request is handled.
        end_sessions: End all sessions of roles once this request is known to come from one.
        manifest: Change the manifest in an answer: add one space (``alter``), or cut off half of it.
        subject: What becomes of a manifest with a ``subject``: ``refused`` answers 405, as some accounts do
            (aws/containers-roadmap #2783), ``ignored`` leaves ``OCI-Subject`` out of the answer, like a
            registry that does not know referrers. Combine that with status 404 for ``/referrers/``.
        stale: Answer a read with the state of this many repository changes ago: AWS's answers may be late.
    """

    model_config = ConfigDict(extra="forbid")

    method: str | None = None
    path: str | None = None
    action: str | None = None
    repository: str | None = None
    after: str | None = None
    skip: int = Field(default=0, ge=0)
    count: int | None = Field(default=1, ge=1)
    status: int | None = Field(default=None, ge=400, le=599)
    code: str = "ServerException"
    message: str = "a fault was ordered for this request"
    retry_after: int | None = None
    latency_s: float = Field(default=0.0, ge=0.0)
    reset_request_after: int | None = Field(default=None, ge=0)
    reset_response_after: int | None = Field(default=None, ge=0)
    expire_tokens: bool = False
    end_sessions: bool = False
    manifest: Literal["alter", "truncate"] | None = None
    subject: Literal["refused", "ignored"] | None = None
    stale: int = Field(default=0, ge=0, le=8)

    def matches(self, record: RequestRecord) -> bool:
        """Whether the fault is meant for this request."""
        return (
            (self.method is None or re.fullmatch(self.method, record.method) is not None)
            and (self.path is None or re.search(self.path, record.path) is not None)
            and (
                self.action is None
                or self.action == record.action
                or (self.action == "*" and record.action != "")
            )
            and (self.repository is None or self.repository == record.repository)
        )

    def spoil(self, manifest: bytes) -> bytes:
        """Return the manifest as changed by the fault."""
        if self.manifest == "alter":
            return manifest + b" "
        return manifest[: len(manifest) // 2] if self.manifest == "truncate" else manifest


NO_FAULT = Fault()
"""No fault; does nothing."""


class Faults:
    """The ordered faults; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ordered: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Order a fault; of several that match, the one ordered first is used first."""
        with self._lock:
            self._ordered.append(fault.model_copy())

    def clear(self) -> None:
        """Cancel all ordered faults."""
        with self._lock:
            self._ordered.clear()

    def pending(self) -> list[Fault]:
        """Return the remaining faults; tests end by asserting that this is empty."""
        with self._lock:
            return list(self._ordered)

    def take(self, record: RequestRecord) -> Fault:
        """Return the fault for a request and count it down; :data:`NO_FAULT` for a proper answer."""
        with self._lock:
            for fault in self._ordered:
                if fault.after is not None:
                    fault.after = None if re.fullmatch(fault.after, record.label) else fault.after
                    continue
                if not fault.matches(record):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.count is not None:
                    fault.count -= 1
                    if fault.count == 0:
                        self._ordered.remove(fault)
                return fault
        return NO_FAULT


class RequestLog:
    """The requests that reached the front, oldest first; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: deque[RequestRecord] = deque(maxlen=MAX_RECORDS)

    def add(self, record: RequestRecord) -> None:
        """Log a request as it arrives; its status is filled in before the answer is sent."""
        with self._lock:
            self._records.append(record)

    def clear(self) -> None:
        """Forget the requests so far."""
        with self._lock:
            self._records.clear()

    def all(self) -> list[RequestRecord]:
        """Return the requests."""
        with self._lock:
            return list(self._records)

    def labels(self) -> list[str]:
        """Return the requests, one word or line each: ``PutImage``, ``GET /v2/a/manifests/1``."""
        return [record.label for record in self.all()]

    def count(self, label: str) -> int:
        """Return how many requests had this label."""
        return self.labels().count(label)
