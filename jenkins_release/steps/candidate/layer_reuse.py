"""Writes an archive whose known layers the server copies, so that only new bytes cross the wire.

Every byte of the archive passes here and is hashed; those of a known layer are then not sent, and the server
copies them from where they are. So the hash says what must be on the share, whoever wrote it there.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

from jenkins_release.base.errors import ReleaseError
from jenkins_release.images.archive.catalog import BLOB_FOLDER
from jenkins_release.images.archive.limits import ArchiveLimits
from jenkins_release.images.archive.tar import Kind, TarMember, TarStream
from jenkins_release.records.archive_index import ArchiveIndex
from jenkins_release.share.protocol import Share, ShareFull, Writer
from jenkins_release.share.staging import Staging
from jenkins_release.steps.candidate.content_store import ContentStore
from jenkins_release.steps.candidate.known_layers import LEAST, KnownLayers, Stretch

_log = logging.getLogger(__name__)
_Written = TypeVar("_Written")
_HEAD = 64 << 10
"""Bytes at the beginning of a layer that are compared; no known layer is smaller."""


class NotReusable(Exception):
    """Known layers turned out to be different, or cannot be copied.

    Attributes:
        stretches: Which.
        why: What happened, for the log.
    """

    def __init__(self, stretches: Iterable[Stretch], why: str) -> None:
        super().__init__(why)
        self.stretches = tuple(stretches)
        self.why = why


class ReusingWriter:
    """Appends chunks to a file, except for the stretches that were announced: those are copied.

    Args:
        writer: The file being written, of ``share``.
        share: Where the stretches are.

    Attributes:
        copied: Where a stretch begins in the file, to the stretch that was copied there.
        saved: Bytes that were not sent.
    """

    def __init__(self, writer: Writer, share: Share) -> None:
        self._writer = writer
        self._share = share
        self._announced: deque[tuple[int, int, Stretch]] = deque()
        self._at = 0
        self._skip = 0
        self._offered = True
        self.copied: dict[int, Stretch] = {}
        self.saved = 0

    def announce(self, offset: int, stretch: Stretch, known: int = 0) -> None:
        """Announce that the bytes from ``offset`` on will be those of a stretch.

        Offsets increase. Must be called before those bytes are written, by any one thread.

        Args:
            offset: Where the stretch begins in the file.
            stretch: The stretch.
            known: How many of its first bytes were written already; the rest can be copied.
        """
        self._announced.append((offset + known, known, stretch))

    def write(self, chunk: bytes) -> None:
        """Append a chunk.

        Raises:
            NotReusable: A stretch cannot be copied; the file is no longer usable.
            RemoteError: The share failed.
        """
        view = memoryview(chunk)
        while view:
            taken = min(len(view), self._skip or self._free(len(view)))
            if self._skip:
                self._skip -= taken
            elif taken:
                self._writer.write(view[:taken])
            self._at += taken
            view = view[taken:]

    def copy(self, stretch: Stretch) -> None:
        """Append a stretch without its bytes: the server copies them, or else they are read and sent.

        Raises:
            NotReusable: It cannot be read; the file is no longer usable.
            RemoteError: The share failed.
        """
        if stretch.size < LEAST or not self._copy(stretch, 0):
            try:
                for piece in ContentStore(self._share).unproven(stretch):
                    self._writer.write(piece)
            except ReleaseError as error:
                if error.retryable or isinstance(error, ShareFull):
                    raise
                raise NotReusable([stretch], error.message) from error
        else:
            self.saved += stretch.size
        self.copied[self._at] = stretch
        self._at += stretch.size

    def _free(self, length: int) -> int:
        """Return how many bytes come before the next announced stretch; copy it if it begins here."""
        if not self._announced:
            return length
        begin, known, stretch = self._announced[0]
        if begin > self._at:
            return min(length, begin - self._at)
        self._announced.popleft()
        if self._copy(stretch, known):
            self._skip = stretch.size - known
            self.saved += self._skip
            self.copied[begin - known] = stretch
        return 0

    def _copy(self, stretch: Stretch, known: int) -> bool:
        if not self._offered:
            return False
        try:
            self._offered = self._share.copy_into(
                self._writer, stretch.path, offset=stretch.offset + known, length=stretch.size - known
            )
        except ReleaseError as error:
            if error.retryable or isinstance(error, ShareFull):
                raise
            raise NotReusable([stretch], error.message) from error
        return self._offered


class LayerGuess:
    """Follows a plain archive and announces each known layer before its bytes are written.

    In the OCI layout, a layer's name is its digest. In the older one, the name says nothing: the only
    expected layer of the same size with the same first bytes is taken for it. Only the end shows whether that
    was right, see :func:`check_guesses`.

    Args:
        known: Layers that may occur.
        diff_ids: The uncompressed layers that will occur.
        share: The share with the known layers, to compare their beginnings.
        announce: Called with the layer's offset, the stretch, and how many of its bytes were already written.
    """

    def __init__(
        self,
        known: KnownLayers,
        diff_ids: Collection[str],
        share: Share,
        announce: Callable[[int, Stretch, int], None],
    ) -> None:
        self._known = known
        self._expected = known.among(diff_ids)
        self._share = share
        self._announce = announce
        self._heads: dict[str, bytes] = {}
        self._member: TarMember | None = None
        self._seen = bytearray()
        self._tar = TarStream(self, ArchiveLimits())

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes of the archive, before they are written."""
        self._tar.feed(memoryview(chunk))

    def begin(self, member: TarMember) -> None:
        """A member begins."""
        self._member = member if member.kind is Kind.FILE and member.size >= LEAST else None
        self._seen = bytearray()

    def data(self, piece: memoryview) -> None:
        """Decide as soon as there is enough to compare; what was seen before is already written."""
        member = self._member
        if member is None:
            return
        written = len(self._seen)
        stretch = self._named(member)
        if stretch is None:
            self._seen += piece[: _HEAD - written]
            if len(self._seen) < _HEAD:
                return
            stretch = self._alike(member)
        self._member = None
        if stretch is not None:
            self._announce(member.offset, stretch, written)

    def end(self) -> None:
        """A member is complete."""
        self._member = None

    def _named(self, member: TarMember) -> Stretch | None:
        folder, _, name = member.name.rpartition("/")
        if f"{folder}/" != BLOB_FOLDER:
            return None
        return self._known.find(f"sha256:{name}", member.size)

    def _alike(self, member: TarMember) -> Stretch | None:
        if member.name.startswith(BLOB_FOLDER):
            return None
        alike = [s for s in self._expected.of_size(member.size) if self._head(s) == self._seen]
        return alike[0] if len(alike) == 1 else None

    def _head(self, stretch: Stretch) -> bytes:
        if stretch.digest not in self._heads:
            try:
                found = b"".join(ContentStore(self._share).unproven(stretch, _HEAD))
            except ReleaseError as error:
                if error.retryable:
                    raise
                raise NotReusable([stretch], error.message) from error
            self._heads[stretch.digest] = found
        return self._heads[stretch.digest]


def check_guesses(copied: dict[int, Stretch], index: ArchiveIndex) -> None:
    """Check that each copied layer is the one that the archive has in its place.

    Raises:
        NotReusable: Another one was copied.
    """
    images = [*index.images, *(image for each in index.indexes for image in each.images)]
    digests = {layer.offset: layer.digest for image in images for layer in image.layers}
    wrong = [stretch for offset, stretch in copied.items() if digests.get(offset) != stretch.digest]
    if wrong:
        raise NotReusable(wrong, "another layer has the same size and beginning")


def write_usable(
    path: str, known: KnownLayers, write: Callable[[KnownLayers], _Written], staging: Staging
) -> _Written:
    """Write an archive; again, without them, as long as known layers turn out not to be usable.

    Args:
        path: Its path below the candidate's folder.
        known: Layers on the share that may occur in it.
        write: Writes it with the help of known layers, and checks it.
        staging: The candidate being written.
    """
    while True:
        try:
            return write(known)
        except NotReusable as error:
            origins = ", ".join(sorted({stretch.origin for stretch in error.stretches}))
            _log.warning("layers of %s are not re-used, %s is written again: %s", origins, path, error.why)
            known = known.without(error.stretches)
            staging.remove(path)
