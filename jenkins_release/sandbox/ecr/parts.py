"""The parts of a layer upload to the ECR front, with ECR's rules for them.

ECR API reference: a part begins where the previous one ended (``InvalidLayerPartException`` of
UploadLayerPart), every part except the last has at least 5 MiB (``LayerPartTooSmallException`` of
CompleteLayerUpload), and at most 10 MiB (service quotas, "Layer part size"). A ``PATCH`` without a
``Content-Range`` streams a layer in one go, as Docker does, and has no parts.
"""

from __future__ import annotations

import re
import threading
from urllib.parse import parse_qsl, urlencode

from jenkins_release.sandbox.api_fault import ApiFault
from jenkins_release.sandbox.ecr.http import ServedRequest

SMALLEST_PART = 5 << 20
LARGEST_PART = 10 << 20
_RANGE = re.compile(r"(\d+)-(\d+)")


class UploadParts:
    """The uploads under way; safe to share between threads.

    A part counts completely or not at all, and the location of an upload does not change: the registry behind
    has a new one for every part, which only the front knows.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._small: set[str] = set()
        self._next: dict[str, int] = {}
        self._queries: dict[str, str] = {}

    def part(self, exchange: ServedRequest, upload: str) -> bytearray | None:
        """Return the part in a request, once it is complete; None for any other request.

        Raises:
            ApiFault: InvalidLayerPartException, LayerPartTooSmallException.
        """
        if exchange.method != "PATCH" or "content-range" not in exchange.headers:
            return None
        stated = exchange.headers["content-range"]
        found = _RANGE.fullmatch(stated)
        size = int(found[2]) - int(found[1]) + 1 if found else 0
        with self._lock:
            expected = self._next.get(upload, 0)
            small = upload in self._small
        if found is None or size != exchange.length or size > LARGEST_PART:
            raise _invalid(f"{stated!r} is not valid")
        if int(found[1]) != expected:
            raise _invalid(f"it begins at byte {found[1]}, the one before it ended at {expected}")
        if small:
            raise ApiFault(
                "LayerPartTooSmallException", "Layer parts must be at least 5 MiB in size, but the last"
            )
        whole, at = bytearray(size), 0
        for block in exchange.chunks():
            whole[at : at + len(block)] = block
            at += len(block)
        return whole

    def taken(self, upload: str, part: bytearray | None, query: str) -> None:
        """Note that the registry behind accepted a part, and the query to continue with."""
        with self._lock:
            self._queries[upload] = query
            if part is not None:
                self._next[upload] = self._next.get(upload, 0) + len(part)
                if len(part) < SMALLEST_PART:
                    self._small.add(upload)

    def query(self, upload: str, given: str) -> str:
        """Return the query for the registry behind, with the client's digest."""
        with self._lock:
            known = self._queries.get(upload)
        if known is None:
            return given
        digest = [(name, value) for name, value in parse_qsl(given) if name == "digest"]
        return "&".join(filter(None, (known, urlencode(digest))))

    def arrived(self, upload: str) -> int | None:
        """Return the bytes of the parts that arrived; None for an upload without parts."""
        with self._lock:
            return self._next.get(upload)

    def forget(self, upload: str) -> None:
        """Forget an upload that has ended."""
        with self._lock:
            self._small.discard(upload)
            self._next.pop(upload, None)
            self._queries.pop(upload, None)


def _invalid(why: str) -> ApiFault:
    return ApiFault("InvalidLayerPartException", f"Invalid layer part: {why}")
