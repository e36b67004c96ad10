"""Serve: a candidate as a read-only registry on loopback, for whatever pulls images on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.references import without_host
from jenkins_release.base.waits import pause
from jenkins_release.config import SERVE_PASSWORD, SERVE_USER, secret
from jenkins_release.endpoint.pulls import Pulls
from jenkins_release.endpoint.server import Login, LoopbackServer
from jenkins_release.records.candidate import CandidateImage
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.share.protocol import PathNotFound
from jenkins_release.steps.candidate.archive_reader import check_manifests
from jenkins_release.steps.candidate.opened import OpenCandidate, check_sizes, open_candidate
from jenkins_release.steps.candidate.served import CandidateContents
from jenkins_release.steps.context.services import Services

_LOOK_S = 0.5


@dataclass(frozen=True)
class ServedImage:
    """An image that can be pulled.

    Attributes:
        image: Its record.
        reference: What to pull: host, repository and tag.
        digest: Digest of the manifest or index that the tag names.
    """

    image: CandidateImage
    reference: str
    digest: str


@dataclass(frozen=True)
class Serving:
    """A candidate that is being served.

    Attributes:
        opened: The candidate.
        host: Where: host and port.
        images: Its images.
        username: User name that clients must send; empty if everybody on this machine may pull.
    """

    opened: OpenCandidate
    host: str
    images: tuple[ServedImage, ...]
    username: str
    _pulls: Pulls = field(repr=False)

    @property
    def sent(self) -> int:
        """Bytes of blobs that were pulled."""
        return self._pulls.sent

    def wait(self) -> None:
        """Serve until the process is asked to stop.

        Raises:
            Stopped: It was.
            IntegrityError: The share has something else than what was recorded: nothing more is served.
            PathNotFound: The candidate was removed from the share.
        """
        while True:
            for error in self._pulls.failures:
                if isinstance(error, IntegrityError | PathNotFound):
                    raise error
            pause(_LOOK_S, "somebody to pull")


@contextmanager
def serve_candidate(ref: CandidateRef, services: Services, *, port: int = 0) -> Iterator[Serving]:
    """Serve the images of a candidate on 127.0.0.1 for as long as the block runs.

    Blobs are read from the share when they are pulled, and proven on the way: the last bytes of one that was
    altered are never sent. With ``JENKINS_RELEASE_SERVE_PASSWORD``, clients must log in.

    Args:
        ref: The candidate.
        services: The share.
        port: The port; 0 takes a free one.

    Raises:
        ConfigurationError: There is no such candidate, it holds no images, or the port cannot be used.
        IntegrityError: The candidate is not what was recorded.
        RemoteError: The share failed, after the retries.
    """
    opened = open_candidate(ref, services)
    if not opened.record.images:
        raise ConfigurationError(
            f"candidate {ref} has no images, so there is nothing to serve",
            hint="'jenkins-release candidate fetch' copies its installers",
        )
    check_sizes(opened)
    contents = CandidateContents(opened)
    names: dict[str, str] = {}
    for image in opened.record.images:
        check_manifests(image, opened, services)
        name = without_host(image.reference)
        if name in names:
            raise ConfigurationError(
                f"{names[name]} and {image.reference} would both be served as {name}",
                hint="'jenkins-release candidate load' loads both",
            )
        names[name] = image.reference
    digests = [
        contents.add(image, *name.rsplit(":", 1))
        for name, image in zip(names, opened.record.images, strict=True)
    ]
    password = secret(SERVE_PASSWORD, services.environ)
    login = None
    if password is not None:
        user = secret(SERVE_USER, services.environ)
        login = Login(user.get_secret_value() if user else "jenkins-release", password.get_secret_value())
    pulls = Pulls(contents, login)
    with LoopbackServer(pulls.serve, port) as server:
        images = tuple(
            ServedImage(image, f"{server.host}/{name}", digest)
            for name, image, digest in zip(names, opened.record.images, digests, strict=True)
        )
        yield Serving(opened, server.host, images, login.username if login else "", pulls)
