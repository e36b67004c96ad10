"""What a daemon pushes for an export: new layers, compressed as the export does, and configs."""

from __future__ import annotations

import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.images.archive.blobs import BlobHasher
from jenkins_release.images.archive.limits import ArchiveLimits
from jenkins_release.images.gzip_blocks import PUSH_BLOCKS, BlockGzip
from jenkins_release.images.layer_proof import MAX_CONFIG_BYTES
from jenkins_release.images.spool import Spool, SpoolRoom
from jenkins_release.oci.manifests import RawManifest, sha256_digest

_SOME = 1
"""Bytes of a blob that nobody sent. The daemon writes them into its manifest, where nobody reads them."""
_HINT = "do not release it: find out what answers as the Docker daemon, and build the image again"


@dataclass(frozen=True)
class TakenLayer:
    """A layer that was pushed, as it will be stored.

    Attributes:
        diff_id: Digest of the uncompressed layer, computed from the bytes.
        digest: Digest of the gzip file.
        size: Its bytes.
        spool: The gzip file.
    """

    diff_id: str
    digest: str
    size: int
    spool: Spool = field(repr=False)


class PushIntake:
    """Takes the blobs and manifests of one export.

    A daemon asks for each layer by the digest under which it knows it, before it reads it. That digest says
    nothing about the content, and is not believed: every layer is said to be here, until its manifest shows
    by the config which layer it is. What neither the share has nor was sent must then be sent.

    Args:
        configs: Digests of the configs that have to be sent.
        pool: Threads that compress.
    """

    def __init__(self, configs: Collection[str], pool: ThreadPoolExecutor) -> None:
        self._configs = frozenset(configs)
        self._pool = pool
        self._lock = threading.Lock()
        self._closed = False
        self.room = SpoolRoom()
        self._required: set[str] = set()
        self._pushed: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self._documents: dict[str, bytes] = {}
        self.layers: dict[str, TakenLayer] = {}
        """The layers by ``diff_id``."""
        self.manifests: dict[str, RawManifest] = {}
        """The last manifest of each repository."""
        self.begun = 0
        """How many layers the daemon began to send."""

    def held(self, digest: str) -> int | None:
        """Return the bytes of a blob that need not be sent; None for one that must."""
        with self._lock:
            if digest in self._sizes:
                return self._sizes[digest]
            return None if digest in self._configs or digest in self._required else _SOME

    def require(self, digests: Collection[str]) -> None:
        """Let these blobs be sent the next time."""
        with self._lock:
            self._required.update(digests)

    def diff_id(self, digest: str) -> str:
        """Return the ``diff_id`` of a layer that was sent under a digest; empty if it was not."""
        return self._pushed.get(digest, "")

    def document(self, digest: str) -> bytes | None:
        """Return a config that was sent."""
        return self._documents.get(digest)

    def blob(self) -> PushedBlob:
        """Begin to take a blob."""
        return PushedBlob(self, self._pool)

    def manifest(self, repository: str, manifest: RawManifest) -> None:
        """Take a manifest."""
        self.manifests[repository] = manifest

    def layer_begins(self) -> None:
        """Count a layer that the daemon sends."""
        with self._lock:
            self.begun += 1

    def take_layer(self, pushed: str, size: int, layer: TakenLayer) -> None:
        """Keep a layer that came as a blob of this digest and size."""
        with self._lock:
            # A thread of the registry may still work when the export has ended.
            known = layer.diff_id in self.layers or self._closed
            if not known:
                self.layers[layer.diff_id] = layer
            self._pushed[pushed] = layer.diff_id
            self._sizes[pushed] = size
        if known:
            layer.spool.close()

    def take_document(self, digest: str, data: bytes) -> None:
        """Keep a config."""
        with self._lock:
            self._documents[digest] = data
            self._sizes[digest] = len(data)

    def close(self) -> None:
        """Forget the layers."""
        with self._lock:
            self._closed = True
            for layer in self.layers.values():
                layer.spool.close()


class PushedBlob:
    """A blob that is being pushed: a layer is decompressed, proven and compressed; a config is kept.

    Args:
        intake: Where it goes.
        pool: Threads that compress.
    """

    def __init__(self, intake: PushIntake, pool: ThreadPoolExecutor) -> None:
        self._intake = intake
        self._packed = BlockGzip(pool, PUSH_BLOCKS)
        # Closed by the intake, or by abandon().
        self._spool = Spool()
        self._hasher = BlobHasher(ArchiveLimits(), keep=False, plain=self._pack)
        self._document: bytearray | None = None
        self._size = 0

    def write(self, piece: bytes) -> None:
        """Take the next bytes."""
        if not self._size and piece:
            if piece[:1] == b"{":
                self._document = bytearray()
            else:
                self._intake.layer_begins()
        self._size += len(piece)
        if self._document is None:
            self._hasher.update(memoryview(piece))
            return
        self._document += piece
        if len(self._document) > MAX_CONFIG_BYTES:
            raise IntegrityError(
                f"the daemon pushes a config of more than {MAX_CONFIG_BYTES} bytes", hint=_HINT
            )

    def finish(self, digest: str) -> None:
        """Take the blob. Raises IntegrityError if it is not what the daemon says."""
        if self._document is not None:
            self._spool.close()
            found = sha256_digest(bytes(self._document))
            _require(digest, found)
            self._intake.take_document(digest, bytes(self._document))
            return
        blob = self._hasher.finish(digest, 0, self._size)
        _require(digest, blob.digest)
        if blob.problem or blob.compression == "none":
            raise IntegrityError(
                f"the daemon pushes the layer {digest}, which cannot be read: "
                f"{blob.problem or 'it is not compressed'}",
                hint=_HINT,
            )
        for packed in self._packed.finish():
            self._spool.write(packed)
        self._intake.room.keep(self._spool)
        layer = TakenLayer(blob.diff_id, self._packed.digest, self._packed.size, self._spool)
        self._intake.take_layer(digest, self._size, layer)

    def abandon(self) -> None:
        """Forget the bytes."""
        self._packed.abandon()
        self._spool.close()

    def _pack(self, plain: bytes) -> None:
        for packed in self._packed.update(memoryview(plain)):
            self._spool.write(packed)


def _require(said: str, found: str) -> None:
    if said != found:
        raise IntegrityError(f"the daemon pushes a blob as {said}, but its bytes are {found}", hint=_HINT)
