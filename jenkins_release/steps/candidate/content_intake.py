"""What a daemon with containerd's image store pushes: it knows each blob by the digest of its bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field, replace

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.images.archive.blobs import Blob, BlobHasher
from jenkins_release.images.archive.header import BLOCK, docker_takes_for, is_header
from jenkins_release.images.archive.limits import ArchiveLimits
from jenkins_release.images.gzip_blocks import PUSH_BLOCKS, BlockGzip
from jenkins_release.images.spool import Spool, SpoolRoom
from jenkins_release.oci.manifests import RawManifest

_HINT = "do not release it: find out what answers as the Docker daemon, and build the image again"


@dataclass(frozen=True)
class SentBlob:
    """A blob that was pushed.

    Attributes:
        blob: What it is; its document is kept if it may be a manifest or config.
        digest: Digest of the bytes that will be stored: its own, or those of a plain layer with gzip.
        size: Their number.
        spool: The bytes.
    """

    blob: Blob
    digest: str
    size: int
    spool: Spool = field(repr=False)


class ContentIntake:
    """Takes the blobs and manifests of one export.

    Args:
        held: Returns the bytes of a blob that the share has; None for one that must be sent.
        pool: Threads that compress plain layers; None to keep them as they are.
    """

    def __init__(self, held: Callable[[str], int | None], pool: ThreadPoolExecutor | None) -> None:
        self._held = held
        self._pool = pool
        self._lock = threading.Lock()
        self._closed = False
        self.room = SpoolRoom()
        self.blobs: dict[str, SentBlob] = {}
        """What was sent, by digest."""
        self.manifests: dict[str, RawManifest] = {}
        """Manifests and indexes, by digest."""
        self.tops: dict[str, RawManifest] = {}
        """The last one of each repository: registries require that what an index lists comes before it."""

    def held(self, digest: str) -> int | None:
        """Return the bytes of a blob that need not be sent; None for one that must."""
        with self._lock:
            sent = self.blobs.get(digest)
        return sent.blob.size if sent is not None else self._held(digest)

    def blob(self) -> PushedContent:
        """Begin to take a blob."""
        return PushedContent(self, self._pool)

    def manifest(self, repository: str, manifest: RawManifest) -> None:
        """Take a manifest."""
        with self._lock:
            self.manifests[manifest.digest] = manifest
            self.tops[repository] = manifest

    def take(self, sent: SentBlob) -> None:
        """Keep a blob."""
        with self._lock:
            # A thread of the registry may still work when the export has ended.
            known = sent.blob.digest in self.blobs or self._closed
            if not known:
                self.blobs[sent.blob.digest] = sent
        if known:
            sent.spool.close()

    def close(self) -> None:
        """Forget the blobs."""
        with self._lock:
            self._closed = True
            for sent in self.blobs.values():
                sent.spool.close()


class PushedContent:
    """A blob that is being pushed: hashed, and its layer proven; a plain layer is compressed.

    Args:
        intake: Where it goes.
        pool: As :class:`ContentIntake`.
    """

    def __init__(self, intake: ContentIntake, pool: ThreadPoolExecutor | None) -> None:
        self._intake = intake
        self._pool = pool
        self._limits = ArchiveLimits()
        self._hasher = BlobHasher(self._limits, keep=False)
        # Closed by the intake, or by abandon().
        self._spool = Spool()
        self._head = bytearray()
        self._begun = False
        self._packed: BlockGzip | None = None
        self._document: bytearray | None = None
        self._size = 0

    def write(self, piece: bytes) -> None:
        """Take the next bytes. Raises RemoteError if the disk is full."""
        self._hasher.update(memoryview(piece))
        self._size += len(piece)
        if self._begun:
            self._store(piece)
            return
        # What it is shows in its first block.
        self._head += piece
        if len(self._head) >= BLOCK:
            self._begin()

    def finish(self, digest: str) -> None:
        """Take the blob. Raises IntegrityError if it is not what the daemon says."""
        if not self._begun:
            self._begin()
        blob = self._hasher.finish("", 0, self._size)
        if blob.digest != digest:
            raise IntegrityError(
                f"the daemon pushes a blob as {digest}, but its bytes are {blob.digest}", hint=_HINT
            )
        stored, size = blob.digest, blob.size
        if self._packed is not None:
            for packed in self._packed.finish():
                self._spool.write(packed)
            stored, size = self._packed.digest, self._packed.size
        if self._document is not None:
            blob = replace(blob, document=bytes(self._document))
        self._intake.room.keep(self._spool)
        self._intake.take(SentBlob(blob, stored, size, self._spool))

    def abandon(self) -> None:
        """Forget the bytes."""
        if self._packed is not None:
            self._packed.abandon()
        self._spool.close()

    def _begin(self) -> None:
        self._begun = True
        head = bytes(self._head[:BLOCK])
        layer = is_header(head)
        if head[:1] == b"{" and not layer:
            self._document = bytearray()
        elif self._pool is not None and (layer or not docker_takes_for(head)):
            self._packed = BlockGzip(self._pool, PUSH_BLOCKS)
        self._store(bytes(self._head))

    def _store(self, piece: bytes) -> None:
        if self._document is not None:
            # What an SBOM says is not read, however large it is.
            fits = len(self._document) + len(piece) <= self._limits.document_bytes
            self._document = self._document + piece if fits else None
        if self._packed is None:
            self._spool.write(piece)
            return
        for packed in self._packed.update(memoryview(piece)):
            self._spool.write(packed)
