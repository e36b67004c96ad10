"""An existing Docker daemon, which belongs to the user.

The sandbox adds only its own images, and removes what it added.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import docker
from docker.errors import APIError, NotFound

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, ReleaseError
from jenkins_release.images.docker_client import connect, connection_settings, translated
from jenkins_release.sandbox.sample_images import is_demo_image

_TIMEOUT_S = 5.0
_WORK_S = 60.0
_PODMAN = (
    "{url} is Podman {version}, which cannot replace Docker here. It requires TLS of the registry on "
    "127.0.0.1, unless registries.conf names that with its port. And it saves skydrm/rms as "
    "localhost/skydrm/rms, which is not the name in release.toml"
)


@dataclass(frozen=True)
class Look:
    """What was found at the address of a possible daemon.

    Attributes:
        url: Address of the daemon.
        trouble: Why it cannot be used; empty if it can.
    """

    url: str
    trouble: str = ""


def look_for_daemon(environ: Mapping[str, str] = os.environ, *, timeout_s: float = _TIMEOUT_S) -> Look:
    """Look for a daemon as the Docker command line does: ``DOCKER_HOST``, a context, the default socket.

    Args:
        environ: The environment.
        timeout_s: Longest wait for an answer, in seconds.
    """
    url = ""
    try:
        settings = connection_settings(None, environ)
        url = str(settings["base_url"])
        with translated(url, "connect"), contextlib.closing(connect(settings, timeout_s)) as client:
            version = client.version()
    except ReleaseError as error:
        return Look(url, f"{error.message} ({error.hint})" if error.hint else error.message)
    names = [str(part.get("Name")) for part in version.get("Components") or ()]
    if any("podman" in name.lower() for name in names):
        return Look(url, _PODMAN.format(url=url, version=version.get("Version")))
    return Look(url)


class SharedDaemon:
    """The daemon at a URL, used as a guest.

    Args:
        url: Its address.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def check_free(self, references: Iterable[str]) -> None:
        """Check that none of the user's images would lose its name.

        Raises:
            ConfigurationError: A name belongs to an image that no sandbox made.
            RemoteError: The daemon does not answer.
        """
        with self._client("inspect") as client:
            taken = [name for name in references if self._made_elsewhere(client, name)]
        if taken:
            raise ConfigurationError(
                f"the Docker daemon at {self._url} has other images with the names of the sandbox's: "
                f"{', '.join(taken)}",
                hint="they are kept: choose another build with --images, or rename them (docker tag)",
            )

    def remove(self, references: Iterable[str], registries: Iterable[str]) -> None:
        """Remove the sandbox's images, and those from its registries; others stay.

        Args:
            references: Names from the sandbox.
            registries: Hosts with ports, which only occur in names of the sandbox's images.

        Raises:
            RemoteError: The daemon does not answer, or a container still uses an image.
        """
        hosts = tuple(f"{host}/" for host in registries)
        with self._client("remove the sandbox's images") as client:
            known = [name for image in client.images() for name in image.get("RepoTags") or ()]
            ours = [name for name in known if name.startswith(hosts)]
            ours += [name for name in references if name in known and not self._made_elsewhere(client, name)]
            for name in ours:
                with contextlib.suppress(NotFound):
                    client.remove_image(name)

    def check_reach(self, registry: str) -> None:
        """Check that the daemon reaches a registry of the sandbox on 127.0.0.1.

        Args:
            registry: Host and port of a registry without a login.

        Raises:
            ConfigurationError: It does not: it is on another machine, or in a separate network.
            RemoteError: The daemon does not answer.
        """
        with self._client("ask for an image of the sandbox's registry") as client:
            try:
                client.inspect_distribution(f"{registry}/sandbox/none:1")  # type: ignore[no-untyped-call]  # untyped in types-docker
            except NotFound:
                return
            except APIError as error:
                raise ConfigurationError(
                    f"the Docker daemon at {self._url} does not reach the sandbox's registry on {registry}: "
                    f"{error.explanation or error}",
                    hint="it must share this machine's network; set DOCKER_HOST to use another daemon",
                ) from error

    def foreign_network(self) -> int | None:
        """Return the pid of the daemon if it is in another network namespace, as rootless Docker is.

        None if it is in this one, or if that is unknown because it does not listen on a local socket.
        """
        path = self._url.removeprefix("unix://")
        if path == self._url:
            return None
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_TIMEOUT_S)
            probe.connect(path)
            size = struct.calcsize("3i")  # struct ucred of unix(7): who called listen(2)
            pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
            there, here = (Path(f"/proc/{who}/ns/net").readlink() for who in (pid, "self"))
            return int(pid) if there != here else None
        return None

    @contextlib.contextmanager
    def _client(self, what: str) -> Iterator[docker.APIClient]:
        with translated(self._url, what):
            client = connect(connection_settings(self._url, os.environ), _WORK_S)
            with contextlib.closing(client):
                yield client

    @staticmethod
    def _made_elsewhere(client: docker.APIClient, name: str) -> bool:
        try:
            return not is_demo_image(client.inspect_image(name))  # type: ignore[no-untyped-call]
        except NotFound:
            return False
