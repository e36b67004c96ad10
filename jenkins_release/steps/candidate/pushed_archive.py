"""Writes an archive from what a daemon pushes: layers that the share has are copied by its server.

The daemon asks by digest for each layer before it reads it (ADR 37). The archive is the one that an export by
``docker save`` makes of gzip layers; at its end, all of it is read back from the share and proven.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.parallel import map_parallel
from jenkins_release.base.strict_json import strict_json
from jenkins_release.images import ArchivedImage, ArchivedLayer, ArchiveIndex, LocalImage
from jenkins_release.images.gzip_blocks import compression_pool
from jenkins_release.oci.manifests import RawManifest, read_content
from jenkins_release.oci.platforms import normalise
from jenkins_release.oci.shapes import check_config
from jenkins_release.share.staging import Staging
from jenkins_release.steps.candidate.archive_composer import ArchiveComposer
from jenkins_release.steps.candidate.archive_proof import prove_composed
from jenkins_release.steps.candidate.known_layers import KnownLayers, Stretch
from jenkins_release.steps.candidate.layer_reuse import ReusingWriter
from jenkins_release.steps.candidate.loopback_names import repository_name
from jenkins_release.steps.candidate.loopback_push import LoopbackPush, NotPushed, loopback_push
from jenkins_release.steps.candidate.push_intake import PushIntake
from jenkins_release.steps.context.services import Services

AT_ONCE = 4
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

    def too_long(self) -> NotPushed:
        """Return the error for a push that takes longer."""
        return NotPushed(f"the daemon has been pushing for more than {self.seconds:.0f} s")


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
        with services.progress.task(f"export {path}") as task, staging.create(path) as writer:
            task.waits_for(services.share.name)
            reusing = ReusingWriter(writer, services.share)
            composer = ArchiveComposer(reusing, task.advance)
            layers = _Layers(composer)
            pushed: list[_Image] = []

            def copy() -> None:
                layers.copy((diff_id for image in images for diff_id in image.diff_ids), known)

            with loopback_push(intake, services) as registry:

                def push() -> None:
                    pushed.extend(_push(images, known, intake, registry, limits))

                map_parallel(_call, (copy, push), workers=2)
            found = layers.compose(pushed, intake)
    size, digest = prove_composed(path, found, reusing.copied, composer, staging, services)
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
            raise limits.too_long()

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
    return [push(first), *map_parallel(push, others, workers=AT_ONCE)]


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


class _Layers:
    """Writes the layers of the images, each found by its ``diff_id``."""

    def __init__(self, composer: ArchiveComposer) -> None:
        self._composer = composer
        self._digests: dict[str, str] = {}

    def copy(self, diff_ids: Iterable[str], known: KnownLayers) -> None:
        """Write those that are known; the server copies them."""
        for diff_id in diff_ids:
            stretch = known.gzip_of(diff_id)
            if stretch is not None and diff_id not in self._digests:
                self._composer.copy(stretch)
                self._digests[diff_id] = stretch.digest

    def compose(self, images: Sequence[_Image], intake: PushIntake) -> tuple[ArchivedImage, ...]:
        """Write what was pushed, the configs and the list of the images."""
        places = self._composer.places
        for diff_id in dict.fromkeys(diff_id for image in images for diff_id in image.diff_ids):
            if diff_id not in self._digests:
                layer = intake.layers[diff_id]
                self._composer.send(layer.digest, layer.size, layer.spool.pieces())
                self._digests[diff_id] = layer.digest
        found = []
        for image in images:
            digest = image.local.config_digest
            self._composer.send(digest, len(image.config), [image.config])
            digests = [self._digests[diff_id] for diff_id in image.diff_ids]
            layers = tuple(
                ArchivedLayer(diff_id, each, places[each][0], places[each][1], "gzip")
                for diff_id, each in zip(image.diff_ids, digests, strict=True)
            )
            names = (image.local.reference,)
            found.append(
                ArchivedImage(names, digest, *places[digest], image.platform, image.diff_ids, layers)
            )
        self._composer.finish(found)
        return tuple(found)


def _moved(image: LocalImage, why: str) -> IntegrityError:
    return IntegrityError(
        f"image {image.reference} changed while it was exported: {why}",
        hint="another job tags the same name on this machine: give every build its own tag",
    )
