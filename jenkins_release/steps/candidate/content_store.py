"""Reads blobs of images from the share and proves them: for export, load, ``candidate serve`` and promotion.

A blob is a part of an archive of which ``candidate.json`` recorded place and digest: a config, a layer, a
manifest, or what an attestation consists of. It is read without the rest of the archive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from hashlib import sha256

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.stream import at_most
from jenkins_release.base.waits import check
from jenkins_release.records.candidate import CandidateImage, MultiPlatformRecord, PlatformRecord, StoredBlob
from jenkins_release.share.protocol import AHEAD, Share
from jenkins_release.share.staging import shown_path

ALTERED = "the archive was altered after the export: do not use this candidate, and export the build again"


@dataclass(frozen=True)
class ShareBlob:
    """A blob, and where it is.

    Attributes:
        digest: Digest of its bytes, as ``candidate.json`` recorded it.
        size: Their number.
        path: The file, below the folder of the store.
        offset: Their offset in it.
        what: What it is, for messages.
    """

    digest: str
    size: int
    path: str
    offset: int
    what: str = field(default="layer", kw_only=True)


def image_blobs(image: CandidateImage) -> Iterator[ShareBlob]:
    """Yield everything that a registry must hold before it takes the manifests of an image."""
    for part in image.parts:
        yield from platform_blobs(image, part)
    if isinstance(image, MultiPlatformRecord):
        for attestation in image.attestations:
            for blob in attestation.blobs:
                yield _blob_of(image, blob.digest, blob.size, blob.offset, "attestation")


def platform_blobs(image: CandidateImage, part: PlatformRecord) -> Iterator[ShareBlob]:
    """Yield the config and the layers of an image for one platform."""
    yield config_blob(image, part)
    for layer in part.layers:
        yield _blob_of(image, layer.digest, layer.size, layer.offset, "layer")


def config_blob(image: CandidateImage, part: PlatformRecord) -> ShareBlob:
    """Return the config of an image for one platform."""
    return _blob_of(image, part.config_digest, part.config_size, part.config_offset, "config")


def manifest_blob(image: CandidateImage, manifest: StoredBlob) -> ShareBlob:
    """Return a manifest or the index of an image."""
    return _blob_of(image, manifest.digest, manifest.size, manifest.offset, "manifest")


def _blob_of(image: CandidateImage, digest: str, size: int, offset: int, what: str) -> ShareBlob:
    return ShareBlob(digest, size, image.archive, offset, what=f"{what} of image {image.name}")


class ContentStore:
    """The blobs in the archives below a folder; safe to share between threads.

    Args:
        share: Where they are.
        folder: Below which folder of the share; its root by default.
    """

    def __init__(self, share: Share, folder: str = "") -> None:
        self._share = share
        self._folder = folder

    def read(
        self, blob: ShareBlob, first: int = 0, last: int | None = None, *, ahead: int = AHEAD
    ) -> Iterator[bytes]:
        """Yield bytes of a blob, the last of them only when the whole blob is what its digest says.

        Args:
            blob: The blob; all of it is read.
            first: Number of the first byte.
            last: Number of the last one; that of the blob by default.
            ahead: As for :meth:`~jenkins_release.share.protocol.Share.read`.

        Yields:
            Pieces of at most 1 MiB.

        Raises:
            IntegrityError: It is something else.
            RemoteError: The share failed.
        """
        last = blob.size - 1 if last is None else last
        hasher, at, held = sha256(), 0, b""
        for piece in self.unproven(blob, ahead=ahead):
            hasher.update(piece)
            begin, end = max(first - at, 0), min(last + 1 - at, len(piece))
            at += len(piece)
            if begin < end:
                held = piece if end - begin == len(piece) else piece[begin:end]
                if at <= last:
                    yield held
                    held = b""
        found = f"sha256:{hasher.hexdigest()}"
        if (at, found) != (blob.size, blob.digest):
            expected = f"{blob.digest} of {blob.size} bytes"
            raise IntegrityError(
                f"{self.shown(blob)}: expected {expected}, found {found} of {at} bytes", hint=ALTERED
            )
        if held:
            yield held

    def unproven(self, blob: ShareBlob, length: int | None = None, *, ahead: int = AHEAD) -> Iterator[bytes]:
        """Yield a blob's bytes, for a caller that proves them by itself.

        Args:
            blob: The blob.
            length: How many of its first bytes; all by default.
            ahead: As for :meth:`read`.

        Yields:
            At most one piece more than that.

        Raises:
            IntegrityError: The file ends before.
            RemoteError: The share failed.
        """
        length = blob.size if length is None else length
        pieces = self._share.read(self._path(blob), offset=blob.offset, length=length, ahead=ahead)
        for piece in at_most(pieces, length):
            check()
            yield piece

    def fetch(self, blob: ShareBlob) -> bytes:
        """Return all bytes of a small blob; errors as for :meth:`read`."""
        return b"".join(self.read(blob))

    def intact(self, blob: ShareBlob) -> bool:
        """Whether the whole blob is what its digest says. Raises RemoteError."""
        try:
            for _ in self.read(blob):
                continue
        except IntegrityError:
            return False
        return True

    def shown(self, blob: ShareBlob) -> str:
        """Return a blob and its place, for messages."""
        return f"{shown_path(self._share, self._path(blob))}: the {blob.what} at byte {blob.offset}"

    def _path(self, blob: ShareBlob) -> str:
        return f"{self._folder}/{blob.path}" if self._folder else blob.path
