"""Sends a blob to every repository that lacks it: by a mount if possible, otherwise with a single read."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TypeVarTuple

from jenkins_release.base.errors import ReleaseError, RemoteError
from jenkins_release.base.waits import check
from jenkins_release.images.gzip_blocks import compression_pool
from jenkins_release.registry.protocol import PART, BlobStore, RepositoryNotFound, UploadLost
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.promotion.blob_source import BlobContent, BlobSource
from jenkins_release.steps.promotion.missing_blobs import MissingBlobs

_log = logging.getLogger(__name__)
Ts = TypeVarTuple("Ts")
_MAX_THREADS = 8
_AHEAD = 2


@dataclass(frozen=True)
class Job:
    """A blob, and the repositories that lack it."""

    content: BlobContent
    repositories: tuple[str, ...]


class BlobSender:
    """Sends blobs; safe to share between threads.

    Args:
        opened: The candidate.
        missing: What the repositories lack; updated with each blob that is sent.
        services: Share and registry.
    """

    def __init__(self, opened: OpenCandidate, missing: MissingBlobs, services: Services) -> None:
        self._opened = opened
        self._missing = missing
        self._services = services
        self._threads = min(_MAX_THREADS, os.cpu_count() or 1)
        self._pool = compression_pool(self._threads)
        self._stored: dict[tuple[str, str], tuple[str, int]] = {}
        self._lock = threading.Lock()

    def send(self, job: Job, advance: Callable[[int], None]) -> None:
        """Bring a blob into every repository that lacks it.

        Args:
            job: What, and where to.
            advance: Receives the number of archive bytes done; negative when an attempt starts over.

        Raises:
            IntegrityError: The archive is not what was recorded.
            RemoteError: Share or registry failed, after the retries.
        """
        content, known = job.content, (job.content.blob, job.content.blob_size)
        left = self._mounted(content, known, job.repositories)
        if not left:
            advance(content.size)
            return
        if len(left) > 1 and self._missing.mounts:
            sent = self._insistently(content, left[:1], advance)
            left = self._mounted(content, sent, left[1:])
            advance = _uncounted
        if left:
            self._insistently(content, left, advance)

    def stored(self, repository: str, content: BlobContent) -> tuple[str, int]:
        """Return the digest and size in bytes of a content's blob in a repository, once it was sent."""
        with self._lock:
            return self._stored.get((repository, content.digest)) or (content.blob, content.blob_size)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _mounted(self, content: BlobContent, blob: tuple[str, int], repositories: Sequence[str]) -> list[str]:
        """Mount a blob if another repository can lend it, and return the repositories that still lack it."""
        left, digest = [], blob[0]
        for name in repositories:
            lender = self._missing.lender(name, digest) if digest else None
            if lender is None:
                left.append(name)
                continue
            mount = _Mount(self._services.blobs, name, blob)
            if self._services.retry(f"mount {digest} into {name}", mount.attempt, lender):
                _log.debug("%s: mounted %s from %s", name, digest, lender)
                self._keep(name, content, blob)
            else:
                left.append(name)
        return left

    def _keep(self, repository: str, content: BlobContent, blob: tuple[str, int]) -> None:
        self._missing.note(repository, blob[0])
        with self._lock:
            self._stored[repository, content.digest] = blob

    def _insistently(
        self, content: BlobContent, repositories: Sequence[str], advance: Callable[[int], None]
    ) -> tuple[str, int]:
        read = 0

        def count(size: int) -> None:
            nonlocal read
            read += size
            advance(size)

        def attempt() -> tuple[str, int]:
            nonlocal read
            advance(-read)
            read = 0
            try:
                return self._send(content, repositories, count)
            except UploadLost as lost:
                raise RemoteError(lost.message, hint=lost.hint, retryable=True) from lost
            except RepositoryNotFound as error:
                error.retryable = True  # we saw or created it, but the registry may show it late
                raise

        return self._services.retry(f"push {content.blob or content.digest}", attempt)

    def _send(
        self, content: BlobContent, repositories: Sequence[str], count: Callable[[int], None]
    ) -> tuple[str, int]:
        source = BlobSource(
            content,
            self._opened,
            self._services,
            self._pool,
            part_bytes=PART,
            # With one worker, everything runs in one thread, in a fixed order.
            ahead=_AHEAD if self._services.configuration.promote.workers > 1 else 0,
            advance=count,
        )
        with ExitStack() as stack:
            uploads = {name: stack.enter_context(self._services.blobs.upload(name)) for name in repositories}
            for part in stack.enter_context(closing(source.parts())):
                check()
                for name, upload in uploads.items():
                    self._persist(f"send a part of {content.digest} to {name}", upload.send, part)
            for name, upload in uploads.items():
                self._persist(f"finish {source.digest} in {name}", upload.finish, source.digest)
                self._keep(name, content, (source.digest, source.size))
        return source.digest, source.size

    def _persist(self, what: str, action: Callable[[*Ts], None], *arguments: *Ts) -> None:
        """Retry a single request. If it fails in the end, the whole blob is not sent again."""
        try:
            self._services.retry(what, action, *arguments)
        except UploadLost:
            raise
        except ReleaseError as error:
            error.retryable = False
            raise


class _Mount:
    """A mount from another repository; after a lost answer, it first asks whether the blob is there."""

    def __init__(self, store: BlobStore, repository: str, blob: tuple[str, int]) -> None:
        self._store = store
        self._repository = repository
        self._blob = blob
        self._tried = False

    def attempt(self, lender: str) -> bool:
        digest, size = self._blob
        if self._tried and self._store.holds(self._repository, digest, size or None):
            return True
        self._tried = True
        return self._store.mount(self._repository, digest, lender)


def _uncounted(_: int) -> None:
    """Count nothing: the archive's bytes were counted when they were first read."""
