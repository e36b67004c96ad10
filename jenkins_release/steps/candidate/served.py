"""A candidate as the contents of a registry: its blobs are read from the share when somebody pulls them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from functools import cache, partial

from jenkins_release.base.dataclass import dataclass
from jenkins_release.endpoint.protocol import ServedBlob
from jenkins_release.oci.manifests import RawManifest
from jenkins_release.records.candidate import CandidateImage, ImageRecord, MultiPlatformRecord, make_manifest
from jenkins_release.share.protocol import AHEAD
from jenkins_release.steps.candidate.archive_reader import read_manifest
from jenkins_release.steps.candidate.content_store import ShareBlob, image_blobs
from jenkins_release.steps.candidate.opened import OpenCandidate

_AHEAD = AHEAD // 4
"""A daemon pulls three layers at a time."""


@dataclass(frozen=True)
class _Repository:
    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, Callable[[], RawManifest]] = field(default_factory=dict)
    blobs: dict[str, ShareBlob] = field(default_factory=dict)


class CandidateContents:
    """Images of a candidate, each in a repository.

    Args:
        opened: The candidate.
    """

    def __init__(self, opened: OpenCandidate) -> None:
        self._opened = opened
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
        held.blobs.update((blob.digest, blob) for blob in image_blobs(image))
        if isinstance(image, MultiPlatformRecord):
            for blob in (image.index, *image.manifests):
                held.manifests[blob.digest] = cache(partial(read_manifest, image, blob, self._opened))
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
        found = self._of(repository).blobs.get(digest)
        if found is None:
            return None
        return ServedBlob(found.size, partial(self._opened.content.read, found, ahead=_AHEAD))

    def _of(self, repository: str) -> _Repository:
        return self._repositories.get(repository) or _Repository()


def manifest_of(image: ImageRecord) -> RawManifest:
    """Return the manifest of an image for one platform; one whose layers are plain is made here."""
    return make_manifest(image) if image.manifest is None else image.manifest.raw
