"""Writes an archive to the share as it is, with everything that belongs to its images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.progress import telling_waits
from jenkins_release.base.stream import fan_out
from jenkins_release.images import ArchiveIndex, ArchiveReader
from jenkins_release.share.staging import Staging
from jenkins_release.steps.candidate.known_layers import KnownLayers, Stretch
from jenkins_release.steps.candidate.layer_reuse import LayerGuess, ReusingWriter, check_guesses
from jenkins_release.steps.context.services import Services


@dataclass(frozen=True)
class WholeArchive:
    """An archive on the share, byte for byte as it was built.

    Attributes:
        index: What it holds.
        manifests: Digest to text of the manifests of images for one platform.
        copied: The layers that the server copied, by offset.
        reused: Bytes that were not sent.
    """

    index: ArchiveIndex
    manifests: dict[str, str] = field(repr=False)
    copied: dict[int, Stretch]
    reused: int


def write_whole(
    path: str,
    archive: Iterable[bytes],
    source: str,
    platforms: Sequence[str],
    known: KnownLayers,
    staging: Staging,
    services: Services,
) -> WholeArchive:
    """Write an archive to the share, hashed and parsed on its way.

    Args:
        path: Its path below the candidate's folder.
        archive: Its bytes.
        source: Where they come from, for the progress.
        platforms: The platforms that its images have to have.
        known: Layers on the share that may occur in it.
        staging: The candidate being written.
        services: Configuration and progress.

    Raises:
        NotReusable: A known layer cannot be copied; the file is not usable.
        IntegrityError: The archive is not acceptable.
        ConfigurationError: An image is not for exactly the configured platforms.
        RemoteError: The share failed.
    """
    with staging.create(path) as writer, services.progress.task(f"export {path}") as task:
        stream = telling_waits(archive, task, source=source, sink=services.share.name)
        reusing = ReusingWriter(writer, services.share)
        guess = LayerGuess(known, (), services.share, reusing.announce) if len(known) else None

        def write(chunk: bytes) -> None:
            if guess is not None:
                guess.feed(chunk)
            reusing.write(chunk)
            task.advance(len(chunk))

        with ArchiveReader(platforms=platforms) as reader:
            fan_out(stream, [reader.feed, write])
            index = reader.finish()
        check_guesses(reusing.copied, index)
        manifests = {
            image.manifest.digest: reader.document(image.manifest.digest).decode()
            for image in index.images
            if image.manifest is not None
        }
        return WholeArchive(index, manifests, reusing.copied, reusing.saved)
