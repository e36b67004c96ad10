"""The digests of an archive's plain layers after compression, without keeping the bytes."""

from __future__ import annotations

from jenkins_release.images.archive.blobs import Blob
from jenkins_release.images.archive.tar import TarMember
from jenkins_release.images.gzip_blocks import BlockGzip, compression_pool


class GzipDigests:
    """Observes an archive reader, and compresses each plain layer to get its digest.

    A context manager: its threads end with the block.

    Args:
        threads: Threads that compress.

    Attributes:
        found: Digest and bytes of the compressed layer, by the layer's offset in the archive.
    """

    def __init__(self, *, threads: int = 2) -> None:
        self.found: dict[int, tuple[str, int]] = {}
        self._pool = compression_pool(threads)
        self._gzip: BlockGzip | None = None

    def begin(self, member: TarMember) -> None:  # noqa: ARG002
        """A file begins."""
        self._gzip = BlockGzip(self._pool)

    def data(self, piece: memoryview) -> None:
        """Compress more bytes."""
        if self._gzip is not None:
            for _ in self._gzip.update(piece):
                continue

    def end(self, blob: Blob) -> None:
        """Remember the result, if it can be a plain layer."""
        if self._gzip is None:
            return
        for _ in self._gzip.finish():
            continue
        if blob.compression == "none" or blob.header_like:
            self.found[blob.offset] = (self._gzip.digest, self._gzip.size)
        self._gzip = None

    def __enter__(self) -> GzipDigests:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
