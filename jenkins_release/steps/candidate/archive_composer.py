"""Writes an archive blob by blob, in any order: those that the share has are copied by its server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from jenkins_release.images import ArchivedImage
from jenkins_release.images.docker_archive import BLOCK, END, blob_path, file_header, image_entry, image_list
from jenkins_release.steps.candidate.known_layers import Stretch
from jenkins_release.steps.candidate.layer_reuse import ReusingWriter


class ArchiveComposer:
    """Writes the files of an archive. Each blob is written once.

    Args:
        writer: The archive.
        advance: Called with the bytes of each piece.

    Attributes:
        places: Digest of each blob to its offset in the archive, and its bytes.
        end: Bytes of the archive so far.
        sent: Hash of the bytes that were not copied.
    """

    def __init__(self, writer: ReusingWriter, advance: Callable[[int], None]) -> None:
        self._writer = writer
        self._advance = advance
        self.places: dict[str, tuple[int, int]] = {}
        self.end = 0
        self.sent = sha256()

    def copy(self, stretch: Stretch) -> None:
        """Write a layer that the share has. Raises NotReusable, RemoteError."""
        if stretch.digest in self.places:
            return
        self._begin(stretch.digest, stretch.size)
        self._writer.copy(stretch)
        self.end += stretch.size
        self._advance(stretch.size)
        self._pad()

    def send(self, digest: str, size: int, pieces: Iterable[bytes]) -> None:
        """Write a blob that is here. Raises RemoteError."""
        if digest in self.places:
            return
        self._begin(digest, size)
        for piece in pieces:
            self._write(piece)
        self._pad()

    def document(self, name: str, data: bytes) -> None:
        """Write a file that is no blob."""
        self._write(file_header(name, len(data)))
        self._write(data)
        self._pad()

    def finish(self, images: Sequence[ArchivedImage]) -> None:
        """Write ``manifest.json``, without which ``docker load`` takes no archive, and the end.

        Args:
            images: What it lists.
        """
        entries = [
            image_entry(image.config_digest, image.references, [layer.digest for layer in image.layers])
            for image in images
        ]
        self._write(image_list(entries))
        self._pad()
        self._write(END)

    def _begin(self, digest: str, size: int) -> None:
        self._write(file_header(blob_path(digest), size))
        self.places[digest] = (self.end, size)

    def _pad(self) -> None:
        self._write(bytes(-self.end % BLOCK))

    def _write(self, data: bytes) -> None:
        self._writer.write(data)
        self.sent.update(data)
        self.end += len(data)
        self._advance(len(data))
