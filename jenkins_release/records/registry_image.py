"""Images as a registry holds them."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime

from jenkins_release.base.dataclass import dataclass
from jenkins_release.oci.manifests import (
    UNKNOWN,
    Content,
    Listed,
    RawManifest,
    read_attestation,
    read_content,
)


@dataclass(frozen=True)
class StoredManifest:
    """A manifest that an index lists, read back and checked.

    Attributes:
        digest: Its digest.
        platform: Its platform as the index states it; ``unknown/unknown`` for what nothing runs.
        blobs: Digests of everything that it names.
    """

    digest: str
    platform: str
    blobs: tuple[str, ...]


def read_listed(entry: Listed, manifest: RawManifest, what: str) -> StoredManifest:
    """Read a manifest that an index lists.

    Args:
        entry: What the index says of it.
        manifest: The manifest.
        what: Which image it is, for messages.

    Raises:
        IntegrityError: It is malformed; of an image, everything is checked.
    """
    content = (read_content if entry.runs else read_attestation)(manifest, what)
    return StoredManifest(entry.digest, entry.platform, tuple(part.digest for part in content.parts))


@dataclass(frozen=True)
class StoredImage:
    """An image that the registry holds, read back and checked.

    Attributes:
        repository: Name of its repository.
        digest: Digest of ``manifest``, recomputed here.
        media_type: Media type of ``manifest``.
        manifest: The manifest's exact bytes (an image manifest or an index).
        content: What the manifest of the only platform names; None for an index for several, or for none.
        listed: What an index lists.
    """

    repository: str
    digest: str
    media_type: str
    manifest: bytes = field(repr=False)
    content: Content | None
    listed: tuple[StoredManifest, ...] = ()

    @property
    def config_digest(self) -> str | None:
        """Digest of the config JSON; None if there are several."""
        return self.content.config_digest if self.content is not None else None

    @property
    def layers(self) -> tuple[str, ...]:
        """Digests of the stored layers, base first; none if there are several platforms."""
        return self.content.layers if self.content is not None else ()

    @property
    def blobs(self) -> tuple[str, ...]:
        """Digests of everything that a registry must hold for it, apart from manifests."""
        listed = (blob for each in self.listed for blob in each.blobs)
        return tuple(dict.fromkeys([*self.layers, *listed]))

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platforms of an index, without what nothing runs."""
        return tuple(each.platform for each in self.listed if each.platform != UNKNOWN)


@dataclass(frozen=True)
class HeldImage:
    """An image, as the registry lists it.

    Attributes:
        digest: Digest of its manifest.
        tags: Its tags; none if an index lists it, or if its last tag moved to another image.
        pulled: When it was last pulled; None if it never was.
        children: Digests that it lists, if it is an index.
    """

    digest: str
    tags: tuple[str, ...]
    pulled: datetime | None = None
    children: frozenset[str] = frozenset()
