"""The bytes of one archive member: hashed, decompressed and, if they are small JSON, kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import zstandard
from isal import igzip_lib

from jenkins_release.images.archive import zstd_frames
from jenkins_release.images.archive.header import BLOCK, docker_takes_for, is_header
from jenkins_release.images.archive.limits import ArchiveLimits
from jenkins_release.records.archive_index import Compression

# The type stubs of isal describe its error as an instance.
_GZIP_ERRORS = (cast("type[Exception]", igzip_lib.IsalError), EOFError)
_STEP = 256 << 10


@dataclass(frozen=True, slots=True)
class Blob:
    """A file of an archive, once all its bytes have passed.

    Attributes:
        name: Name in the archive, normalised.
        offset: Bytes from the beginning of the archive to its data.
        size: Bytes of its data.
        digest: ``sha256:...`` of its bytes.
        diff_id: ``sha256:...`` of its uncompressed bytes; empty when ``problem`` is set.
        compression: How its bytes are compressed.
        problem: Why it cannot be a layer; empty if it can.
        document: Its bytes, if they were kept because they may be a JSON document.
        header_like: What Docker takes it for because of its first bytes, although they are also the header of
            a tar archive; empty if there is no doubt. See :func:`as_layer`.
    """

    name: str
    offset: int
    size: int
    digest: str
    diff_id: str
    compression: Compression
    problem: str
    document: bytes | None
    header_like: str = ""


def as_layer(blob: Blob, diff_id: str, *, repacked: bool = False) -> Blob:
    """Return a blob as the layer of a ``diff_id``, which decides what it is if its first bytes do not.

    A plain layer begins with the name of its first file, which may look like the beginning of compressed
    data. Only its own digest proves that it is plain: whatever a program takes it for, it gets these bytes or
    refuses. As seen: Docker 20.10 loads one that looks like zstd, and 26.1 does not; only 26.1 with
    containerd's image store loads one that looks like bzip2 or xz; none loads one that looks like gzip.

    Args:
        blob: The blob.
        diff_id: Digest of the uncompressed layer, from the config.
        repacked: Whether it will be compressed before Docker sees it, so that its beginning does not matter.
    """
    if not blob.header_like or blob.digest != diff_id:
        return blob
    if repacked or blob.header_like == "zstd":
        return replace(blob, diff_id=blob.digest, compression="none", problem="")
    problem = (
        f"it is not compressed, but the name of its first file begins like {blob.header_like} data, and "
        "Docker's classic image store takes the layer for that; rename the file, or set export.layers to "
        "gzip"
    )
    return replace(blob, problem=problem)


class _Problem(Exception):
    """The bytes cannot be decompressed; the text says why."""


class BlobHasher:
    """Hashes one member as its bytes pass, and also its uncompressed bytes.

    Compression is recognised by magic bytes, as Docker does; see :func:`as_layer`. Output of a decompressor
    is hashed in bounded steps and dropped, so a decompression bomb costs time, never memory.

    Args:
        limits: Bounds on decompression.
        keep: Whether to keep the bytes as a document.
        plain: Receives the uncompressed bytes of a gzip or zstd member; the buffer is its own.
    """

    def __init__(
        self, limits: ArchiveLimits, *, keep: bool, plain: Callable[[bytes], object] = lambda _: None
    ) -> None:
        self._limits = limits
        self._plain = plain
        self._stored = hashlib.sha256()
        self._head = bytearray()
        self._header_like = ""
        self._decompressor: _Gzip | _Zstd | None = None
        self._decided = False
        self._problem = ""
        self._document = bytearray() if keep else None

    def update(self, piece: memoryview) -> None:
        """Take the member's next bytes."""
        self._stored.update(piece)
        if self._document is not None:
            self._document += piece
        if not self._decided:
            taken = min(BLOCK - len(self._head), len(piece))
            self._head += piece[:taken]
            if len(self._head) < BLOCK:
                return
            self._decide()
            piece = piece[taken:]
        self._decompress(piece)

    def finish(self, name: str, offset: int, size: int) -> Blob:
        """Return what was learnt about the member."""
        if not self._decided:
            self._decide()
        digest = f"sha256:{self._stored.hexdigest()}"
        compression: Compression = "none"
        diff_id = digest
        if self._decompressor is not None:
            compression = self._decompressor.compression
            self._settle(self._decompressor)
            diff_id = f"sha256:{self._decompressor.hash.hexdigest()}"
        if self._problem:
            diff_id = ""
        document = None if self._document is None else bytes(self._document)
        return Blob(
            name, offset, size, digest, diff_id, compression, self._problem, document, self._header_like
        )

    def _decide(self) -> None:
        self._decided = True
        head = bytes(self._head)
        compression = docker_takes_for(head)
        if zstd_frames.is_skippable(head[:4]):
            # Docker looks past such a frame; skopeo takes the layer for uncompressed.
            self._problem = "it begins with a skippable zstd frame, expected one with data"
        elif compression == "gzip":
            self._decompressor = _Gzip(_BoundedHash(self._limits.layer_bytes, self._plain))
        elif compression == "zstd":
            self._decompressor = _Zstd(self._limits, _BoundedHash(self._limits.layer_bytes, self._plain))
        elif compression:
            self._problem = f"it is compressed with {compression}, expected gzip, zstd or no compression"
        self._header_like = compression if is_header(head) else ""
        self._decompress(memoryview(head))

    def _decompress(self, piece: memoryview) -> None:
        if self._decompressor is None or self._problem or not piece:
            return
        try:
            self._decompressor.update(piece)
        except _Problem as error:
            self._problem = str(error)

    def _settle(self, decompressor: _Gzip | _Zstd) -> None:
        if self._problem:
            return
        try:
            decompressor.finish()
        except _Problem as error:
            self._problem = str(error)


