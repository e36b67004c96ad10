"""Writes an archive from what a daemon with containerd's image store pushes, for one platform or several.

Such a daemon knows each blob by the digest of its bytes, as the share does, so a blob of the same digest is
the same blob. Compressed layers are kept as they are; what was pushed is read with the checks that an archive
of ``docker save`` goes through.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

from jenkins_release.base.parallel import map_parallel
from jenkins_release.base.strict_json import strict_json
from jenkins_release.images import ArchivedImage, LocalImage
from jenkins_release.images.archive.blobs import Blob
from jenkins_release.images.archive.oci_layout import INDEX, LAYOUT
from jenkins_release.images.archive.pushed import (
    LAYOUT_DOCUMENT,
    document_blob,
    index_document,
    read_pushed,
)
from jenkins_release.images.gzip_blocks import compression_pool
from jenkins_release.oci.manifests import RawManifest, read_content, read_index
from jenkins_release.oci.platforms import Platform, parse_platform
from jenkins_release.oci.shapes import check_config
from jenkins_release.records.archive_index import ArchivedIndex, ArchivedLayer, Compression
from jenkins_release.share.staging import Staging
from jenkins_release.steps.candidate.archive_composer import ArchiveComposer
from jenkins_release.steps.candidate.archive_proof import prove_composed
from jenkins_release.steps.candidate.attested_layers import attested
from jenkins_release.steps.candidate.content_intake import ContentIntake
from jenkins_release.steps.candidate.known_layers import KnownLayers, Stretch
from jenkins_release.steps.candidate.layer_reuse import NotReusable, ReusingWriter
from jenkins_release.steps.candidate.loopback_names import repository_name
from jenkins_release.steps.candidate.loopback_push import LoopbackPush, NotPushed, loopback_push
from jenkins_release.steps.candidate.pushed_archive import AT_ONCE, PushedArchive, PushLimits
from jenkins_release.steps.context.services import Services


def write_content(
    path: str,
    images: Sequence[LocalImage],
    platforms: Sequence[str],
    known: KnownLayers,
    staging: Staging,
    services: Services,
    limits: PushLimits,
) -> PushedArchive:
    """Write one archive of images that the daemon pushes.

    Args:
        path: Its path below the candidate's folder.
        images: The images.
        platforms: Their platforms, the same for all of them.
        known: Layers on the share that may occur in it.
        staging: The candidate being written.
        services: Share, daemon and progress.
        limits: When to give up.

    Raises:
        NotReusable: A known layer is not what was recorded; the file is not usable.
        NotPushed: The daemon cannot push here, or the limits are reached.
        IntegrityError: The daemon's images are not acceptable, or the share does not hold what was written.
        ConfigurationError: An image is not for the platforms.
        RemoteError: Daemon or share failed.
    """
    wanted = [parse_platform(each) for each in platforms]
    single = len(wanted) == 1
    with ExitStack() as stack:
        pool: ThreadPoolExecutor | None = None
        if single:
            pool = compression_pool(2)
            stack.callback(pool.shutdown, cancel_futures=True)

        def find(digest: str) -> Stretch | None:
            # A plain layer has its diff_id as digest, and is stored with gzip.
            return known.of_digest(digest) or (known.gzip_of(digest) if single else None)

        def held(digest: str) -> int | None:
            found = find(digest)
            return None if found is None else found.size

        intake = ContentIntake(held, pool)
        stack.callback(intake.close)
        with loopback_push(intake, services) as registry:
            tops = _push(images, intake, registry, limits)
        there = _Known(tops, wanted, intake, find)
        there.mark([*attested(list(there.stretches.values()), services)])
        blobs = [*_blobs(intake, there)]
        found = read_pushed(tops, blobs, wanted)
        with services.progress.task(f"export {path}") as task, staging.create(path) as writer:
            task.waits_for(services.share.name)
            reusing = ReusingWriter(writer, services.share)
            composer = ArchiveComposer(reusing, task.advance)

            def put(digest: str) -> str:
                return _put(digest, intake, there.stretches, composer)

            if single:
                found = replace(found, images=_write_single(found.images, put, composer))
            else:
                _write_layout(found.indexes, tops, images, put, composer)
                places = composer.places
                placed = [replace(b, offset=places[b.digest][0]) for b in blobs if b.digest in places]
                found = read_pushed(tops, placed, wanted)
    everything = [*found.images, *(image for index in found.indexes for image in index.images)]
    size, digest = prove_composed(path, everything, reusing.copied, composer, staging, services)
    return PushedArchive(replace(found, size=size, sha256=digest), reusing.copied, reusing.saved)


def _push(
    images: Sequence[LocalImage], intake: ContentIntake, registry: LoopbackPush, limits: PushLimits
) -> dict[str, RawManifest]:
    """Let the daemon push the images; return name to manifest or index."""
    until = time.monotonic() + limits.seconds

    def check() -> None:
        if time.monotonic() >= until:
            raise limits.too_long()

    def push(numbered: tuple[int, LocalImage]) -> RawManifest:
        number, image = numbered
        repository = repository_name(number)
        registry.push(registry.name(image.reference, repository), check, until)
        if repository not in intake.tops:
            raise NotPushed(f"what the daemon pushes as {image.reference} ended without a manifest")
        return intake.tops[repository]

    first, *others = enumerate(images)
    # Alone: what the images share is sent once.
    tops = [push(first), *map_parallel(push, others, workers=AT_ONCE)]
    return {image.reference: top for image, top in zip(images, tops, strict=True)}


class _Known:
    """The layers of the images that were not sent, because the share has them.

    Raises:
        NotReusable: One is recorded as another layer.
    """

    def __init__(
        self,
        tops: Mapping[str, RawManifest],
        wanted: Sequence[Platform],
        intake: ContentIntake,
        find: Callable[[str], Stretch | None],
    ) -> None:
        self._intake = intake
        self._find = find
        self.stretches: dict[str, Stretch] = {}
        """By the digest under which the daemon knows it."""
        self.blobs: list[Blob] = []
        """What an archive would have in their place."""
        for name, top in tops.items():
            for manifest in self._manifests(name, top, wanted):
                self._look(name, manifest)

    def mark(self, stretches: Sequence[Stretch]) -> None:
        """Replace the stretches by what is known of them now."""
        self.stretches = dict(zip(self.stretches, stretches, strict=True))

    def _manifests(self, name: str, top: RawManifest, wanted: Sequence[Platform]) -> Iterator[RawManifest]:
        if not top.is_index:
            yield top
            return
        for entry in read_index(top, name):
            found = self._intake.manifests.get(entry.digest)
            if found is not None and entry.runs and entry.normal in wanted:
                yield found

    def _look(self, name: str, manifest: RawManifest) -> None:
        content = read_content(manifest, name)
        config = self._intake.blobs.get(content.config_digest)
        if config is None or config.blob.document is None:
            raise NotPushed(f"what the daemon pushes as {name} ended without its config")
        diff_ids = check_config(strict_json(config.blob.document, name, maps=True), name)
        for layer, diff_id in zip(content.blobs, diff_ids, strict=False):
            if layer.digest in self._intake.blobs or layer.digest in self.stretches:
                continue
            stretch = self._find(layer.digest)
            if stretch is None:
                continue
            if stretch.diff_id != diff_id:
                raise NotReusable([stretch], f"{stretch.origin} records {stretch.digest} as another layer")
            self.stretches[layer.digest] = stretch
            plain = stretch.digest != layer.digest
            compression: Compression = "none" if plain else stretch.compression
            size = layer.size if plain else stretch.size
            self.blobs.append(Blob("", 0, size, layer.digest, diff_id, compression, "", None))


def _blobs(intake: ContentIntake, there: _Known) -> Iterator[Blob]:
    """Yield everything of which the images consist."""
    for sent in intake.blobs.values():
        yield sent.blob
    for manifest in intake.manifests.values():
        yield document_blob(manifest.data)
    yield from there.blobs


def _put(digest: str, intake: ContentIntake, known: Mapping[str, Stretch], composer: ArchiveComposer) -> str:
    """Write a blob that was pushed or is on the share; return its digest in the archive."""
    if digest in known:
        composer.copy(known[digest])
        return known[digest].digest
    if digest in intake.manifests:
        data = intake.manifests[digest].data
        composer.send(digest, len(data), [data])
        return digest
    sent = intake.blobs[digest]
    composer.send(sent.digest, sent.size, sent.spool.pieces())
    return sent.digest


def _write_single(
    images: Sequence[ArchivedImage], put: Callable[[str], str], composer: ArchiveComposer
) -> tuple[ArchivedImage, ...]:
    """Write the archive that an export by ``docker save`` makes of images for one platform."""
    written = []
    for image in images:
        layers = []
        for layer in image.layers:
            digest = put(layer.digest)
            offset, size = composer.places[digest]
            compression: Compression = "gzip" if layer.compression == "none" else layer.compression
            layers.append(ArchivedLayer(layer.diff_id, digest, offset, size, compression))
        offset, _ = composer.places[put(image.config_digest)]
        written.append(replace(image, config_offset=offset, layers=tuple(layers)))
    composer.finish(written)
    return tuple(written)


def _write_layout(
    indexes: Sequence[ArchivedIndex],
    tops: Mapping[str, RawManifest],
    images: Sequence[LocalImage],
    put: Callable[[str], str],
    composer: ArchiveComposer,
) -> None:
    """Write an OCI layout with all that the indexes list, byte for byte.

    As in Docker's own, ``manifest.json`` lists the images for the daemon's machine.
    """
    machine = {image.reference: image.platform for image in images}
    runnable = []
    for index in indexes:
        for image in index.images:
            for digest in (*(layer.digest for layer in image.layers), image.config_digest):
                put(digest)
            assert image.manifest is not None  # the index lists it
            put(image.manifest.digest)
        for attestation in index.attestations:
            for blob in (*attestation.blobs, attestation.manifest):
                put(blob.digest)
        put(index.index.digest)
        by_platform = {image.platform: image for image in index.images}
        (name,) = index.references
        runs = by_platform.get(machine[name], index.images[0])
        runnable.append(replace(runs, references=index.references))
    composer.document(INDEX, index_document(tops))
    composer.document(LAYOUT, LAYOUT_DOCUMENT)
    composer.finish(runnable)
