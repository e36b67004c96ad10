"""Writes an archive from what a daemon pushes: layers that the share has are copied by its server.

The daemon asks by digest for each layer before it reads it (ADR 37). The archive is the one that an export by
``docker save`` makes of gzip layers; at its end, all of it is read back from the share and proven.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256

from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.parallel import map_parallel
from jenkins_release.base.stream import fan_out
from jenkins_release.base.strict_json import strict_json
from jenkins_release.images import ArchivedImage, ArchivedLayer, ArchiveIndex, LocalImage
from jenkins_release.images.archive.blobs import BlobHasher
from jenkins_release.images.archive.limits import ArchiveLimits
from jenkins_release.images.docker_archive import BLOCK, END, blob_path, file_header, image_entry, image_list
from jenkins_release.images.gzip_blocks import compression_pool
from jenkins_release.oci.manifests import RawManifest, read_content
from jenkins_release.oci.platforms import normalise
from jenkins_release.oci.shapes import check_config
from jenkins_release.share.staging import Staging
from jenkins_release.steps.candidate.known_layers import KnownLayers, Stretch
from jenkins_release.steps.candidate.layer_reuse import NotReusable, ReusingWriter
from jenkins_release.steps.candidate.loopback_names import repository_name
from jenkins_release.steps.candidate.loopback_push import LoopbackPush, NotPushed, loopback_push
from jenkins_release.steps.candidate.push_intake import PushIntake, TakenLayer
from jenkins_release.steps.context.services import Services

_CHUNK = 1 << 20
_AT_ONCE = 4
"""Images that are pushed at a time."""


@dataclass(frozen=True)
class PushLimits:
    """When a push is given up.

    Attributes:
        layers: Layers that the daemon may send, and no more; None for any number.
        seconds: Longest time; by default, any.
    """

    layers: int | None = None
    seconds: float = math.inf


@dataclass(frozen=True)
class PushedArchive:
    """An archive on the share.

    Attributes:
        index: What it holds.
        copied: The layers that were on the share before, by offset.
        reused: Bytes that were not sent.
    """

    index: ArchiveIndex
    copied: dict[int, Stretch]
    reused: int


@dataclass(frozen=True)
class _Image:
    local: LocalImage
    platform: str
    config: bytes
    diff_ids: tuple[str, ...]


def write_pushed(
    path: str,
    images: Sequence[LocalImage],
    known: KnownLayers,
    staging: Staging,
    services: Services,
    limits: PushLimits,
) -> PushedArchive:
    """Write one archive of images that the daemon pushes.

    Args:
        path: Its path below the candidate's folder.
        images: The images, each with the digest of its config.
        known: Layers on the share that may occur in it.
        staging: The candidate being written.
        services: Share, daemon and progress.
        limits: When to give up.

    Raises:
        NotReusable: A known layer is not what was recorded; the file is not usable.
        NotPushed: The daemon cannot push here, or the limits are reached.
        IntegrityError: The daemon's images are not what it described, or the share does not hold what was
            written.
        RemoteError: Daemon or share failed.
    """
    with ExitStack() as stack:
        pool = compression_pool(2)
        stack.callback(pool.shutdown, cancel_futures=True)
        intake = PushIntake([image.config_digest for image in images], pool)
        stack.callback(intake.close)
        registry = stack.enter_context(loopback_push(intake, services))
        with services.progress.task(f"export {path}") as task, staging.create(path) as writer:
            task.waits_for(services.share.name)
            reusing = ReusingWriter(writer, services.share)
            composer = _Composer(reusing, task.advance)
            pushed: list[_Image] = []

            def copy() -> None:
                composer.copy((diff_id for image in images for diff_id in image.diff_ids), known)

            def push() -> None:
                pushed.extend(_push(images, known, intake, registry, limits))

            map_parallel(_call, (copy, push), workers=2)
            found = composer.compose(pushed, intake)
    size, digest = _prove(path, found, reusing.copied, composer, staging, services)
    return PushedArchive(ArchiveIndex(size, digest, found), reusing.copied, reusing.saved)


def _call(action: Callable[[], None]) -> None:
    action()


def _push(
    images: Sequence[LocalImage],
    known: KnownLayers,
    intake: PushIntake,
    registry: LoopbackPush,
    limits: PushLimits,
) -> list[_Image]:
    until = time.monotonic() + limits.seconds

    def check() -> None:
        if limits.layers is not None and intake.begun > limits.layers:
            raise NotPushed("the daemon has never pushed or pulled some of the layers that the share has")
        if time.monotonic() >= until:
            raise NotPushed(f"the daemon has been pushing for more than {limits.seconds:.0f} s")

    def push(numbered: tuple[int, LocalImage]) -> _Image:
        number, image = numbered
        repository = repository_name(number)
        target = registry.name(image.reference, repository)
        for _ in range(2):
            registry.push(target, check, until)
            pushed, missing = _look(image, intake.manifests.get(repository), known, intake)
            if not missing:
                return pushed
            # The daemon knows a layer by a digest that the share has not: it has to send it.
            intake.require(missing)
        raise IntegrityError(
            f"the daemon does not send {len(missing)} layers of {image.reference}",
            hint='set export.source to "save"',
        )

    first, *others = enumerate(images)
    # Alone: afterwards, the daemon knows the layers that the others share with it.
    return [push(first), *map_parallel(push, others, workers=_AT_ONCE)]


def _look(
    image: LocalImage, manifest: RawManifest | None, known: KnownLayers, intake: PushIntake
) -> tuple[_Image, set[str]]:
    """Look at what was pushed: whose config it has, and which of its blobs nobody has."""
    what = f"what the daemon pushes as {image.reference}"
    if manifest is None:
        raise NotPushed(f"{what} ended without a manifest")
    content = read_content(manifest, what)
    if content.config.digest != image.config_digest:
        raise _moved(image, f"its config was {image.config_digest}, but {content.config.digest} is pushed")
    config = intake.document(content.config.digest)
    if config is None:
        raise NotPushed(f"{what} ended without its config")
    document = strict_json(config, what, maps=True)
    diff_ids = tuple(check_config(document, what))
    if diff_ids != image.diff_ids or len(diff_ids) != len(content.blobs):
        raise _moved(image, "its layers are not those that the daemon described")
    missing = set()
    for blob, diff_id in zip(content.blobs, diff_ids, strict=True):
        sent = intake.diff_id(blob.digest)
        if sent and sent != diff_id:
            raise IntegrityError(
                f"{what} has the layer {blob.digest}, which is {sent}, expected {diff_id}",
                hint="do not release it: find out what answers as the Docker daemon",
            )
        if diff_id not in intake.layers and known.gzip_of(diff_id) is None:
            missing.add(blob.digest)
    platform = normalise(
        str(document.get("os") or ""),
        str(document.get("architecture") or ""),
        str(document.get("variant") or ""),
    )
    return _Image(image, str(platform), config, diff_ids), missing


class _Composer:
    """Writes layers, configs and ``manifest.json`` as the files of an archive."""

    def __init__(self, writer: ReusingWriter, advance: Callable[[int], None]) -> None:
        self._writer = writer
        self._advance = advance
        self._written: dict[str, tuple[int, int]] = {}
        self._layers: dict[str, str] = {}
        self.end = 0
        self.sent = sha256()
        """Of the bytes that no known layer has."""

    def copy(self, diff_ids: Iterable[str], known: KnownLayers) -> None:
        """Write those layers that are known; the server copies them."""
        for diff_id in diff_ids:
            stretch = known.gzip_of(diff_id)
            if stretch is None or diff_id in self._layers:
                continue
            if stretch.digest not in self._written:
                self._begin(stretch.digest, stretch.size)
                self._writer.copy(stretch)
                self.end += stretch.size
                self._advance(stretch.size)
                self._pad()
            self._layers[diff_id] = stretch.digest

    def compose(self, images: Sequence[_Image], intake: PushIntake) -> tuple[ArchivedImage, ...]:
        """Write what was pushed, the configs and the list of the images."""
        for diff_id in dict.fromkeys(diff_id for image in images for diff_id in image.diff_ids):
            if diff_id not in self._layers:
                self._send(intake.layers[diff_id])
        found, entries = [], []
        for image in images:
            digest = image.local.config_digest
            if digest not in self._written:
                self._begin(digest, len(image.config))
                self._write(image.config)
                self._pad()
            digests = [self._layers[diff_id] for diff_id in image.diff_ids]
            entries.append(image_entry(digest, [image.local.reference], digests))
            layers = tuple(
                ArchivedLayer(diff_id, each, *self._written[each], "gzip")
                for diff_id, each in zip(image.diff_ids, digests, strict=True)
            )
            found.append(
                ArchivedImage(
                    (image.local.reference,),
                    digest,
                    *self._written[digest],
                    image.platform,
                    image.diff_ids,
                    layers,
                )
            )
        self._write(image_list(entries))
        self._pad()
        self._write(END)
        return tuple(found)

    def _send(self, layer: TakenLayer) -> None:
        if layer.digest not in self._written:
            self._begin(layer.digest, layer.size)
            layer.spool.seek(0)
            while chunk := layer.spool.read(_CHUNK):
                self._write(chunk)
            self._pad()
        self._layers[layer.diff_id] = layer.digest

    def _begin(self, digest: str, size: int) -> None:
        self._write(file_header(blob_path(digest), size))
        self._written[digest] = (self.end, size)

    def _pad(self) -> None:
        self._write(bytes(-self.end % BLOCK))

    def _write(self, data: bytes) -> None:
        self._writer.write(data)
        self.sent.update(data)
        self.end += len(data)
        self._advance(len(data))


def _prove(
    path: str,
    images: Sequence[ArchivedImage],
    copied: Mapping[int, Stretch],
    composer: _Composer,
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


def _moved(image: LocalImage, why: str) -> IntegrityError:
    return IntegrityError(
        f"image {image.reference} changed while it was exported: {why}",
        hint="another job tags the same name on this machine: give every build its own tag",
    )
