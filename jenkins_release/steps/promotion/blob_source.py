"""The bytes of a blob for the registry: read from the share, proven, and compressed if they are plain."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.stream import read_ahead
from jenkins_release.images.gzip_blocks import BLOCKS, BlockGzip
from jenkins_release.records.candidate import CandidateImage
from jenkins_release.registry.protocol import BlobPart
from jenkins_release.share.protocol import AHEAD
from jenkins_release.steps.candidate.content_store import ALTERED, ShareBlob, image_blobs
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.services import Services

_LEAST_AHEAD = 4


@dataclass(frozen=True)
class BlobContent(ShareBlob):
    """A part of an image to send.

    Attributes:
        blob: Digest of the blob that a registry stores for it; empty if not known yet.
        blob_size: Size of that blob in bytes; 0 if not known yet.
        plain: Whether it has to be compressed before it is sent.
    """

    blob: str
    blob_size: int
    plain: bool = False


def contents_of(image: CandidateImage) -> Iterator[BlobContent]:
    """Yield everything that a registry must hold before it takes the manifests of an image."""
    layers = [] if image.fixed_digest else [layer for part in image.parts for layer in part.layers]
    plain = {layer.digest: layer.gzip for layer in layers if layer.compression == "none"}
    for found in image_blobs(image):
        place = (found.digest, found.size, found.path, found.offset)
        if found.digest in plain:
            packed = plain[found.digest]
            known = ("", 0) if packed is None else (packed.digest, packed.size)
            yield BlobContent(*place, *known, plain=True, what=found.what)
        else:
            yield BlobContent(*place, found.digest, found.size, what=found.what)


class BlobSource:
    """Reads a content and yields the blob for the registry, in pieces or in parts.

    Args:
        content: What to read.
        opened: The candidate.
        services: The configuration.
        pool: Threads that compress.
        part_bytes: Size of a part in bytes; the last one may be smaller.
        ahead: How many pieces, of at most 1 MiB, a separate thread prepares while a part is sent; 0 for none.
        advance: Receives the number of bytes read from the share.

    Attributes:
        digest: Digest of the blob, once all of it was yielded.
        size: Its size in bytes.
    """

    def __init__(
        self,
        content: BlobContent,
        opened: OpenCandidate,
        services: Services,
        pool: ThreadPoolExecutor,
        *,
        part_bytes: int,
        ahead: int,
        advance: Callable[[int], None],
    ) -> None:
        self._content = content
        self._store = opened.content
        self._services = services
        self._pool = pool
        self._part_bytes = part_bytes
        self._ahead = ahead
        self._advance = advance
        self.digest = ""
        self.size = 0

    def pieces(self) -> Generator[bytes]:
        """Yield the blob in pieces of at most 1 MiB; call :meth:`prove` afterwards.

        Raises:
            IntegrityError: The archive is not what was recorded.
            RemoteError: The share failed.
        """
        content = self._content
        found = self._packed(prove=not content.blob) if content.plain else self._read(prove=True)
        with read_ahead(found, self._ahead) as pieces:
            for piece in pieces:
                self.size += len(piece)
                yield piece
        if not content.plain:
            self.digest = content.digest

    def parts(self, skip: int = 0) -> Generator[BlobPart]:
        """Yield the blob in parts; call :meth:`prove` afterwards.

        Args:
            skip: Bytes at its beginning that are left out: they are read and proven too.

        Raises:
            IntegrityError: As :meth:`pieces`.
            RemoteError: As :meth:`pieces`.
        """
        with closing(self.pieces()) as pieces:
            yield from self._gathered(pieces, skip)

    def prove(self) -> None:
        """Make sure that every byte of the blob is what was recorded.

        A blob that is sent as it is has the recorded digest by now. A plain layer is proven by its compressed
        digest if that is the one that was recorded at the export, and signed with ``candidate.json``. If it
        differs, or none was recorded, the layer is proven by its ``diff_id``: it may have to be read again.

        Raises:
            IntegrityError: As :meth:`pieces`.
            RemoteError: As :meth:`pieces`.
        """
        if self._content.plain and self._content.blob not in {"", self.digest}:
            self._prove_again()

    def _packed(self, *, prove: bool) -> Iterator[bytes]:
        """Yield a plain layer compressed."""
        depth = max(2, BLOCKS // self._services.configuration.promote.workers)
        packed = BlockGzip(self._pool, depth)
        try:
            for piece in self._read(prove=prove):
                # Other threads go on compressing while the next piece is hashed.
                yield from packed.update(piece)
            yield from packed.finish()
        finally:
            packed.abandon()
        self.digest = packed.digest

    def _prove_again(self) -> None:
        """Read the layer again: its plain bytes must match the ``diff_id``, and be those that were sent."""
        sent = self.digest
        for _ in self._packed(prove=True):
            continue
        if self.digest != sent:
            raise IntegrityError(
                f"{self._store.shown(self._content)} changed while it was read twice", hint=ALTERED
            )

    def _read(self, *, prove: bool) -> Iterator[bytes]:
        # The registry is slower than the share: half of one transfer's read-ahead is enough for all workers.
        ahead = max(_LEAST_AHEAD, AHEAD // 2 // self._services.configuration.promote.workers)
        read = self._store.read if prove else self._store.unproven
        for piece in read(self._content, ahead=ahead):
            self._advance(len(piece))
            yield piece

    def _gathered(self, pieces: Iterator[bytes], skip: int) -> Iterator[BlobPart]:
        waiting: list[memoryview] = []
        held = 0
        for piece in pieces:
            rest = memoryview(piece)[skip:]
            skip = max(0, skip - len(piece))
            while held + len(rest) >= self._part_bytes:
                taken = self._part_bytes - held
                yield BlobPart((*waiting, rest[:taken]))
                waiting, held, rest = [], 0, rest[taken:]
            if rest:
                waiting.append(rest)
                held += len(rest)
        if waiting:
            yield BlobPart(waiting)
