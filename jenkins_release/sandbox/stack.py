"""The whole sandbox: every server that a release needs, on free loopback ports, in one folder.

The credentials in the folder open only this sandbox; their file has mode 0600.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, field
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.images import DockerEngine
from jenkins_release.sandbox.aws.moto_server import MotoServer
from jenkins_release.sandbox.dockerd import DockerDaemon
from jenkins_release.sandbox.domain.domain import Domain
from jenkins_release.sandbox.front.server import EcrServer
from jenkins_release.sandbox.needs import check_needs
from jenkins_release.sandbox.process import (
    REMOVAL_S,
    OneServer,
    cleaned_up_after_failure,
    free_port,
    run_as_root,
)
from jenkins_release.sandbox.registry import RegistryServer
from jenkins_release.sandbox.relay import Relay
from jenkins_release.sandbox.saas import CLUSTER, create_services, saas_toml
from jenkins_release.sandbox.samba import SambaServer, SambaShare
from jenkins_release.sandbox.sample_images import build_images, demo_references
from jenkins_release.sandbox.shared_daemon import Look, SharedDaemon, look_for_daemon

CANDIDATE_SHARE = "release_candidate"
RELEASE_SHARE = "releases"
_STATE_FILE = "sandbox.json"
_IMAGES_FILE = "images.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _State:
    """The parts of a sandbox, so that another process can find it."""

    samba_port: int
    registry_port: int
    ecr_port: int
    moto_port: int
    own_docker: bool
    docker_host: str
    smb_user: str
    smb_password: str = field(repr=False)
    key_passphrase: str = field(repr=False)
    in_domain: bool = False


@contextlib.contextmanager
def ended_after(clean_up: Callable[[], None]) -> Iterator[None]:
    """Clean up after the block, whether or not it fails."""
    with cleaned_up_after_failure(clean_up):
        yield
    clean_up()


class Sandbox:
    """Docker, Samba, a registry, ECR and the rest of AWS on loopback.

    Args:
        folder: Folder of the sandbox.
        environ: The environment; if it names a daemon, that is used instead of a private one.
        in_domain: Whether a new sandbox has its share in a domain, in whose network everything runs.
    """

    def __init__(
        self, folder: Path, *, environ: Mapping[str, str] | None = None, in_domain: bool = False
    ) -> None:
        self.folder = folder.resolve()
        self._in_domain = in_domain
        self.domain: Domain | None = None
        self._environ = os.environ if environ is None else environ
        self._state = self._read()
        if self._state is not None:
            self._make(self._state)

    @property
    def exists(self) -> bool:
        """Whether there is a sandbox in the folder."""
        return self._state is not None

    @property
    def running(self) -> bool:
        """Whether the sandbox was started and all its servers are running."""
        return self._state is not None and all(self.servers().values())

    @property
    def share_location(self) -> str:
        """The share of the release candidates, for ``release.toml``."""
        return self._shares.location(CANDIDATE_SHARE)

    @property
    def release_location(self) -> str:
        """The share of the published releases, for ``release.toml``."""
        return self._shares.location(RELEASE_SHARE)

    @property
    def release_folder(self) -> Path:
        """The folder behind the share of the published releases."""
        return self.folder / "shares" / RELEASE_SHARE

    @property
    def share_folder(self) -> Path:
        """The folder behind the share."""
        return self.folder / "shares" / CANDIDATE_SHARE

    def start(self, *, tied: bool = False) -> None:
        """Start every server that is not running.

        Until the last of them has started, they end with the calling process.

        Args:
            tied: End the servers started here when the calling process ends; see :meth:`untie`.

        Raises:
            ConfigurationError: The machine lacks something: the reasons name everything, and nothing was
                created. Or the existing Docker daemon does not reach the sandbox's registry.
            RemoteError: A server did not start; everything started so far is stopped.
        """
        if self.running:
            return
        state = self._state
        new = state is None
        in_domain = self._in_domain if state is None else state.in_domain
        if in_domain:
            # A daemon outside of its network would not reach the registry in it.
            state = state or self._new_state(Look("", "the domain has a network of its own"))
            check_needs(own_docker=True, daemon="the domain has a network of its own", domain=True)
        elif state is None or not state.own_docker:
            look = look_for_daemon(
                self._environ if state is None else {**self._environ, "DOCKER_HOST": state.docker_host}
            )
            if state is not None and look.trouble:
                raise ConfigurationError(
                    f"the sandbox in {self.folder} began with the Docker daemon at {state.docker_host}, "
                    f"which can no longer be used: {look.trouble}",
                    hint="start that daemon, or remove the sandbox: jenkins-release sandbox stop --remove",
                )
            state = state or self._new_state(look)
            check_needs(own_docker=state.own_docker, daemon=look.trouble)
        else:
            check_needs(own_docker=True, daemon="this sandbox began with its own daemon")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._make(state)
        self._write(state)
        with cleaned_up_after_failure(self._stop_and_forget if new else self.stop):
            if self.docker is not None:
                self.docker.start(tied=True)
            self._start_shares()
            self.registry.start(tied=True)
            self.ecr.start(tied=True)
            self.moto.start(tied=True)
            if self.docker is None:
                self._reach()
        if not tied:
            self.untie()

    def _start_shares(self) -> None:
        if self.domain is None:
            self.samba.start(tied=True)
            return
        for server in self.domain.file_servers.values():
            for name in (CANDIDATE_SHARE, RELEASE_SHARE):
                (server.shares["data"].path / name).mkdir(parents=True, exist_ok=True)
        self.domain.start(tied=True)

    def enter(self, words: Sequence[str]) -> list[str]:
        """Return the command that runs another one where the servers are: in the domain's network, if any.

        Raises:
            ConfigurationError: This user may not enter it.
        """
        if self.domain is None and not self._in_domain:
            return list(words)
        domain = self.domain or Domain(self.folder / "domain")
        return list(words) if domain.entered else domain.enter(words)

    def untie(self) -> None:
        """Let the servers stay when this process ends."""
        for server in self._servers():
            server.untie()

    def stop(self) -> None:
        """Stop every server by its pid, and keep what they stored.

        Raises:
            RemoteError: One of them does not end.
        """
        with contextlib.ExitStack() as stack:  # each one, whatever happens to the others
            for server in self._servers():
                stack.callback(server.stop)

    def _stop_and_forget(self) -> None:
        """Undo a first start: with another Docker daemon, the next one may work."""
        self.stop()
        if self.docker is None:  # otherwise root owns a folder, which only remove() removes
            (self.folder / _STATE_FILE).unlink()
            self._state = None

    def _servers(self) -> tuple[OneServer | Domain, ...]:
        if self._state is None:
            return ()
        own = (self.docker,) if self.docker is not None else ()
        # What names the domain's network ends last.
        return (*own, self.registry, self.ecr, self.moto, self.relay, self._shares)

    @property
    def _shares(self) -> SambaServer | Domain:
        return self.samba if self.domain is None else self.domain

    def remove(self) -> None:
        """Stop every server, and remove the folder and the sandbox's images.

        Raises:
            RemoteError: Something could not be removed; the message says what.
        """
        self.stop()
        if self._state is None:
            return
        if self.docker is not None:
            self.docker.remove_data()
        elif self._images_file.exists():
            images = self._images()
            try:
                SharedDaemon(self.docker_host).remove(images, [self.ecr.host, self.registry.host])
            except ReleaseError as error:
                raise RemoteError(
                    f"images of the sandbox stay in the Docker daemon ({', '.join(images)}): {error.message}",
                    hint="remove the sandbox again when the daemon answers; if it is gone for good, remove "
                    f"{self.folder}",
                ) from error
        shutil.rmtree(self.folder, ignore_errors=True)
        if not self.folder.exists():
            return
        # Files of root, if the daemon ran through sudo.
        if refused := run_as_root(
            ["rm", "-rf", "--one-file-system", "--", str(self.folder)], timeout_s=REMOVAL_S
        ):
            raise RemoteError(f"{self.folder} was not removed: {refused}")

    def add_images(self, version: str, build: str, *, base_size: int = 0, own_size: int = 0) -> list[str]:
        """Load the demo images of a build into the daemon; arguments as ``build_images``.

        Returns:
            The references.

        Raises:
            ConfigurationError: The daemon is shared, and has another image with such a name.
            RemoteError: The daemon failed.
        """
        references = demo_references(version, build)
        if self.docker is None:
            SharedDaemon(self.docker_host).check_free(references)
            self._write_private(_IMAGES_FILE, sorted({*self._images(), *references}))
        with DockerEngine(self.docker_host) as engine:
            return build_images(engine, version, build, base_size=base_size, own_size=own_size)

    def _reach(self) -> None:
        """Let the shared daemon reach the registries on this machine's loopback."""
        daemon = SharedDaemon(self.docker_host)
        foreign = daemon.foreign_network()
        if foreign is not None:
            self.relay.start(foreign, tied=True)
        daemon.check_reach(self.registry.host)

    @property
    def _images_file(self) -> Path:
        return self.folder / _IMAGES_FILE

    def _images(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return [str(name) for name in json.loads(self._images_file.read_text())]
        return []

    def environment(self) -> dict[str, str]:
        """Return the variables that direct the command line, boto3 and docker here.

        Raises:
            ConfigurationError: The sandbox was never started.
        """
        state = self._state
        if state is None:
            raise ConfigurationError(
                f"there is no sandbox in {self.folder}", hint="start one: jenkins-release sandbox start"
            )
        return {
            **self.moto.environment(),
            **self.ecr.environment(),
            "DOCKER_HOST": self.docker_host,
            "JENKINS_RELEASE_CONFIG": str(self.folder / "product" / "release.toml"),
            **self._account(state),
            "JENKINS_RELEASE_KEY_PASSPHRASE": state.key_passphrase,
        }

    def _account(self, state: _State) -> dict[str, str]:
        if self.domain is not None:
            return self.domain.environment()
        return {
            "JENKINS_RELEASE_SMB_USER": state.smb_user,
            "JENKINS_RELEASE_SMB_PASSWORD": state.smb_password,
        }

    def add_saas(self, names: Sequence[str], *, cluster: str = CLUSTER) -> str:
        """Create a SaaS stack on the sandbox's ECS, which does not run a release yet.

        Args:
            names: Short names of the images that its services run, one each.
            cluster: Name of the cluster.

        Returns:
            The section ``[saas]`` of ``release.toml`` for it.
        """
        import boto3

        environ = self.ecr.environment()
        client = boto3.client(
            "ecs",
            region_name=self.ecr.region,
            endpoint_url=self.ecr.endpoint,
            aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        )
        create_services(client, names, cluster=cluster)
        return saas_toml(names, self.ecr.application, cluster=cluster)

    @property
    def docker_host(self) -> str:
        """URL of the Docker daemon: the sandbox's own, or the existing one."""
        if self.docker is not None:
            return self.docker.base_url
        return self._state.docker_host if self._state else ""

    def servers(self) -> dict[str, int | None]:
        """Return the pid of each server of the sandbox, None for one that is not running."""
        shares = {"smbd": self.samba.pid()} if self.domain is None else self.domain.pids()
        found = {
            **shares,
            "docker-registry": self.registry.pid(),
            "ecr-front": self.ecr.pid(),
            "moto": self.moto.pid(),
        }
        if self.relay.needed:
            found["relay"] = self.relay.pid()
        return found if self.docker is None else {"dockerd": self.docker.pid(), **found}

    def _new_state(self, look: Look) -> _State:
        """Choose ports and create credentials; a restarted sandbox keeps both."""
        return _State(
            samba_port=free_port(),
            registry_port=free_port(),
            ecr_port=free_port(),
            moto_port=free_port(),
            own_docker=bool(look.trouble),
            docker_host=look.url,
            smb_user="release",
            smb_password=secrets.token_urlsafe(12),
            key_passphrase=secrets.token_urlsafe(12),
            in_domain=self._in_domain,
        )

    def _make(self, state: _State) -> None:
        self._state = state
        self.docker = DockerDaemon(self.folder / "docker") if state.own_docker else None
        self.domain = Domain(self.folder / "domain", data=self.folder / "shares") if state.in_domain else None
        shares = {
            CANDIDATE_SHARE: SambaShare(self.share_folder),
            RELEASE_SHARE: SambaShare(self.release_folder),
        }
        self.samba = SambaServer(
            self.folder / "samba",
            shares,
            user=state.smb_user,
            password=state.smb_password,
            port=state.samba_port,
        )
        self.registry = RegistryServer(self.folder / "registry", port=state.registry_port)
        self.moto = MotoServer(self.folder / "moto", port=state.moto_port)
        self.ecr = EcrServer(
            self.folder / "ecr", state.registry_port, port=state.ecr_port, iam=self.moto.endpoint
        )
        self.relay = Relay(self.folder / "relay", [state.registry_port, state.ecr_port])

    def _read(self) -> _State | None:
        try:
            return _State(**json.loads((self.folder / _STATE_FILE).read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise ConfigurationError(
                f"{self.folder / _STATE_FILE} is not the state of a sandbox", hint="remove the folder"
            ) from error

    def _write(self, state: _State) -> None:
        self._write_private(_STATE_FILE, asdict(state))

    def _write_private(self, name: str, document: object) -> None:
        temporary = self.folder / f".{name}.part"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(document, file)
        temporary.replace(self.folder / name)
