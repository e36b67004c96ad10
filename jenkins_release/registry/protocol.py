"""What the release process needs from the registry that customers pull from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from fnmatch import fnmatchcase
from typing import Protocol

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import RemoteError
from jenkins_release.oci.manifests import RawManifest
from jenkins_release.oci.referrers import Referrer, Subject
from jenkins_release.records.registry_image import HeldImage, StoredImage
from jenkins_release.records.scan import Scan

PART = 5 << 20
"""Bytes of one part of a blob: ECR's minimum, since parts are in memory for each layer under way."""


class UploadLost(RemoteError):
    """The registry no longer knows an upload: the blob must be sent again from its beginning."""


class LayersNotFound(RemoteError):
    """The registry lacks blobs that a manifest names."""


class RepositoryNotFound(RemoteError):
    """The repository does not exist."""


class NotSupported(RemoteError):
    """The registry does not do what was asked for, such as storing what refers to an image."""


class TagConflict(RemoteError):
    """An immutable tag already names other content; nothing was changed."""


@dataclass(frozen=True)
class RegistryLogin:
    """Credentials for one registry; never shown or stored.

    Attributes:
        registry: Host, with port if any.
        username: User name (``AWS`` for ECR).
        password: The token.
    """

    registry: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Repository:
    """A repository, as described by the registry.

    Attributes:
        name: Name without the registry host, such as ``skydrm/rms``.
        uri: ``host/name``, as for ``docker pull`` before the tag.
        mutability: ECR's ``imageTagMutability``: ``MUTABLE``, ``IMMUTABLE``,
            ``IMMUTABLE_WITH_EXCLUSION`` or ``MUTABLE_WITH_EXCLUSION``.
        exclusions: Wildcard filters of tags that the mutability does not apply to.
    """

    name: str
    uri: str
    mutability: str
    exclusions: tuple[str, ...] = ()

    def is_immutable(self, tag: str) -> bool:
        """Whether the registry refuses to move ``tag`` once it is set."""
        excluded = any(fnmatchcase(tag, pattern) for pattern in self.exclusions)
        return self.mutability.startswith("IMMUTABLE") != excluded

    def can_allow_moving(self, tag: str) -> bool:
        """Whether ``tag`` can be moved, or could be once it is a separate exclusion.

        The exclusions of a ``MUTABLE_WITH_EXCLUSION`` repository are its immutable tags: making the
        repository immutable would reverse all of them.
        """
        return self.mutability != "MUTABLE_WITH_EXCLUSION" or not self.is_immutable(tag)


class Registry(Protocol):
    """A registry with ECR's features: tags as data, and a token instead of a password."""

    @property
    def host(self) -> str:
        """Registry host, with port if any: what precedes the first ``/`` of a pull reference."""
        ...

    def login(self) -> RegistryLogin:
        """Get a new token. Called inside each attempt of a retry, and never kept across attempts."""
        ...

    def repository(self, name: str) -> Repository:
        """Describe a repository. Raises :class:`RepositoryNotFound`."""
        ...

    def repositories(self, names: Sequence[str]) -> dict[str, Repository]:
        """Describe several repositories, in as few calls as possible; missing ones are left out."""
        ...

    def create_repository(self, name: str) -> Repository:
        """Create a repository as configured; an existing one is returned unchanged."""
        ...

    def images(self, repository: str, references: Sequence[str]) -> dict[str, StoredImage]:
        """Read images by tag or by ``sha256:...`` digest.

        Returns:
            The existing images, by requested reference.

        Raises:
            RepositoryNotFound: The repository does not exist.
            IntegrityError: A manifest's bytes do not match the digest from the registry.
        """
        ...

    def tags(self, repository: str) -> list[str]:
        """Return every tag of a repository. Raises :class:`RepositoryNotFound`."""
        ...

    def scan(self, repository: str, digest: str) -> Scan:
        """Return the status and findings of an image's scan. A missing scan does not count as clean."""
        ...

    def inventory(self, repository: str) -> list[HeldImage]:
        """Return every image, tagged or not, without anything that the registry might count as a pull."""
        ...

    def missing_layers(self, repository: str, digests: Sequence[str]) -> set[str]:
        """Return those of the blob digests that the repository does not hold."""
        ...

    def mounts_blobs(self) -> bool:
        """Whether a blob can be mounted from one repository of the registry into another."""
        ...

    def set_tag(self, image: StoredImage, tag: str) -> None:
        """Let ``tag`` name exactly ``image``; do nothing if it already does. Raises :class:`TagConflict`."""
        ...

    def allow_moving(self, repository: Repository, tag: str) -> Repository:
        """Make a tag of an immutable repository movable, and return the updated repository."""
        ...

    def remove_tag(self, repository: str, tag: str) -> None:
        """Remove a tag; it may be missing. With its last tag, ECR deletes the image itself."""
        ...

    def remove_image(self, repository: str, digest: str) -> None:
        """Delete an image with all its tags; it may be missing, but must not be listed by an index."""
        ...


