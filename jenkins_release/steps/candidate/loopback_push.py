"""Lets the daemon push images to a registry on loopback that exists for this one purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jenkins_release.base.errors import IntegrityError, ReleaseError, RemoteError
from jenkins_release.endpoint.protocol import Intake
from jenkins_release.endpoint.pushes import Pushes
from jenkins_release.endpoint.server import Login, LoopbackServer
from jenkins_release.registry.protocol import RegistryLogin
from jenkins_release.steps.candidate.loopback_names import TAG, remove_stale_names
from jenkins_release.steps.context.services import Services


class NotPushed(RemoteError):
    """The daemon cannot push here, or it would take longer than a ``docker save``."""


class LoopbackPush:
    """A registry on loopback that is open; see :func:`loopback_push`."""

    def __init__(self, server: LoopbackServer, pushes: Pushes, login: Login, services: Services) -> None:
        self._host = server.host
        self._pushes = pushes
        self._login = RegistryLogin(server.host, login.username, login.password)
        self._services = services

    @contextmanager
    def named(self, reference: str, repository: str) -> Iterator[str]:
        """Give an image the name under which it is pushed, for as long as the block runs."""
        target = f"{self._host}/{repository}:{TAG}"
        self._services.engine.tag(reference, target)
        try:
            yield target
        finally:
            self._services.engine.untag(target)

    def push(self, target: str, check: Callable[[], None]) -> None:
        """Let the daemon push a name.

        Args:
            target: The name.
            check: Called for each line of its answer; what it raises ends the push.

        Raises:
            NotPushed: The daemon cannot push here.
            ReleaseError: What ``check`` raised, or why something was not taken.
        """

        def check_all() -> None:
            self._pushes.check()
            check()

        try:
            self._services.engine.push(target, self._login, check_all)
        except (NotPushed, IntegrityError):
            raise
        except ReleaseError as error:
            # What the daemon says of it is only a consequence.
            if self._pushes.failures:
                raise self._pushes.failures[0] from None
            raise NotPushed(error.message, hint=error.hint) from error


@contextmanager
def loopback_push(intake: Intake, services: Services) -> Iterator[LoopbackPush]:
    """Open a registry on loopback for as long as the block runs.

    Its login is new and random, since any user of the machine reaches loopback; only the daemon gets it.

    Args:
        intake: What takes the blobs.
        services: The daemon.
    """
    remove_stale_names(services)
    login = Login.new()
    pushes = Pushes(intake, login)
    try:
        with LoopbackServer(pushes.serve) as server:
            yield LoopbackPush(server, pushes, login, services)
    finally:
        pushes.abandon()
