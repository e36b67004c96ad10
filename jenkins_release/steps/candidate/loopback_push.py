"""Lets the daemon push images to a registry on loopback that exists for this one purpose."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jenkins_release.base.errors import IntegrityError, ReleaseError, RemoteError
from jenkins_release.endpoint.protocol import Intake
from jenkins_release.endpoint.pushes import Pushes
from jenkins_release.endpoint.server import Login, LoopbackServer
from jenkins_release.images.push_answer import PushRefused
from jenkins_release.registry.protocol import RegistryLogin
from jenkins_release.steps.candidate.loopback_names import TAG, remove_names, remove_stale_names
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
        self.names: list[str] = []

    def name(self, reference: str, repository: str) -> str:
        """Give an image the name under which it is pushed, until the registry closes.

        Raises:
            NotPushed: The daemon gives no names.
        """
        target = f"{self._host}/{repository}:{TAG}"
        self.names.append(target)
        try:
            self._services.engine.tag(reference, target)
        except RemoteError as error:
            raise NotPushed(error.message, hint=error.hint, retryable=error.retryable) from error
        return target

    def push(self, target: str, check: Callable[[], None], until: float = math.inf) -> None:
        """Let the daemon push a name.

        Args:
            target: The name.
            check: Called for each line of its answer, and when it fails; what it raises ends the push.
            until: When the push is given up, in seconds of :func:`time.monotonic`, even if no line comes.

        Raises:
            NotPushed: The daemon cannot push here.
            ReleaseError: What ``check`` raised, or why something was not taken.
        """

        def check_all() -> None:
            self._pushes.check()
            check()

        try:
            self._services.engine.push(target, self._login, check_all, until)
        except (NotPushed, IntegrityError):
            raise
        except ReleaseError as error:
            # What the daemon says of it is only a consequence.
            if self._pushes.failures:
                raise self._pushes.failures[0] from None
            check()
            # What it cannot push to this machine, it cannot the next time either.
            again = error.retryable and not isinstance(error, PushRefused)
            raise NotPushed(error.message, hint=error.hint, retryable=again) from error


@contextmanager
def loopback_push(intake: Intake, services: Services) -> Iterator[LoopbackPush]:
    """Open a registry on loopback for as long as the block runs.

    Its login is new and random, since any user of the machine reaches loopback; only the daemon gets it.
    To be entered in the main thread, which may still clean up after Ctrl-C.

    Args:
        intake: What takes the blobs.
        services: The daemon.
    """
    remove_stale_names(services)
    login = Login.new()
    pushes = Pushes(intake, login)
    try:
        with LoopbackServer(pushes.serve) as server:
            push = LoopbackPush(server, pushes, login, services)
            try:
                yield push
            finally:
                remove_names(push.names, services)
    finally:
        pushes.abandon()
