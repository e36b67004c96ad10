"""An image that the build wrote to an archive: found in its output, and written to the share as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.tags import fill
from jenkins_release.base.versions import ReleaseVersion
from jenkins_release.config.model import ImageSection
from jenkins_release.images import LocalImage
from jenkins_release.installers import LocalFile, find_files
from jenkins_release.records.archive_index import ArchivedImage, ArchivedIndex, ArchiveIndex
from jenkins_release.records.candidate import CandidateImage, ImageRecord, ManifestRecord
from jenkins_release.share.staging import Staging
from jenkins_release.steps.candidate.index_record import index_record, layer_records
from jenkins_release.steps.candidate.known_layers import KnownLayers
from jenkins_release.steps.candidate.layer_reuse import write_usable
from jenkins_release.steps.candidate.read_back import read_back
from jenkins_release.steps.candidate.whole_archive import WholeArchive, write_whole
from jenkins_release.steps.context.services import Services


@dataclass(frozen=True)
class BuiltArchive:
    """An archive in the build's output.

    Attributes:
        local: The file.
        image: Its image, as far as the configuration tells.
        platforms: The platforms that it has to have.
    """

    local: LocalFile
    image: LocalImage
    platforms: tuple[str, ...]


def find_archive(
    section: ImageSection,
    reference: str,
    folder: Path,
    version: ReleaseVersion,
    build: str,
    services: Services,
) -> BuiltArchive:
    """Find the archive of an image.

    Args:
        section: The image, with ``archive``.
        reference: Its name and tag.
        folder: The build's output.
        version: The version.
        build: Build number.
        services: Configuration.

    Raises:
        ConfigurationError: The pattern does not match exactly one file.
    """
    pattern = fill(section.archive, version, build)
    found = find_files(folder, pattern)
    if len(found) != 1:
        files = f"{len(found)} files: {', '.join(path.name for path in found[:3])}" if found else "no file"
        raise ConfigurationError(
            f"image {section.name}: the archive {pattern} matches {files} in {folder}",
            hint="write it in the build: docker buildx build --output type=oci,dest=FILE",
        )
    local = LocalFile.at(found[0])
    platforms = services.configuration.platforms_of(section)
    return BuiltArchive(local, LocalImage(reference, ", ".join(platforms), local.size, ()), platforms)


def write_built(
    path: str, name: str, built: BuiltArchive, known: KnownLayers, staging: Staging, services: Services
) -> tuple[WholeArchive, CandidateImage]:
    """Write an archive to the share, and return the record of its image.

    Args:
        path: Its path below the candidate's folder.
        name: Short name of the image.
        built: The archive.
        known: Layers on the share that may occur in it.
        staging: The candidate being written.
        services: Configuration and progress.

    Raises:
        IntegrityError: The archive is not acceptable, does not hold exactly this image, or was changed
            meanwhile; or the share does not hold what was written.
        ConfigurationError: The image is not for exactly the configured platforms.
        RemoteError: The share failed.
    """
    file = str(built.local.path)

    def write(known: KnownLayers) -> tuple[WholeArchive, CandidateImage]:
        with _named(file):
            written = write_whole(path, built.local.pieces(), file, built.platforms, known, staging, services)
        record = _record(name, path, built, written)
        read_back(path, written.index, written.copied, staging, services)
        return written, record

    return write_usable(path, known, write, staging)


@contextmanager
def _named(file: str) -> Iterator[None]:
    """Put the archive's name before what is wrong with it."""
    try:
        yield
    except (IntegrityError, ConfigurationError) as error:
        if file not in error.message:
            error.message = f"{file}: {error.message}"
        raise


def _record(name: str, path: str, built: BuiltArchive, written: WholeArchive) -> CandidateImage:
    reference = built.image.reference
    found = _only_image(written.index, reference, built.local.path)
    if isinstance(found, ArchivedIndex):
        return index_record(name, reference, path, found)
    manifest = found.manifest
    return ImageRecord(
        name=name,
        reference=reference,
        archive=path,
        platform=found.platform,
        config_digest=found.config_digest,
        config_offset=found.config_offset,
        config_size=found.config_size,
        layers=layer_records(found, {}),
        manifest=ManifestRecord(
            media_type=manifest.media_type,
            digest=manifest.digest,
            data=written.manifests[manifest.digest],
            offset=manifest.offset,
        )
        if manifest is not None
        else None,
        layout="oci" if manifest is not None else None,
    )


def _only_image(index: ArchiveIndex, reference: str, file: Path) -> ArchivedImage | ArchivedIndex:
    found: list[ArchivedImage | ArchivedIndex] = [*index.images, *index.indexes]
    names = [name for image in found for name in image.references]
    if len(found) != 1:
        raise IntegrityError(
            f"{file} holds {len(found)} images, expected one: {', '.join(names) or 'none has a name'}",
            hint="write each image, with all its platforms, to an archive of its own",
        )
    if names and reference not in names:
        raise IntegrityError(
            f"{file} holds {', '.join(names)}, expected {reference}",
            hint="build it under the name that images.source gives it, or without a name",
        )
    return found[0]
