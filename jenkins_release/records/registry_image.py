"""Images as a registry holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from jenkins_release.oci.manifests import Content


@dataclass(frozen=True)
class StoredImage:
    """An image that the registry holds, read back and checked.

    Attributes:
        repository: Name of its repository.
        digest: Digest of ``manifest``, recomputed here.
        media_type: Media type of ``manifest``.
        manifest: The manifest's exact bytes (an image manifest or an index).
        content: What the manifest of the (only) platform names.
    """

    repository: str
    digest: str
    media_type: str
    manifest: bytes = field(repr=False)
    content: Content

    @property
    def config_digest(self) -> str:
        """Digest of the config JSON."""
        return self.content.config_digest

    @property
    def layers(self) -> tuple[str, ...]:
        """Digests of the stored layers, base first."""
        return self.content.layers

    @property
    def size(self) -> int:
        """Bytes of config and layers as stored."""
        return self.content.size


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
