"""A candidate as the contents of a registry: its blobs are read from the share when somebody pulls them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

from jenkins_release.base.stream import at_most
from jenkins_release.base.waits import check
from jenkins_release.endpoint.protocol import ServedBlob
from jenkins_release.oci.manifests import RawManifest
from jenkins_release.records.candidate import (
    CandidateImage,
    ImageRecord,
    MultiPlatformRecord,
    PlatformRecord,
    StoredBlob,
    make_manifest,
)
from jenkins_release.share.protocol import AHEAD
from jenkins_release.steps.candidate.archive_reader import ALTERED, read_stored
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.services import Services

_AHEAD = AHEAD // 4
"""A daemon pulls three layers at a time."""


@dataclass(frozen=True)
class _Repository:
    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, Callable[[], RawManifest]] = field(default_factory=dict)
    blobs: dict[str, ServedBlob] = field(default_factory=dict)


class CandidateContents:
    """Images of a candidate, each in a repository.

    Args:
        opened: The candidate.
        services: The share.
    """

    def __init__(self, opened: OpenCandidate, services: Services) -> None:
        self._opened = opened
        self._services = services
        self._repositories: dict[str, _Repository] = {}

    def add(self, image: CandidateImage, repository: str, tag: str) -> str:
        """Add an image for all its platforms.

        Args:
            image: The image.
            repository: Name of its repository.
            tag: Its tag.

        Returns:
            The digest that the tag names.
        """
        held = self._repositories.setdefault(repository, _Repository())
        for part in image.parts:
            self._add_blobs(held, image, part)
        if isinstance(image, MultiPlatformRecord):
            for blob in (image.index, *image.manifests):
                held.manifests[blob.digest] = cache(partial(self._stored, image.archive, blob))
            for attestation in image.attestations:
                for blob in attestation.blobs:
                    self._add_blob(held, image.archive, blob.digest, blob.offset, blob.size)
            held.tags[tag] = image.index.digest
        else:
            manifest = manifest_of(image)
            held.manifests[manifest.digest] = lambda: manifest
            held.tags[tag] = manifest.digest
        return held.tags[tag]

    def repositories(self) -> Sequence[str]:
        """Return the names of the repositories."""
        return list(self._repositories)

    def tags(self, repository: str) -> Sequence[str]:
        """Return the tags of a repository."""
        return list(self._of(repository).tags)

    def manifest(self, repository: str, reference: str) -> RawManifest | None:
        """Return a manifest by tag or digest. Raises IntegrityError if it was altered, RemoteError."""
        held = self._of(repository)
        read = held.manifests.get(held.tags.get(reference, reference))
        return None if read is None else read()

    def blob(self, repository: str, digest: str) -> ServedBlob | None:
        """Return a blob."""
        return self._of(repository).blobs.get(digest)

    def _of(self, repository: str) -> _Repository:
        return self._repositories.get(repository) or _Repository()

    def _stored(self, archive: str, blob: StoredBlob) -> RawManifest:
        data = read_stored(archive, blob, self._opened, self._services)
        return RawManifest(blob.digest, blob.media_type, data)

    def _add_blobs(self, held: _Repository, image: CandidateImage, part: PlatformRecord) -> None:
        self._add_blob(held, image.archive, part.config_digest, part.config_offset, part.config_size)
        for layer in part.layers:
            self._add_blob(held, image.archive, layer.digest, layer.offset, layer.size)

    def _add_blob(self, held: _Repository, archive: str, digest: str, offset: int, size: int) -> None:
        path = f"{self._services.candidates.folder(self._opened.ref)}/{archive}"
        where = f"{self._services.candidates.shown(self._opened.ref, archive)} at byte {offset}"
        read = partial(self._read, path, offset, size)
        held.blobs[digest] = ServedBlob(digest, size, where, ALTERED, read)

    def _read(self, path: str, offset: int, size: int) -> Iterator[bytes]:
        for piece in at_most(self._services.share.read(path, offset=offset, length=size, ahead=_AHEAD), size):
            check()
            yield piece


def manifest_of(image: ImageRecord) -> RawManifest:
    """Return the manifest of an image for one platform; one whose layers are plain is made here."""
    if image.manifest is None:
        return make_manifest(image)
    found = image.manifest
    return RawManifest(found.digest, found.media_type, found.data.encode())
