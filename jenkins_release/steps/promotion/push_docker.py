"""Pushes with a Docker daemon: loads, tags, pushes, and removes what was not there before."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from jenkins_release.base.errors import ReleaseError
from jenkins_release.images import ImageNotFound
from jenkins_release.steps.candidate.load import load_images
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.context.services import Services
from jenkins_release.steps.promotion.image_push import ImagePush

_log = logging.getLogger(__name__)


class DockerPusher:
    """Pushes with a daemon; see :class:`~jenkins_release.steps.promotion.image_push.ImagePusher`.

    Args:
        opened: The candidate.
        services: Share, daemon and registry.
    """

    def __init__(self, opened: OpenCandidate, services: Services) -> None:
        self._opened = opened
        self._services = services
        self._loaded: list[str] = []
        self._tagged: set[str] = set()

    def prepare(self, pushes: Sequence[ImagePush]) -> None:
        """Load the archives and compare the daemon's config digests.

        Raises:
            IntegrityError: An archive or an image is not what was recorded.
            RemoteError: Share or daemon failed, after the retries.
        """
        images = [push.record for push in pushes]
        archives = {image.archive for image in images}
        # An archive loads all its images, also those that need no push.
        for image in self._opened.record.images:
            if image.archive in archives:
                try:
                    self._services.retry(
                        f"inspect {image.reference}", self._services.engine.inspect, image.reference
                    )
                except ImageNotFound:
                    self._loaded.append(image.reference)
        load_images(self._opened, images, self._services, whole=True)

    def push(self, push: ImagePush) -> str:
        """Tag and push with a fresh login, and return the digest that the registry reported."""
        self._tagged.add(push.target)
        self._services.engine.tag(push.record.reference, push.target)
        return self._services.engine.push(push.target, self._services.registry.login())

    def clean(self, push: ImagePush) -> None:
        """Remove the image's registry tag from the daemon, even if a run that died left it there."""
        self._untag(push.target, ours=push.target in self._tagged)

    def __enter__(self) -> DockerPusher:
        return self

    def __exit__(self, *error: object) -> None:
        for reference in self._loaded:
            self._untag(reference)

    def _untag(self, reference: str, *, ours: bool = True) -> None:
        """Remove a tag from the daemon. A failure must not hide how the promotion ended."""
        try:
            self._services.engine.untag(reference)
        except ReleaseError as error:
            # If this run did not make it, neither the tag nor a daemon need exist.
            told = "stays" if ours else "may be"
            level = logging.WARNING if ours else logging.DEBUG
            _log.log(level, "%s %s on the Docker daemon: %s", reference, told, error)
