"""Loads images by letting the daemon pull them from loopback: layers that it has are not read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import IntegrityError, ReleaseError
from jenkins_release.base.parallel import map_parallel
from jenkins_release.endpoint.pulls import Pulls
from jenkins_release.endpoint.server import Login, LoopbackServer
from jenkins_release.records.candidate import CandidateImage, ListedPlatform, PlatformRecord
from jenkins_release.registry.protocol import RegistryLogin
from jenkins_release.steps.candidate.loopback_names import (
    TAG,
    remove_names,
    remove_stale_names,
    repository_name,
)
from jenkins_release.steps.candidate.opened import OpenCandidate
from jenkins_release.steps.candidate.served import CandidateContents
from jenkins_release.steps.context.services import Services

_AT_ONCE = 4


@dataclass(frozen=True)
class _Wanted:
    image: CandidateImage
    part: PlatformRecord
    repository: str
    digest: str

    @property
    def name(self) -> str:
        """Its name in the daemon until it gets its own."""
        return f"{self.repository}@{self.digest}"


def pull_images(
    opened: OpenCandidate,
    images: Sequence[CandidateImage],
    parts: Mapping[str, PlatformRecord],
    services: Services,
) -> int:
    """Let the daemon pull images, and give them their names once all of them are there.

    After a failure, what is complete is not read again by the next attempt.

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
        RemoteError: Share or daemon failed, after the retries.
    """
    remove_stale_names(services)
    contents, login = CandidateContents(opened), Login.new()
    digests = [contents.add(image, repository_name(number), TAG) for number, image in enumerate(images)]
    with services.progress.task(f"load {opened.ref}") as task:
        # Whichever of the two stands still: the daemon does not say what it waits for.
        task.waits_for(f"the Docker daemon to pull the images from {services.share.name}")
        pulls = Pulls(contents, login, task.advance)
        with LoopbackServer(pulls.serve) as server:
            wanted = []
            for number, (image, digest) in enumerate(zip(images, digests, strict=True)):
                part = parts[image.name]
                if isinstance(part, ListedPlatform):
                    digest = part.manifest.digest
                wanted.append(_Wanted(image, part, f"{server.host}/{repository_name(number)}", digest))
            credentials = RegistryLogin(server.host, login.username, login.password)
            try:
                services.retry(f"load {opened.ref}", _pull_all, wanted, credentials, pulls, services)
            finally:
                remove_names([each.name for each in wanted], services)
    return pulls.sent


def _pull_all(
    wanted: Sequence[_Wanted], credentials: RegistryLogin, pulls: Pulls, services: Services
) -> None:
    pulls.failures.clear()

    def pull(each: _Wanted) -> None:
        services.engine.pull(each.repository, each.digest, credentials, pulls.check)
        _prove(each, services)

    try:
        # The first one alone: if the daemon refuses it, no other pull has to be broken off.
        pull(wanted[0])
        map_parallel(pull, wanted[1:], workers=_AT_ONCE)
        # With nothing in between: there is next to no time in which a load can end with only some names.
        for each in wanted:
            services.engine.tag(each.name, each.image.reference)
    except ReleaseError:
        # What the daemon says of it is only a consequence.
        if pulls.failures:
            raise pulls.failures[0] from None
        raise


def _prove(each: _Wanted, services: Services) -> None:
    """Check that the daemon has the image. Raises IntegrityError if it is another one."""
    held = services.engine.inspect(each.name)
    # In containerd's store the id is the digest that was pulled, and to learn that of the config, all of the
    # image would have to be read.
    if held.image_id != each.digest:
        found = held.config_digest or services.engine.config_digest(each.name)
        if found != each.part.config_digest:
            raise IntegrityError(
                f"image {each.image.reference} in the daemon: expected config digest "
                f"{each.part.config_digest}, found {found}"
            )
