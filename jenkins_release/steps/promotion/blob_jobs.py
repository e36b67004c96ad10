"""Sends a blob to every repository that lacks it: by a mount if possible, otherwise with a single read.

A blob goes in one request for each repository. If that breaks off, or the registry takes no such request,
the blob is read again, and what the registry does not have yet is sent in parts. A layer that is compressed
on the way is compressed again, to the same bytes; in any case, the registry keeps a blob only by its digest.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from types import TracebackType
from typing import TypeVar, TypeVarTuple

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ReleaseError, RemoteError
from jenkins_release.base.stream import hand_out
from jenkins_release.base.waits import check
from jenkins_release.images.gzip_blocks import compression_pool
from jenkins_release.registry.protocol import (
    PART,
    BlobPart,
    BlobStore,
    BlobUpload,
    RepositoryNotFound,
    UploadLost,
)
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.promotion.blob_source import BlobContent, BlobSource
from jenkins_release.steps.promotion.missing_blobs import MissingBlobs

_log = logging.getLogger(__name__)
T = TypeVar("T")
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
        failures: list[ReleaseError] = []

        def count(size: int) -> None:
            nonlocal read
            read += size
            advance(size)

        def attempt() -> tuple[str, int]:
            nonlocal read
            if failures:
                raise failures.pop()
            advance(-read)
            read = 0
            try:
                return delivery.send(count)
            except UploadLost as lost:
                raise RemoteError(lost.message, hint=lost.hint, retryable=True) from lost

        with _Delivery(self, content, repositories) as delivery:
            if self.streams(content, repositories):
                # It counts as the first attempt, but may take longer than the deadline of those that follow.
                try:
                    return delivery.stream(count)
                except UploadLost as lost:
                    failures.append(RemoteError(lost.message, hint=lost.hint, retryable=True))
                except ReleaseError as error:
                    failures.append(error)
            return self._services.retry(f"push {content.blob or content.digest}", attempt)

    def streams(self, content: BlobContent, repositories: Sequence[str]) -> bool:
        """Whether a blob is sent to these repositories in one request each, and not in parts."""
        # With one worker, everything runs in one thread, in a fixed order.
        one_thread = len(repositories) == 1 or self._services.configuration.promote.workers > 1
        return content.size > PART and one_thread and self._services.blobs.streams

    def source(self, content: BlobContent, advance: Callable[[int], None]) -> BlobSource:
        """Return the bytes of a blob.

        Args:
            content: Of what.
            advance: Receives the number of bytes read from the share.
        """
        return BlobSource(
            content,
            self._opened,
            self._services,
            self._pool,
            part_bytes=PART,
            ahead=_AHEAD if self._services.configuration.promote.workers > 1 else 0,
            advance=advance,
        )

    def begin(self, repository: str) -> BlobUpload:
        """Begin an upload."""

        def attempt() -> BlobUpload:
            try:
                return self._services.blobs.upload(repository)
            except RepositoryNotFound as error:
                error.retryable = True  # we saw or created it, but the registry may show it late
                raise

        return self.persist(f"begin an upload to {repository}", attempt)

    def persist(self, what: str, action: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Retry a single request. If it fails in the end, the whole blob is not sent again."""
        try:
            return self._services.retry(what, action, *arguments)
        except UploadLost:
            raise
        except ReleaseError as error:
            error.retryable = False
            raise

    def finish(self, repository: str, upload: BlobUpload, content: BlobContent, source: BlobSource) -> None:
        """Let a repository keep a blob that was sent."""
        self.persist(f"finish {source.digest} in {repository}", upload.finish, source.digest)
        self._keep(repository, content, (source.digest, source.size))


class _Delivery:
    """A blob on its way to the repositories that lack it.

    A context manager, which cancels what is unfinished.

    Args:
        sender: Sends it.
        content: What it is.
        repositories: Where to.
    """

    def __init__(self, sender: BlobSender, content: BlobContent, repositories: Sequence[str]) -> None:
        self._sender = sender
        self._content = content
        self._left = list(repositories)
        self._uploads: dict[str, BlobUpload] = {}
        self._stack = ExitStack()

    def stream(self, count: Callable[[int], None]) -> tuple[str, int]:
        """Read the blob once, and send it to each repository in one request.

        Args:
            count: Receives the number of bytes read from the share.

        Returns:
            Its digest and size in bytes.

        Raises:
            IntegrityError: The archive is not what was recorded.
            RemoteError: Share or registry failed; ``retryable`` if :meth:`send` may help.
        """
        source = self._sender.source(self._content, count)
        size = None if self._content.plain else self._content.size
        failures: dict[str, ReleaseError] = {}

        def take(name: str, pieces: Iterator[bytes]) -> None:
            try:
                self._uploads[name].stream(pieces, size)
            except ReleaseError as error:
                if not error.retryable and not isinstance(error, UploadLost):
                    raise
                # The others go on.
                failures[name] = error
                if isinstance(error, UploadLost):
                    del self._uploads[name]

        for name in self._left:
            self._begin(name)
        with closing(source.pieces()) as pieces:
            if len(self._left) == 1:
                take(self._left[0], pieces)
            else:
                hand_out(pieces, [partial(take, name) for name in self._left])
        self._finish([name for name in self._left if name not in failures], source)
        if failures:
            raise next(iter(failures.values()))
        return source.digest, source.size

    def send(self, count: Callable[[int], None]) -> tuple[str, int]:
        """As :meth:`stream`, but read the blob again, and send what a repository does not have yet in parts.

        Raises:
            UploadLost: The registry has forgotten an upload; another attempt begins a new one.
        """
        sent = "", 0
        for begin, names in self._by_offset().items():
            source = self._sender.source(self._content, count)
            with closing(source.parts(begin)) as parts:
                for part in parts:
                    check()
                    for name in names:
                        self._send_part(name, part)
            self._finish(names, source)
            sent = source.digest, source.size
            count = _uncounted
        return sent

    def _by_offset(self) -> dict[int, list[str]]:
        """Return the repositories that are left, by how many bytes of the blob they have."""
        found: dict[int, list[str]] = {}
        for name in self._left:
            found.setdefault(self._continue(name), []).append(name)
        return found

    def _continue(self, name: str) -> int:
        upload = self._uploads.get(name)
        if upload is not None:
            try:
                return self._sender.persist(f"continue an upload to {name}", upload.resume)
            except UploadLost as lost:
                _log.info("%s", lost)
        self._begin(name)
        return 0

    def _begin(self, name: str) -> None:
        self._uploads[name] = self._stack.enter_context(self._sender.begin(name))

    def _send_part(self, name: str, part: BlobPart) -> None:
        what = f"send a part of {self._content.digest} to {name}"
        try:
            self._sender.persist(what, self._uploads[name].send, part)
        except UploadLost:
            del self._uploads[name]
            raise

    def _finish(self, names: Sequence[str], source: BlobSource) -> None:
        if names:
            source.prove()
        for name in names:
            # If the registry forgot it by now, another attempt begins a new one.
            upload = self._uploads.pop(name)
            self._sender.finish(name, upload, self._content, source)
            self._left.remove(name)

    def __enter__(self) -> _Delivery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


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
