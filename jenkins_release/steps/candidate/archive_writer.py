"""Writes one image archive to the share: plain as the daemon sends it, or with gzip layers."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError
from jenkins_release.base.progress import telling_waits
from jenkins_release.base.stream import fan_out
from jenkins_release.images import ArchivedImage, ArchiveIndex, ArchiveReader, LocalImage
from jenkins_release.images.gzip_archive import GzipArchive, SpareLayers
from jenkins_release.images.gzip_digests import GzipDigests
from jenkins_release.records.archive_index import ArchivedIndex
from jenkins_release.records.candidate import (
    BlobRecord,
    CandidateImage,
    ImageRecord,
    ManifestRecord,
    make_manifest,
)
from jenkins_release.share.staging import Staging
from jenkins_release.steps.candidate.attested_layers import attested_layers
from jenkins_release.steps.candidate.export_source import Choice, choose_source
from jenkins_release.steps.candidate.index_record import index_record, layer_records
from jenkins_release.steps.candidate.known_layers import KnownLayers, Stretch
from jenkins_release.steps.candidate.layer_reuse import LayerGuess, ReusingWriter, check_guesses, write_usable
from jenkins_release.steps.candidate.loopback_names import remove_stale_names
from jenkins_release.steps.candidate.loopback_push import NotPushed
from jenkins_release.steps.candidate.pushed_archive import write_pushed
from jenkins_release.steps.candidate.pushed_content import write_content
from jenkins_release.steps.candidate.read_back import read_back
from jenkins_release.steps.candidate.whole_archive import write_whole
from jenkins_release.steps.context.services import Services

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WrittenArchive:
    """An archive on the share.

    Attributes:
        index: What it holds.
        fixed: Whether its layers are in it as a registry stores them.
        gzip: What the plain layers are when compressed, by offset; empty if nobody looked.
        copied: The layers that the server copied, by offset.
        reused: Bytes that were not sent.
        source: How the images left the daemon, ``save`` or ``push``.
        why: Why in that way.
    """

    index: ArchiveIndex
    fixed: bool
    gzip: dict[int, BlobRecord]
    copied: dict[int, Stretch]
    reused: int
    source: str = "save"
    why: str = ""

    def record(self, name: str, local: LocalImage, path: str) -> CandidateImage:
        """Return the record of one image.

        Args:
            name: Its short name.
            local: The daemon's earlier description.
            path: Path of the archive.

        Raises:
            IntegrityError: The archive does not hold it, or holds another image under its name.
        """
        if self.index.indexes:
            return index_record(name, local.reference, path, self._index_of(local))
        found = _in_archive(local.reference, self.index)
        if found.diff_ids != local.diff_ids:
            raise _moved(local, "its layers are not those that the daemon described")
        if local.config_digest and found.config_digest != local.config_digest:
            raise _moved(
                local, f"its config was {local.config_digest}, but the archive has {found.config_digest}"
            )
        ids = self.index.image_ids.get(local.reference, ())
        if not local.config_digest and ids and local.image_id not in (*ids, found.config_digest):
            raise _moved(local, f"it was {local.image_id}, but the archive has {' with '.join(ids)}")
        return ImageRecord(
            name=name,
            reference=local.reference,
            archive=path,
            platform=found.platform,
            config_digest=found.config_digest,
            config_offset=found.config_offset,
            config_size=found.config_size,
            layers=layer_records(found, self.gzip),
            manifest=_manifest(found) if self.fixed else None,
        )

    def _index_of(self, local: LocalImage) -> ArchivedIndex:
        for found in self.index.indexes:
            if local.reference in found.references:
                if local.image_id not in {"", found.index.digest}:
                    raise _moved(local, f"it was {local.image_id}, but the archive has {found.index.digest}")
                return found
        raise _not_there(local.reference, [name for each in self.index.indexes for name in each.references])


def write_archive(
    path: str,
    images: Sequence[LocalImage],
    platforms: Sequence[str],
    known: KnownLayers,
    staging: Staging,
    services: Services,
) -> WrittenArchive:
    """Write one archive of images to the share, hashed and parsed on its way.

    If known layers turn out to be unusable, it is requested from the daemon again. A daemon that does not
    push well saves the images after all.

    Args:
        path: Its path below the candidate's folder.
        images: The images to write.
        platforms: Their platforms, the same for all of them.
        known: Layers on the share that may occur in it.
        staging: The candidate being written.
        services: Configuration and progress.

    Raises:
        IntegrityError: The daemon's archive is not acceptable, or the share does not hold what was
            written.
        RemoteError: Daemon or share failed.
    """
    choice, gave_up = choose_source(images, known, services), False
    _log.info("%s by docker %s: %s", path, "push" if choice.push else "save", choice.why)
    if choice.push:
        try:
            return _by_push(path, images, platforms, known, staging, services, choice)
        except NotPushed as error:
            if services.configuration.export.source == "push":
                raise
            why, gave_up = error.message, True
            _log.info("%s by docker save after all: %s", path, why)
            staging.remove(path)
    else:
        why = choice.why

    def write(known: KnownLayers) -> WrittenArchive:
        try:
            written = _write(path, images, platforms, known, staging, services)
        except SpareLayers as error:
            _log.info("%s is saved again, without layers of other platforms than %s", path, platforms[0])
            staging.remove(path)
            written = _write(path, images, platforms, known, staging, services, spare=error.digests)
        _require_unmoved(images, services)
        read_back(path, written.index, written.copied, staging, services)
        return written

    written = write_usable(path, known, write, staging)
    if gave_up:
        # A daemon that restarted meanwhile still has the names of the push.
        remove_stale_names(services)
    _tell_beginnings(written.index)
    return replace(written, why=why)


def _by_push(
    path: str,
    images: Sequence[LocalImage],
    platforms: Sequence[str],
    known: KnownLayers,
    staging: Staging,
    services: Services,
    choice: Choice,
) -> WrittenArchive:
    needed = {diff_id for image in images for diff_id in image.diff_ids}
    # The classic store tells the digests of configs, and no digest of a layer that could be believed.
    classic = all(image.config_digest for image in images)

    def write(known: KnownLayers) -> WrittenArchive:
        if classic:
            written = write_pushed(
                path, images, attested_layers(known, needed, services), staging, services, choice.limits
            )
        else:
            written = write_content(path, images, platforms, known, staging, services, choice.limits)
        _require_unmoved(images, services)
        return WrittenArchive(written.index, True, {}, written.copied, written.reused, "push", choice.why)

    return write_usable(path, known, write, staging)


def _write(
    path: str,
    images: Sequence[LocalImage],
    platforms: Sequence[str],
    known: KnownLayers,
    staging: Staging,
    services: Services,
    *,
    spare: Collection[str] = (),
) -> WrittenArchive:
    section = services.configuration.export
    saved = services.engine.save([image.reference for image in images])
    if len(platforms) > 1:
        whole = write_whole(path, saved, "the Docker daemon", platforms, known, staging, services)
        return WrittenArchive(whole.index, True, {}, whole.copied, whole.reused)
    (platform,) = platforms
    with staging.create(path) as writer, services.progress.task(f"export {path}") as task:
        stream = telling_waits(
            saved,
            task,
            source="the Docker daemon",
            sink=services.share.name,
            first=f"the Docker daemon to prepare {len(images)} {'image' if len(images) == 1 else 'images'}",
        )
        reusing = ReusingWriter(writer, services.share)

        def write(chunk: bytes) -> None:
            reusing.write(chunk)
            task.advance(len(chunk))

        if section.layers == "gzip":
            index = _compressed(platform, stream, write, known, reusing, spare)
            return WrittenArchive(index, True, {}, reusing.copied, reusing.saved)
        if len(known):
            diff_ids = {diff_id for image in images for diff_id in image.diff_ids}
            guess = LayerGuess(known, diff_ids, services.share, reusing.announce)

            def write_plain(chunk: bytes) -> None:
                guess.feed(chunk)
                write(chunk)
        else:
            write_plain = write
        found = {}
        if section.gzip_digests:
            with GzipDigests() as digests, ArchiveReader(platform, observer=digests) as reader:
                fan_out(stream, [reader.feed, write_plain])
                found = {
                    offset: BlobRecord(digest=digest, size=size)
                    for offset, (digest, size) in digests.found.items()
                }
                index = reader.finish()
        else:
            with ArchiveReader(platform) as reader:
                fan_out(stream, [reader.feed, write_plain])
                index = reader.finish()
        check_guesses(reusing.copied, index)
        return WrittenArchive(index, False, found, reusing.copied, reusing.saved)


def _compressed(
    platform: str,
    stream: Iterable[bytes],
    write: Callable[[bytes], None],
    known: KnownLayers,
    reusing: ReusingWriter,
    spare: Collection[str],
) -> ArchiveIndex:
    def layer(offset: int, digest: str, size: int) -> None:
        if stretch := known.find(digest, size):
            reusing.announce(offset, stretch)

    archive, sha256 = GzipArchive(platform, announce=layer, spare=spare), hashlib.sha256()
    with contextlib.closing(archive.convert(stream)) as chunks:
        size = fan_out(chunks, [sha256.update, write])
    return archive.index(sha256.hexdigest(), size)


def _manifest(image: ArchivedImage) -> ManifestRecord:
    manifest = make_manifest(image)
    return ManifestRecord(media_type=manifest.media_type, digest=manifest.digest, data=manifest.data.decode())


def _require_unmoved(images: Sequence[LocalImage], services: Services) -> None:
    """Ask the daemon again which image each name has.

    If the daemon does not give the config's digest and the archive does not give the daemon's id of an image,
    only this detects another config around the same layers.
    """
    for image in images:
        reference = image.reference
        now = services.retry(f"inspect {reference}", services.engine.inspect, reference)
        if now.image_id != image.image_id:
            raise _moved(image, f"it was {image.image_id}, and now is {now.image_id}")


def _tell_beginnings(index: ArchiveIndex) -> None:
    """Warn about layers that Docker takes for compressed data, once for shared layers."""
    told = set()
    for image in index.images:
        for number, layer in enumerate(image.layers, 1):
            if layer.begins_as and layer.digest not in told:
                told.add(layer.digest)
                _log.warning(
                    "layer %d of %s begins like %s data, by the name of its first file: Docker 23 and "
                    'later cannot load it, unless export.layers is "gzip"',
                    number,
                    ", ".join(image.references) or image.config_digest,
                    layer.begins_as,
                )


def _moved(image: LocalImage, why: str) -> IntegrityError:
    return IntegrityError(
        f"image {image.reference} changed while it was exported: {why}",
        hint="another job tags the same name on this machine: give every build its own tag",
    )


def _in_archive(reference: str, index: ArchiveIndex) -> ArchivedImage:
    for found in index.images:
        if reference in found.references:
            return found
    raise _not_there(reference, [name for found in index.images for name in found.references])


def _not_there(reference: str, names: Sequence[str]) -> IntegrityError:
    return IntegrityError(
        f"the daemon's archive does not hold {reference}; it holds {', '.join(names) or 'none'}",
        hint="a bug in this Docker version (moby #47065, #47210 for 25.0): upgrade the daemon",
    )