class BlobPart:
    """Consecutive bytes of a blob in several buffers, which are neither changed nor joined.

    Args:
        buffers: The bytes.
    """

    def __init__(self, buffers: Iterable[bytes | memoryview]) -> None:
        self._buffers = tuple(memoryview(buffer) for buffer in buffers)
        self._size = sum(len(buffer) for buffer in self._buffers)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[memoryview]:
        return iter(self._buffers)

    def after(self, count: int) -> BlobPart:
        """Return everything after the first ``count`` bytes."""
        left = []
        for buffer in self._buffers:
            if count < len(buffer):
                left.append(buffer[count:])
            count = max(0, count - len(buffer))
        return BlobPart(left)


class BlobUpload(Protocol):
    """An upload of a blob to a registry; use it as a context manager.

    A blob is sent by :meth:`stream`, or in parts by :meth:`send`. After a failure, :meth:`resume` says where
    the rest begins, which is sent in parts. Leaving the block without :meth:`finish` cancels the upload.
    """

    def stream(self, pieces: Iterable[bytes], size: int | None = None) -> None:
        """Send the whole blob in one request.

        Args:
            pieces: Its bytes, in pieces of at most 1 MiB. What they raise ends the request.
            size: Their number, if it is known.

        Raises:
            UploadLost: As :meth:`send`.
            RemoteError: The registry refused it, or it broke off; ``retryable`` if parts may do.
        """
        ...

    def resume(self) -> int:
        """Return how many bytes of the blob the registry has: the next part begins there.

        Raises:
            UploadLost: As :meth:`send`.
            RemoteError: The registry refused or failed.
        """
        ...

    def send(self, part: BlobPart) -> None:
        """Append a part. Called again with the same part after a failure, it continues from there.

        Raises:
            UploadLost: The registry no longer knows the upload.
            RemoteError: The part, or its end, may not have arrived; ``retryable``.
        """
        ...

    def finish(self, digest: str) -> None:
        """Let the registry check and keep the blob. Called again after a failure, it asks whether it did.

        Raises:
            IntegrityError: The registry computes or names a different digest.
            UploadLost: As :meth:`send`.
        """
        ...

    def __enter__(self) -> BlobUpload: ...

    def __exit__(self, *exc: object) -> None: ...


class BlobStore(Protocol):
    """Writes blobs and manifests over the distribution API; safe to share between threads."""

    @property
    def streams(self) -> bool:
        """Whether the registry takes a whole blob in one request, as far as is known."""
        ...

    def holds(self, repository: str, digest: str, size: int | None = None) -> bool:
        """Whether the repository has a blob of this size (``HEAD``)."""
        ...

    def read(self, repository: str, digest: str) -> Iterator[bytes]:
        """Yield a blob's bytes in pieces; the caller checks the digest."""
        ...

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Mount a blob of another repository; False if the registry does not do that."""
        ...

    def upload(self, repository: str) -> BlobUpload:
        """Begin an upload of a blob. Raises :class:`RepositoryNotFound`."""
        ...

    def put_manifest(self, repository: str, tag: str, media_type: str, data: bytes) -> str:
        """Store a manifest under a tag, or its digest, and return the digest that the registry names.

        Raises:
            LayersNotFound: A blob that it names is missing.
            NotSupported: It refers to an image, and the registry takes no such manifest.
            TagConflict: The tag is immutable and taken.
        """
        ...


@dataclass(frozen=True)
class Listing:
    """The artifacts that refer to a manifest, as the registry lists them.

    Attributes:
        referrers: The artifacts.
        more: Whether there are too many to list them all.
    """

    referrers: tuple[Referrer, ...]
    more: bool = False


class ReferrerReader(Protocol):
    """Reads the artifacts that refer to images, and what they consist of; safe to share between threads."""

    def listing(self, repository: str, subject: Subject, artifact_type: str = "") -> Listing | None:
        """List the artifacts that refer to a manifest, of one type or of all; None without the referrers API.

        Raises:
            RepositoryNotFound: There is no such repository.
            IntegrityError: The registry's answer is no list.
        """
        ...

    def client_list(
        self, repository: str, subject: Subject, artifact_type: str = ""
    ) -> tuple[Referrer, ...] | None:
        """Read the list that clients keep under the subject's tag; None if there is none.

        Raises:
            RepositoryNotFound: There is no such repository.
            IntegrityError: The tag names no list.
        """
        ...

    def manifest(self, repository: str, reference: str) -> RawManifest | None:
        """Read any manifest by tag or digest; None if there is none. Raises :class:`RepositoryNotFound`."""
        ...

    def blob(self, repository: str, digest: str, size: int) -> bytes:
        """Read a small blob. Raises IntegrityError if it has another size or digest."""
        ...
