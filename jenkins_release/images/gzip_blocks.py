"""Compresses a stream with gzip in independent blocks, by several threads, always to the same bytes.

The result is one gzip member (RFC 1952) whose deflate data (RFC 1951) is cut at fixed offsets of the input:
each block is compressed by itself and ends on a byte boundary, as with ``pigz --independent``. The output
depends only on the input and the compressor, never on the pieces of the input or the number of threads. igzip
has separate code for each generation of processors, so another machine may compress the same input to other
bytes: a digest of compressed bytes proves the content only if it is equal.
"""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from isal import isal_zlib

BLOCK = 1 << 20
"""Bytes of input in one block."""
BLOCKS = 4
"""Blocks of one stream that are under way at the same time, by default."""
PUSH_BLOCKS = 2
"""The same where a daemon pushes: it sends five layers at a time, each slower than one thread compresses."""
LEVEL = 1
"""igzip's level: about 290 MB/s on one core at 2:1 for programs and libraries."""
_RAW_DEFLATE = -15
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""No name, no time, unknown system: nothing that differs between runs."""
_FINAL_BLOCK = b"\x03\x00"
"""An empty last block with fixed Huffman codes (RFC 1951 section 3.2.6)."""


def compression_pool(threads: int) -> ThreadPoolExecutor:
    """Return the compressing threads; igzip lets other threads run meanwhile."""
    return ThreadPoolExecutor(threads, "compress")


class BlockGzip:
    """One gzip stream while it is written.

    Args:
        pool: Threads that compress.
        depth: Blocks that may be under way; at most that many MiB of input are held, and their output.

    Attributes:
        taken: Bytes of input so far.
        size: Bytes of output so far.
    """

    def __init__(self, pool: ThreadPoolExecutor, depth: int = BLOCKS) -> None:
        self._pool = pool
        self._depth = depth
        self._under_way: deque[Future[bytes]] = deque()
        self._partial = bytearray()
        self._crc = 0
        self._sha256 = hashlib.sha256()
        self.taken = 0
        self.size = 0
        self._begun = False

    @property
    def digest(self) -> str:
        """``sha256:...`` of the output so far; of the whole when :meth:`finish` is exhausted."""
        return f"sha256:{self._sha256.hexdigest()}"

    def update(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Take more input and yield the output that is ready; must be exhausted.

        Args:
            data: Bytes that no longer change; whole blocks are not copied.
        """
        view = memoryview(data).cast("B")
        self.taken += len(view)
        self._crc = isal_zlib.crc32(view, self._crc)
        while view:
            if self._partial or len(view) < BLOCK:
                missing = BLOCK - len(self._partial)
                self._partial += view[:missing]
                view = view[missing:]
                if len(self._partial) < BLOCK:
                    return
                block: bytes | memoryview = bytes(self._partial)
                self._partial.clear()
            else:
                block, view = view[:BLOCK], view[BLOCK:]
            yield from self._submit(block)

    def finish(self) -> Iterator[bytes]:
        """Yield the rest of the output; the stream is complete afterwards."""
        if self._partial:
            yield from self._submit(bytes(self._partial))
            self._partial.clear()
        while self._under_way:
            yield self._emit(self._under_way.popleft().result())
        yield self._emit(_FINAL_BLOCK + struct.pack("<II", self._crc, self.taken & 0xFFFFFFFF))

    def abandon(self) -> None:
        """Discard what is under way."""
        for future in self._under_way:
            future.cancel()
        self._under_way.clear()

    def _submit(self, block: bytes | memoryview) -> Iterator[bytes]:
        self._under_way.append(self._pool.submit(_deflate, block))
        while len(self._under_way) >= self._depth:
            yield self._emit(self._under_way.popleft().result())

    def _emit(self, output: bytes) -> bytes:
        if not self._begun:
            self._begun = True
            output = _HEADER + output
        self._sha256.update(output)
        self.size += len(output)
        return output


def _deflate(block: bytes | memoryview) -> bytes:
    compressor = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, _RAW_DEFLATE)
    return b"".join((compressor.compress(block), compressor.flush(isal_zlib.Z_FULL_FLUSH)))
