"""Reads back an archive whose known layers the server copied, and proves each layer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.stream import fan_out
from jenkins_release.images import ArchivedImage, ArchivedLayer
from jenkins_release.images.archive.blobs import BlobHasher
from jenkins_release.images.archive.limits import ArchiveLimits
from jenkins_release.share.staging import Staging
from jenkins_release.steps.candidate.archive_composer import ArchiveComposer
from jenkins_release.steps.candidate.known_layers import Stretch
from jenkins_release.steps.candidate.layer_reuse import NotReusable
from jenkins_release.steps.context.services import Services


def prove_composed(
    path: str,
    images: Sequence[ArchivedImage],
    copied: Mapping[int, Stretch],
    composer: ArchiveComposer,
    staging: Staging,
    services: Services,
) -> tuple[int, str]:
    """Read the archive back, and prove each layer; return its size and SHA-256."""
    layers = {layer.offset: layer for image in images for layer in image.layers}
    # Whoever signs candidate.json says that the layers are what the configs say. What no build attested on
    # the share is decompressed, as everything is when an archive comes from the daemon.
    unproven = {offset for offset, stretch in copied.items() if not stretch.proven}
    hasher, whole, expected = _LayerHasher(layers, copied, unproven), sha256(), composer.end
    with services.progress.task(f"read back {path}", expected) as task:
        task.waits_for(services.share.name)

        def count(piece: bytes) -> None:
            whole.update(piece)
            task.advance(len(piece))

        size = fan_out(services.share.read(staging.path(path)), [count, hasher.update])
    wrong = hasher.wrong()
    if damaged := [copied[offset] for offset in wrong if offset in copied]:
        raise NotReusable(
            damaged, f"{damaged[0].path} is damaged: check {damaged[0].origin} with 'candidate verify'"
        )
    if wrong or size != expected or hasher.sent.digest() != composer.sent.digest():
        raise IntegrityError(
            f"{services.share.name}: {path} was written with {expected} bytes, but {size} other ones are "
            "read back",
            hint="the share does not return what was written: have its disk checked; nothing was exported",
        )
    return size, whole.hexdigest()


class _LayerHasher:
    """Hashes each layer of an archive while all of it passes."""

    def __init__(
        self, layers: Mapping[int, ArchivedLayer], copied: Collection[int], unproven: Collection[int]
    ) -> None:
        self._left = [layers[offset] for offset in sorted(layers)]
        self._copied = copied
        self.sent = sha256()
        """Of the bytes of which no copied layer consists."""
        self._unproven = unproven
        self._at = 0
        self._stored = sha256()
        self._plain: BlobHasher | None = None
        self._wrong: list[int] = []

    def update(self, piece: bytes) -> None:
        """Take the next bytes of the archive."""
        view = memoryview(piece)
        while view:
            if not self._left:
                self.sent.update(view)
                return
            layer = self._left[0]
            if self._at < layer.offset:
                skipped = min(layer.offset - self._at, len(view))
                self._at += skipped
                self.sent.update(view[:skipped])
                view = view[skipped:]
                continue
            if self._at == layer.offset:
                self._stored = sha256()
                self._plain = (
                    BlobHasher(ArchiveLimits(), keep=False) if layer.offset in self._unproven else None
                )
            taken = view[: layer.offset + layer.size - self._at]
            self._stored.update(taken)
            if layer.offset not in self._copied:
                self.sent.update(taken)
            if self._plain is not None:
                self._plain.update(taken)
            self._at += len(taken)
            view = view[len(taken) :]
            if self._at == layer.offset + layer.size:
                self._end(layer)

    def wrong(self) -> list[int]:
        """Return the offsets of the layers that are not what they should be."""
        return [*self._wrong, *(layer.offset for layer in self._left)]

    def _end(self, layer: ArchivedLayer) -> None:
        self._left.pop(0)
        right = f"sha256:{self._stored.hexdigest()}" == layer.digest
        if right and self._plain is not None:
            right = self._plain.finish(layer.digest, layer.offset, layer.size).diff_id == layer.diff_id
        if not right:
            self._wrong.append(layer.offset)
