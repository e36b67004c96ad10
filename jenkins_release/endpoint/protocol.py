"""What the endpoint serves, wherever it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from typing import Protocol

from jenkins_release.base.dataclass import dataclass
from jenkins_release.oci.manifests import RawManifest


@dataclass(frozen=True)
class ServedBlob:
    """A blob that can be read.

    Attributes:
        size: Its bytes.
        read: Yields the bytes from a first to a last one, by their numbers; the last only if the whole blob
            is what its digest says. Raises IntegrityError, RemoteError.
    """

    size: int
    read: Callable[[int, int], Iterator[bytes]] = field(repr=False)


class Contents(Protocol):
    """Repositories with tags, manifests and blobs; safe to share between threads."""

    def repositories(self) -> Sequence[str]:
        """Return the names of the repositories."""
        ...

    def tags(self, repository: str) -> Sequence[str]:
        """Return the tags of a repository; none for an unknown one."""
        ...

    def manifest(self, repository: str, reference: str) -> RawManifest | None:
        """Return a manifest by tag or digest; None for an unknown one."""
        ...

    def blob(self, repository: str, digest: str) -> ServedBlob | None:
        """Return a blob of a repository; None for an unknown one."""
        ...


class BlobIntake(Protocol):
    """A blob that is being pushed."""

    def write(self, piece: bytes) -> None:
        """Take the next bytes. Raises IntegrityError if they cannot be those of an image."""
        ...

    def finish(self, digest: str) -> None:
        """Take the blob; all its bytes have come. Raises IntegrityError if they have another digest."""
        ...

    def abandon(self) -> None:
        """Forget the bytes."""
        ...


class Intake(Protocol):
    """What takes pushed blobs and manifests; safe to share between threads."""

    def held(self, digest: str) -> int | None:
        """Return the bytes of a blob that need not be sent; None for one that must."""
        ...

    def blob(self) -> BlobIntake:
        """Begin to take a blob."""
        ...

    def manifest(self, repository: str, manifest: RawManifest) -> None:
        """Take a manifest. Raises IntegrityError if it cannot be that of an image."""
        ...
