"""How images get from a candidate into the registry: what every way of doing it has in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jenkins_release.records.candidate import ImageRecord
from jenkins_release.registry.protocol import Repository
from jenkins_release.steps.context.services import Services


@dataclass(frozen=True)
class ImagePush:
    """An image, and where it goes.

    Attributes:
        record: The image.
        repository: Its repository.
        tag: The candidate's tag.
    """

    record: ImageRecord
    repository: Repository
    tag: str

    @property
    def target(self) -> str:
        """Registry, repository and tag, as Docker names them."""
        return f"{self.repository.uri}:{self.tag}"


def pushes_directly(images: Sequence[ImageRecord], services: Services) -> bool:
    """Whether images go from the share to the registry without Docker.

    Docker compresses layers in its own way, so it cannot push a manifest that was fixed at the export.
    """
    engine = services.configuration.promote.engine
    return engine == "registry" or any(image.manifest is not None for image in images)


class ImagePusher(Protocol):
    """A way into the registry; use it as a context manager, which cleans up after it."""

    def prepare(self, pushes: Sequence[ImagePush]) -> None:
        """Do for several images what can be done before any of their manifests is in the registry.

        Raises:
            IntegrityError: What is on the share is not what was recorded; no manifest was pushed.
        """
        ...

    def push(self, push: ImagePush) -> str:
        """Make one attempt to bring an image that was prepared into the registry; return its digest."""
        ...

    def clean(self, push: ImagePush) -> None:
        """Remove what pushing an image left behind elsewhere; never raises."""
        ...

    def __enter__(self) -> ImagePusher: ...

    def __exit__(self, *error: object) -> None: ...
