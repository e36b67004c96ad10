"""Converts a plain image archive into one with gzip layers, as a stream.

Each layer is compressed once, to one gzip file, which is exactly the blob that a registry stores. The archive
has the layout of ``manifest.json``, which every Docker loads. A tar member begins with its size, so a layer's
compressed bytes are collected until it is complete. Layers that are already compressed are not changed.
Whatever is known to belong to no image is left out.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.base.stream import fan_out
from jenkins_release.base.waits import ThreadGroup, check
from jenkins_release.images.archive import ArchivedImage, ArchivedLayer, ArchiveIndex, ArchiveReader
from jenkins_release.images.archive.blobs import Blob
from jenkins_release.images.archive.header import docker_takes_for, is_header
from jenkins_release.images.archive.tar import TarMember
from jenkins_release.images.docker_archive import BLOCK, END, blob_path, file_header, image_entry, image_list
from jenkins_release.images.gzip_blocks import BlockGzip, compression_pool
from jenkins_release.images.spool import Spool
from jenkins_release.records.archive_index import Compression

_SMALLEST_LAYER = BLOCK
"""An empty layer has two blocks of zeros; Docker's ``VERSION`` files have three bytes."""
_WAITING = 1
_POLL_S = 0.1
"""How soon a thread that waits for a layer notices that it has to end, in seconds."""
_PATIENCE = 20
"""How many times 0.05 s the reading thread gets to end by itself."""


@dataclass
class _Stored:
    """A layer in its final form, waiting to be written."""

    source: Blob
    diff_id: str
    spool: Spool
    digest: str
    size: int
    compression: Compression


class SpareLayers(Exception):
    """The archive has layers of no image that was chosen, and they were written: of other platforms.

    Attributes:
        digests: Their digests in the source.
    """

    def __init__(self, digests: Collection[str]) -> None:
        super().__init__(f"{len(digests)} layers are of no image")
        self.digests = frozenset(digests)


