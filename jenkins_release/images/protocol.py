"""What the release process needs from a Docker daemon.

An image's identity is its config digest (sha256 of the config JSON) and its ``diff_ids``, read
from an archive. The *image ID* that a daemon reports is the config digest in the classic image store and the
manifest digest in the containerd store (the default of a new Docker 29), so it is never used as an identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.registry.protocol import RegistryLogin


class ImageNotFound(ConfigurationError):
    """The daemon answers, but does not have the image."""


class PullRefused(RemoteError):
    """The daemon answers, but says that it cannot pull the image."""


@dataclass(frozen=True)
class LocalImage:
    """An image, as described by a daemon.

    Attributes:
        reference: The requested name.
        platform: ``os/architecture`` or ``os/architecture/variant``; empty if the image states none.
        size: Bytes of its layers, uncompressed, as the daemon counts.
        diff_ids: Digests of the uncompressed layers, base first.
        image_id: The daemon's id of the content. It only shows whether a reference still names the same
            content in this daemon.
        config_digest: Digest of the config JSON; empty if the daemon's image store does not tell it.
    """

    reference: str
    platform: str
    size: int
    diff_ids: tuple[str, ...]
    image_id: str = ""
    config_digest: str = ""


@dataclass(frozen=True)
class EngineInfo:
    """What a daemon says about itself.

    Attributes:
        version: Its version.
        platform: What its machine is, such as ``linux/amd64``.
        store: Its image store, such as ``overlay2`` or ``containerd (overlayfs)``.
        folder: Where it keeps its data, on its machine.
        time: The time there, as it writes it.
    """

    version: str
    platform: str
    store: str
    folder: str
    time: str


class ImageEngine(Protocol):
    """A Docker daemon, or a substitute."""

    @property
    def url(self) -> str:
        """The daemon's URL, as shown in messages."""
        ...

    def info(self) -> EngineInfo:
        """Describe the daemon."""
        ...

    def inspect(self, reference: str) -> LocalImage:
        """Describe an image. Raises ImageNotFound if the daemon does not have it."""
        ...

    def save(self, references: Iterable[str]) -> Iterator[bytes]:
        """Stream one archive of all the images, shared layers once (``docker save a b c``)."""
        ...

    def load(self, archive: Iterable[bytes]) -> None:
        """Load an archive; the images get the references that the archive names."""
        ...

    def config_digest(self, reference: str) -> str:
        """Return ``sha256:...`` of the image's config JSON, whatever store the daemon uses."""
        ...

    def tag(self, reference: str, target: str) -> None:
        """Give the image another reference."""
        ...

    @property
    def may_share_loopback(self) -> bool:
        """Whether 127.0.0.1 may be the same for the daemon as for this process."""
        ...

    def pull(self, repository: str, digest: str, login: RegistryLogin, check: Callable[[], None]) -> None:
        """Pull an image by the digest of its manifest. Raises PullRefused if it says that it cannot.

        ``check`` is called for each line of its answer; what it raises ends the pull.
        """
        ...

    def push(
        self,
        reference: str,
        login: RegistryLogin,
        check: Callable[[], None] = lambda: None,
        until: float = math.inf,
    ) -> str:
        """Push a reference to its registry and return the manifest digest that the registry named.

        Every line of the daemon's answer is read: a failed push raises. ``check`` is called for each; what it
        raises ends the push, and so does ``until``, in seconds of :func:`time.monotonic`.
        """
        ...

    def sizes(self, reference: str) -> tuple[int, ...]:
        """Return the bytes of an image's layers as its history has them, base first; without empty ones."""
        ...

    def names(self) -> tuple[str, ...]:
        """Return every name of an image, by tag and by digest."""
        ...

    def untag(self, reference: str) -> None:
        """Remove a reference, and the image with its last one. The reference may be missing."""
        ...
