"""Loads images by letting the daemon pull them from loopback: layers that it has are not read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jenkins_release.base.errors import ReleaseError
from jenkins_release.endpoint.pulls import Pulls
from jenkins_release.endpoint.server import Login, LoopbackServer
from jenkins_release.records.candidate import CandidateImage, ListedPlatform, PlatformRecord
from jenkins_release.registry.protocol import RegistryLogin
from jenkins_release.steps.candidate.loopback_names import TAG, remove_stale_names, repository_name
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.candidate.served import CandidateContents
from jenkins_release.steps.context.services import Services


def pull_images(
    opened: OpenCandidate,
    images: Sequence[CandidateImage],
    parts: Mapping[str, PlatformRecord],
    services: Services,
) -> int:
    """Let the daemon pull images, and give them their names.

    Args:
        opened: The candidate.
        images: Which of its images.
        parts: Short name of each image to what is loaded of it.
        services: Share and daemon.

    Returns:
        The bytes of layers and configs that were read from the share.

    Raises:
        PullRefused: The daemon cannot pull from this machine's loopback.
        IntegrityError: The share has something else than what was recorded.
        RemoteError: Share or daemon failed.
    """
    remove_stale_names(services)
    contents, login = CandidateContents(opened), Login.new()
    digests = {image.name: contents.add(image, repository_name(n), TAG) for n, image in enumerate(images)}
    with services.progress.task(f"load {opened.ref}") as task:
        # Whichever of the two stands still: the daemon does not say what it waits for.
        task.waits_for(f"the Docker daemon to pull the images from {services.share.name}")
        pulls = Pulls(contents, login, task.advance)
        with LoopbackServer(pulls.serve) as server:
            credentials = RegistryLogin(server.host, login.username, login.password)
            for number, image in enumerate(images):
                part = parts[image.name]
                digest = part.manifest.digest if isinstance(part, ListedPlatform) else digests[image.name]
                repository = f"{server.host}/{repository_name(number)}"
                try:
                    services.engine.pull(repository, digest, credentials, pulls.check)
                    services.engine.tag(f"{repository}@{digest}", image.reference)
                except ReleaseError:
                    # What the daemon says of it is only a consequence.
                    if pulls.failures:
                        raise pulls.failures[0] from None
                    raise
                finally:
                    services.engine.untag(f"{repository}@{digest}")
    return pulls.sent