class GzipArchive:
    """Converts one archive into another; :meth:`convert` may be used once.

    Args:
        platform: Platform to choose, as :class:`~jenkins_release.images.archive.ArchiveReader`.
        threads: Threads that compress.
        announce: Receives each layer's offset in the new archive, its digest and size, before :meth:`convert`
            yields any of its bytes.
        spare: Digests of layers in the source that are left out.

    Attributes:
        images: The images in the new archive, once it is complete.
    """

    def __init__(
        self,
        platform: str,
        *,
        threads: int = 2,
        announce: Callable[[int, str, int], None] = lambda *_: None,
        spare: Collection[str] = (),
    ) -> None:
        self._announce = announce
        self._spare = frozenset(spare)
        self._pool = compression_pool(threads)
        self._finished: queue.Queue[_Stored | None] = queue.Queue(_WAITING)
        self._stopping = threading.Event()
        self._observer = _Layers(self._pool, self._put)
        self._reader = ArchiveReader(platform, hashed=False, observer=self._observer, repacked=True)
        self._failure: BaseException | None = None
        self._places: dict[int, ArchivedLayer] = {}
        self._sources: set[str] = set()
        self._written: dict[str, tuple[int, int]] = {}
        self._offset = 0
        self.images: tuple[ArchivedImage, ...] = ()

    def convert(self, source: Iterable[bytes]) -> Generator[bytes]:
        """Yield the new archive while the old one is read in another thread.

        Raises:
            IntegrityError: The source is not a valid archive.
            RemoteError: The temporary file cannot be written.
            SpareLayers: Layers of other platforms were written, and have to be left out.
            BaseException: What ``source`` raises.
        """
        group = ThreadGroup()
        reading = threading.Thread(
            target=group.run, args=(self._read, source), daemon=True, name="compress-archive"
        )
        reading.start()
        try:
            while (stored := self._next()) is not None:
                with stored.spool:
                    if stored.source.digest not in self._spare:
                        yield from self._layer(stored)
            reading.join()
            if self._failure is not None:
                raise self._failure
            yield from self._documents(self._reader.finish())
        finally:
            self._stopping.set()
            # If the source waits on a connection that others use too, its next bytes end the thread.
            group.end()
            for _ in range(_PATIENCE):
                self._drain()
                reading.join(0.05)
                if not reading.is_alive():
                    break
            self._drain()
            self._pool.shutdown(cancel_futures=True)

    def index(self, sha256: str, size: int) -> ArchiveIndex:
        """Return the index of the new archive, given hash and size of what :meth:`convert` yielded.

        What ``index.json`` lists is from the old archive: it identifies the images, but is not in the new
        one.
        """
        return ArchiveIndex(size, sha256, self.images, image_ids=self._reader.finish().image_ids)

    def _read(self, source: Iterable[bytes]) -> None:
        try:
            fan_out(self._wanted(source), [self._reader.feed])
            self._reader.finish()
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            self._failure = error
        finally:
            self._observer.close()
            self._put(None)

    def _wanted(self, source: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in source:
            if self._stopping.is_set():
                return
            yield chunk

    def _put(self, stored: _Stored | None) -> None:
        while not self._stopping.is_set():
            try:
                self._finished.put(stored, timeout=0.5)
            except queue.Full:
                continue
            return
        if stored is not None:
            stored.spool.close()
            raise RemoteError("the archive is no longer needed")

    def _next(self) -> _Stored | None:
        while True:
            try:
                return self._finished.get(timeout=_POLL_S)
            except queue.Empty:
                check()

    def _drain(self) -> None:
        while True:
            try:
                left = self._finished.get_nowait()
            except queue.Empty:
                return
            if left is not None:
                left.spool.close()

    def _layer(self, stored: _Stored) -> Iterator[bytes]:
        if stored.digest not in self._written:
            header = self._begin(stored.digest, stored.size)
            self._announce(self._offset, stored.digest, stored.size)
            yield header
            for piece in stored.spool.pieces():
                yield self._counted(piece)
            yield self._padding()
        offset, size = self._written[stored.digest]
        self._sources.add(stored.source.digest)
        self._places[stored.source.offset] = ArchivedLayer(
            stored.diff_id, stored.digest, offset, size, stored.compression
        )

    def _documents(self, index: ArchiveIndex) -> Iterator[bytes]:
        named = {layer.digest for image in index.images for layer in image.layers}
        if spare := self._sources - named:
            raise SpareLayers(spare)
        entries, images = [], []
        for image in index.images:
            config = self._reader.document(image.config_digest)
            if image.config_digest not in self._written:
                yield self._begin(image.config_digest, len(config)) + self._counted(config)
                yield self._padding()
            for layer in image.layers:
                if layer.offset not in self._places:
                    yield from self._like_a_document(layer)
            layers = tuple(self._places[layer.offset] for layer in image.layers)
            if [layer.diff_id for layer in layers] != [layer.diff_id for layer in image.layers]:
                raise IntegrityError("a layer begins with both compressed data and a tar header")
            images.append(replace(image, config_offset=self._written[image.config_digest][0], layers=layers))
            entries.append(
                image_entry(image.config_digest, image.references, [layer.digest for layer in layers])
            )
        yield self._counted(image_list(entries))
        yield self._padding() + self._counted(END)
        self.images = tuple(images)

    def _like_a_document(self, layer: ArchivedLayer) -> Iterator[bytes]:
        """Write a small layer that the reader kept because the name of its first file begins with ``[``."""
        packed = BlockGzip(self._pool)
        spool = Spool()
        for piece in (*packed.update(self._reader.document(layer.digest)), *packed.finish()):
            spool.write(piece)
        source = Blob("", layer.offset, layer.size, layer.digest, layer.diff_id, "none", "", None)
        with spool:
            yield from self._layer(_Stored(source, layer.diff_id, spool, packed.digest, packed.size, "gzip"))

    def _begin(self, digest: str, size: int) -> bytes:
        header = self._counted(file_header(blob_path(digest), size))
        self._written[digest] = (self._offset, size)
        return header

    def _padding(self) -> bytes:
        return self._counted(bytes(-self._offset % BLOCK))

    def _counted(self, data: bytes) -> bytes:
        self._offset += len(data)
        return data


class _Layers:
    """Compresses each layer that the reader passes, and passes on complete ones."""

    def __init__(self, pool: ThreadPoolExecutor, done: Callable[[_Stored], None]) -> None:
        self._pool = pool
        self._done = done
        self._size = 0
        self._gzip: BlockGzip | None = None
        self._decided = False
        self._head = bytearray()
        self._spool: Spool | None = None

    def begin(self, member: TarMember) -> None:
        self.close()
        self._size = member.size
        self._decided = False
        self._head = bytearray()
        # Closed by the thread that writes it to the archive.
        self._spool = Spool()

    def data(self, piece: memoryview) -> None:
        if self._decided:
            self._take(piece)
            return
        # The first bytes show whether it is compressed; they may come one by one.
        self._head += piece
        if len(self._head) < min(BLOCK, self._size):
            return
        self._decided = True
        head = bytes(self._head[:BLOCK])
        if is_header(head) or not docker_takes_for(head):
            self._gzip = BlockGzip(self._pool)
        self._take(memoryview(bytes(self._head)))

    def end(self, blob: Blob) -> None:
        spool, self._spool = self._spool, None
        if spool is None:
            return
        plain = self._gzip is not None
        if plain and blob.size < _SMALLEST_LAYER:
            spool.close()
            return
        stored = _Stored(blob, blob.diff_id, spool, blob.digest, blob.size, blob.compression)
        if self._gzip is not None:
            self._spool = spool
            self._write(self._gzip.finish())
            self._spool = None
            stored = _Stored(blob, blob.digest, spool, self._gzip.digest, self._gzip.size, "gzip")
            self._gzip = None
        self._done(stored)

    def close(self) -> None:
        """Discard an incomplete layer."""
        if self._gzip is not None:
            self._gzip.abandon()
            self._gzip = None
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _take(self, piece: memoryview) -> None:
        self._write([piece] if self._gzip is None else self._gzip.update(piece))

    def _write(self, pieces: Iterable[bytes | memoryview]) -> None:
        if self._spool is None:
            raise RemoteError("bytes of a layer came outside a layer")
        for piece in pieces:
            self._spool.write(piece)
