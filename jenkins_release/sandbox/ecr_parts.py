"""The parts of a layer upload to the ECR front, with ECR's rules for them.

ECR API reference: a part begins where the one before it ended (``InvalidLayerPartException`` of
UploadLayerPart), every part but the last has 5 MiB at least (``LayerPartTooSmallException`` of
CompleteLayerUpload), 10 MiB at most (service quotas, "Layer part size"). A ``PATCH`` without a
``Content-Range`` streams a layer in one go, as Docker does, and has no parts.
"""

from __future__ import annotations

import re
import threading

from jenkins_release.sandbox.ecr_http import Exchange
from jenkins_release.sandbox.ecr_state import ApiFault

SMALLEST_PART = 5 << 20
LARGEST_PART = 10 << 20
_RANGE = re.compile(r"(\d+)-(\d+)")


class UploadParts:
    """What is known of the uploads under way; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._small: set[str] = set()
        self._cut: set[str] = set()
        self._next: dict[str, int] = {}

    def check(self, exchange: Exchange, upload: str) -> None:
        """Check a request about an upload before it is passed on.

        Raises:
            ApiFault: InvalidLayerPartException, LayerPartTooSmallException.
        """
        if exchange.method != "PATCH" or "content-range" not in exchange.headers:
            return
        found = _RANGE.fullmatch(exchange.headers["content-range"])
        size = int(found[2]) - int(found[1]) + 1 if found else 0
        with self._lock:
            expected = self._next.get(upload)
            if found is None or size != exchange.length or size > LARGEST_PART:
                raise _invalid(f"the part {exchange.headers['content-range']!r} is not valid")
            if expected is not None and expected != int(found[1]):
                raise _invalid(f"the part begins at byte {found[1]}, the one before it ended at {expected}")
            if upload in self._small:
                raise ApiFault(
                    "LayerPartTooSmallException", "Layer parts must be at least 5 MiB in size, but the last"
                )

    def note(self, exchange: Exchange, upload: str) -> None:
        """Take note of a request that has ended, however that was."""
        status = exchange.record.status
        found = _RANGE.fullmatch(exchange.headers.get("content-range", ""))
        with self._lock:
            if exchange.method in {"PUT", "DELETE"} and status:
                self._small.discard(upload)
                self._cut.discard(upload)
                self._next.pop(upload, None)
            elif exchange.method == "PATCH" and found and status == 202:
                self._next[upload] = int(found[2]) + 1
                if exchange.record.received < SMALLEST_PART and upload not in self._cut:
                    self._small.add(upload)
                self._cut.discard(upload)
            elif exchange.method == "PATCH" and found and not status:
                # Some of it may have arrived: only the upload's own state tells where to go on.
                self._next.pop(upload, None)
                self._cut.add(upload)


def _invalid(why: str) -> ApiFault:
    return ApiFault("InvalidLayerPartException", f"Invalid layer part: {why}")
