"""The bytes of a blob for the registry: read from the share, proven, and compressed if they are plain."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.stream import read_ahead
from jenkins_release.base.waits import check
from jenkins_release.images.gzip_blocks import BLOCKS, BlockGzip
from jenkins_release.records.candidate import CandidateImage, LayerRecord, MultiPlatformRecord
from jenkins_release.registry.protocol import BlobPart
from jenkins_release.share.protocol import AHEAD
from jenkins_release.steps.candidate.archive_reader import ALTERED
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.services import Services

_LEAST_AHEAD = 4


@dataclass(frozen=True)
class BlobContent:
    """A layer or another part of an image to send, and its place in an archive.

    Attributes:
        archive: Path of the archive.
        what: What it is, for messages.
        offset: Bytes before it in the archive.
        size: Its size in the archive, in bytes.
        digest: Expected digest of its bytes in the archive.
        blob: Digest of the blob that a registry stores for it; empty if not known yet.
        blob_size: Size of that blob in bytes; 0 if not known yet.
        plain: Whether it has to be compressed before it is sent.
    """

    archive: str
    what: str
    offset: int
    size: int
    digest: str
    blob: str
    blob_size: int
    plain: bool = False


def contents_of(image: CandidateImage) -> Iterator[BlobContent]:
    """Yield everything that a registry must hold before it takes the manifests of an image."""
    for part in image.parts:
        yield _as_stored(image, "config", part.config_digest, part.config_offset, part.config_size)
        for layer in part.layers:
            yield layer_content(image, layer)
    if isinstance(image, MultiPlatformRecord):
        for attestation in image.attestations:
            for blob in attestation.blobs:
                yield _as_stored(image, "attestation", blob.digest, blob.offset, blob.size)


def layer_content(image: CandidateImage, layer: LayerRecord) -> BlobContent:
    """Return a layer of an image as content to send."""
    if image.fixed_digest or layer.compression != "none":
        return _as_stored(image, "layer", layer.digest, layer.offset, layer.size)
    known = ("", 0) if layer.gzip is None else (layer.gzip.digest, layer.gzip.size)
    return BlobContent(image.archive, "layer", layer.offset, layer.size, layer.digest, *known, plain=True)


def _as_stored(image: CandidateImage, what: str, digest: str, offset: int, size: int) -> BlobContent:
    return BlobContent(image.archive, what, offset, size, digest, digest, size)


class BlobSource:
    """Reads a content and yields the blob for the registry, in pieces or in parts.

    Args:
        content: What to read.
        opened: The candidate.
        services: The share.
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
        self._opened = opened
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
        found = self._packed(prove=not content.blob) if content.plain else self._stored()
        with read_ahead(found, self._ahead) as pieces:
            for piece in pieces:
                self.size += len(piece)
                yield piece

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

    def _stored(self) -> Iterator[bytes]:
        """Yield the bytes as they are in the archive."""
        sha256 = hashlib.sha256()
        for piece in self._read():
            sha256.update(piece)
            yield piece
        self.digest = self._checked(f"sha256:{sha256.hexdigest()}")

    def _packed(self, *, prove: bool) -> Iterator[bytes]:
        """Yield a plain layer compressed. With ``prove``, hash its plain bytes too."""
        depth = max(2, BLOCKS // self._services.configuration.promote.workers)
        packed, sha256 = BlockGzip(self._pool, depth), hashlib.sha256()
        try:
            for piece in self._read():
                # Other threads go on compressing meanwhile.
                yield from packed.update(piece)
                if prove:
                    sha256.update(piece)
            yield from packed.finish()
        finally:
            packed.abandon()
        if prove:
            self._checked(f"sha256:{sha256.hexdigest()}")
        self.digest = packed.digest

    def _prove_again(self) -> None:
        """Read the layer again: its plain bytes must match the ``diff_id``, and be those that were sent."""
        sent = self.digest
        for _ in self._packed(prove=True):
            continue
        if self.digest != sent:
            raise IntegrityError(f"{self._where} changed while it was read twice", hint=ALTERED)

    def _read(self) -> Iterator[bytes]:
        content = self._content
        path = f"{self._services.candidates.folder(self._opened.ref)}/{content.archive}"
        # The registry is slower than the share: half of one transfer's read-ahead is enough for all workers.
        ahead = max(_LEAST_AHEAD, AHEAD // 2 // self._services.configuration.promote.workers)
        share = self._services.share
        for piece in share.read(path, offset=content.offset, length=content.size, ahead=ahead):
            check()
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

    def _checked(self, found: str) -> str:
        if found != self._content.digest:
            raise IntegrityError(
                f"{self._where}: expected {self._content.digest}, found {found}", hint=ALTERED
            )
        return found

    @property
    def _where(self) -> str:
        content = self._content
        place = self._services.candidates.shown(self._opened.ref, content.archive)
        return f"{place}: the {content.what} of {content.size} bytes at byte {content.offset}"
