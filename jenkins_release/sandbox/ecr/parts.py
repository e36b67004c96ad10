"""The parts of a layer upload to the ECR front, with ECR's rules for them.

ECR API reference: a part begins where the previous one ended (``InvalidLayerPartException`` of
UploadLayerPart), every part except the last has at least 5 MiB (``LayerPartTooSmallException`` of
CompleteLayerUpload), and at most 10 MiB (service quotas, "Layer part size"). A ``PATCH`` without a
``Content-Range`` streams a layer in one go, as Docker does, and has no parts. Each ``PATCH`` is answered with
201, and with a ``Range`` that stays at the end of the first part (dotnet/sdk-container-builds #279,
aws/containers-roadmap #2831).
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

    A part counts completely or not at all; of a stream that breaks off counts what arrived. The location of
    an upload does not change: the registry behind has a new one for every part, which only the front knows.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._small: set[str] = set()
        self._next: dict[str, int] = {}
        self._first: dict[str, int] = {}
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

    def taken(self, upload: str, count: int, query: str, *, part: bool) -> int:
        """Note what the registry behind accepted.

        Args:
            upload: The upload.
            count: Bytes.
            query: The query to continue with.
            part: Whether they were a part, and not a stream.

        Returns:
            The bytes that the answer names.
        """
        with self._lock:
            self._queries[upload] = query
            self._next[upload] = self._next.get(upload, 0) + count
            if part and count < SMALLEST_PART:
                self._small.add(upload)
            return self._first.setdefault(upload, count) if count else 0

    def query(self, upload: str, given: str) -> str:
        """Return the query for the registry behind, with the client's digest."""
        with self._lock:
            known = self._queries.get(upload)
        if known is None:
            return given
        digest = [(name, value) for name, value in parse_qsl(given) if name == "digest"]
        return "&".join(filter(None, (known, urlencode(digest))))

    def arrived(self, upload: str) -> int | None:
        """Return the bytes that arrived; None if there were none yet."""
        with self._lock:
            return self._next.get(upload)

    def forget(self, upload: str) -> None:
        """Forget an upload that has ended."""
        with self._lock:
            self._small.discard(upload)
            self._next.pop(upload, None)
            self._first.pop(upload, None)
            self._queries.pop(upload, None)


def _invalid(why: str) -> ApiFault:
    return ApiFault("InvalidLayerPartException", f"Invalid layer part: {why}")