class _BoundedHash:
    """A hash with a limit on its input."""

    def __init__(self, limit: int, also: Callable[[bytes], object]) -> None:
        self._hash = hashlib.sha256()
        self._also = also
        self._left = limit
        self._limit = limit

    def write(self, piece: bytes) -> int:
        self._left -= len(piece)
        if self._left < 0:
            raise _Problem(f"it expands to more than {self._limit} bytes")
        self._hash.update(piece)
        self._also(piece)
        return len(piece)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class _Gzip:
    """gzip members (RFC 1952), one after the other as Go's ``compress/gzip`` reads them."""

    compression: Compression = "gzip"

    def __init__(self, sink: _BoundedHash) -> None:
        self.hash = sink
        self._new_member()

    def update(self, piece: memoryview) -> None:
        pending: bytes | memoryview = piece
        try:
            while pending:
                if self._member.eof:
                    self._new_member()
                self.hash.write(self._member.decompress(pending, _STEP))
                while not self._member.eof and not self._member.needs_input:
                    self.hash.write(self._member.decompress(b"", _STEP))
                pending = self._member.unused_data if self._member.eof else b""
        except _GZIP_ERRORS as error:
            raise _Problem(f"its gzip data is damaged ({error})") from error

    def finish(self) -> None:
        if not self._member.eof:
            raise _Problem("its gzip data ends too early")

    def _new_member(self) -> None:
        self._member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


class _Zstd:
    """zstd frames (RFC 8878), including skippable ones after the first, as Docker and skopeo read them."""

    compression: Compression = "zstd"

    def __init__(self, limits: ArchiveLimits, sink: _BoundedHash) -> None:
        self.hash = sink
        decompressor = zstandard.ZstdDecompressor(max_window_size=limits.zstd_window_bytes)
        self._writer = decompressor.stream_writer(self.hash, write_size=_STEP, closefd=False)  # type: ignore[arg-type]
        self._frames = zstd_frames.FrameWalker()

    def update(self, piece: memoryview) -> None:
        try:
            self._writer.write(piece)
        except zstandard.ZstdError as error:
            raise _Problem(f"its zstd data is damaged ({error})") from error
        self._frames.feed(piece)

    def finish(self) -> None:
        if not self._frames.complete:
            raise _Problem("its zstd data ends too early")
