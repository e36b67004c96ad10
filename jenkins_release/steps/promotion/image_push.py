"""The interface for pushing a candidate's images to the registry, with or without Docker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from jenkins_release.base.dataclass import dataclass
from jenkins_release.records.candidate import CandidateImage
from jenkins_release.registry.protocol import Repository
from jenkins_release.steps.context.services import Services


@dataclass(frozen=True)
class ImagePush:
    """An image, and where to push it.

    Attributes:
        record: The image.
        repository: Its repository.
        tag: The candidate's tag.
    """

    record: CandidateImage
    repository: Repository
    tag: str

    @property
    def target(self) -> str:
        """The reference with registry, repository and tag, as Docker writes it."""
        return f"{self.repository.uri}:{self.tag}"


def pushes_directly(images: Sequence[CandidateImage], services: Services) -> bool:
    """Whether images go from the share to the registry without Docker.

    Docker compresses layers itself, so it cannot push a manifest that was fixed at the export.
    """
    engine = services.configuration.promote.engine
    return engine == "registry" or any(image.fixed_digest for image in images)


class ImagePusher(Protocol):
    """Pushes images to the registry; a context manager that cleans up at its end."""

    def prepare(self, pushes: Sequence[ImagePush]) -> None:
        """Do all the work for several images that can be done before any of their manifests is pushed.

        Raises:
            IntegrityError: What is on the share is not what was recorded; no manifest was pushed.
        """
        ...

    def push(self, push: ImagePush) -> str:
        """Make one attempt to push a prepared image, and return its digest."""
        ...

    def clean(self, push: ImagePush) -> None:
        """Remove what pushing an image left outside the registry; never raises."""
        ...

    def __enter__(self) -> ImagePusher: ...

    def __exit__(self, *error: object) -> None: ...
