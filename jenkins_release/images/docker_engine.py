"""A Docker daemon, used through the low-level client of the Docker SDK.

The high-level client reports a failed push as a success (docker-py #2226) and saves one image per call. Here,
every line of an answer is read, and one call saves all images.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

from docker.auth import encode_header, resolve_repository_name
from docker.errors import DockerException, NotFound
from docker.utils import parse_repository_tag

from jenkins_release.base.errors import ConfigurationError, IntegrityError
from jenkins_release.base.progress import Progress, SilentProgress
from jenkins_release.base.waits import LEAST_RATE
from jenkins_release.images.archive import ArchiveReader
from jenkins_release.images.docker_client import (
    api_url,
    connect,
    connection_settings,
    daemon_error,
    no_such_image,
    not_a_daemon,
    translated,
    with_tag,
)
from jenkins_release.images.docker_daemon import Daemon
from jenkins_release.images.docker_load import load_archive
from jenkins_release.images.docker_pull import pull_image, require_complete
from jenkins_release.images.docker_save import save_images
from jenkins_release.images.protocol import EngineInfo, LocalImage
from jenkins_release.images.push_answer import push_error, read_push_answer
from jenkins_release.oci.platforms import normalise
from jenkins_release.registry.protocol import RegistryLogin

_log = logging.getLogger(__name__)

_NOT_FOUND = 404
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CLASSIC_DRIVERS = {
    "overlay2",
    "fuse-overlayfs",
    "btrfs",
    "zfs",
    "vfs",
    "aufs",
    "devicemapper",
    "windowsfilter",
}


_CONTAINERD = "io.containerd.snapshotter"
"""What ``docker info`` says about the containerd image store."""


class DockerEngine:
    """The daemon at a URL. The first call connects to it.

    Args:
        base_url: The daemon's URL; None looks for it as the Docker command line does.
        timeout_s: Longest silence of the daemon in a short call, in seconds.
        stream_timeout_s: Longest silence in save, load and push, in seconds; before the first byte of a save,
            the daemon writes all layers to its disk.
        least_rate: Bytes a second below which a save, load or push does not count as progress.
        environ: The environment.
        progress: Receives the bytes that pushes send, and those that are read for a config digest.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        timeout_s: float = 60.0,
        stream_timeout_s: float = 1800.0,
        least_rate: int = LEAST_RATE,
        environ: Mapping[str, str] = os.environ,
        progress: Progress | None = None,
    ) -> None:
        self._base_url = base_url
        self._environ = environ
        self._timeout_s = timeout_s
        self._stream_timeout_s = stream_timeout_s
        self._least_rate = least_rate
        self._progress = progress or SilentProgress()
        self._connected: Daemon | None = None
        self._streaming: Daemon | None = None
        self._classic: bool | None = None

    @property
    def url(self) -> str:
        """The daemon's URL, as shown in messages."""
        return str(connection_settings(self._base_url, self._environ)["base_url"])

    def ping(self) -> None:
        """Check that the daemon answers. Raises RemoteError or ConfigurationError if it does not."""
        with translated(self.url, "ping"):
            self._client().ping()

    def info(self) -> EngineInfo:
        """Describe the daemon. Raises RemoteError or ConfigurationError if it does not answer."""
        found = self._info()
        platform = normalise(str(found.get("OSType") or ""), str(found.get("Architecture") or ""))
        driver = str(found.get("Driver") or "unknown")
        return EngineInfo(
            str(found.get("ServerVersion") or "unknown"),
            str(platform),
            f"containerd ({driver})" if _CONTAINERD in str(found.get("DriverStatus")) else driver,
            str(found.get("DockerRootDir") or ""),
            str(found.get("SystemTime") or ""),
        )

    def inspect(self, reference: str) -> LocalImage:
        """Describe an image.

        Raises:
            ImageNotFound: The daemon has no such image.
            ConfigurationError: The daemon's address cannot be used.
            RemoteError: The daemon does not answer.
        """
        found = self._inspect(reference)
        os, architecture = found.get("Os") or "", found.get("Architecture") or ""
        platform = ""
        if os and architecture:
            platform = str(normalise(os, architecture, found.get("Variant") or ""))
        diff_ids = tuple((found.get("RootFS") or {}).get("Layers") or ())
        size, image_id = int(found.get("Size") or 0), str(found.get("Id") or "")
        config = image_id if self._is_classic() and _DIGEST.fullmatch(image_id) else ""
        return LocalImage(reference, platform, size, diff_ids, image_id, config)

    def sizes(self, reference: str) -> tuple[int, ...]:
        """Return the bytes of an image's layers as its history has them, base first; without empty ones.

        Raises:
            ImageNotFound: The daemon has no such image.
            RemoteError: The daemon does not answer.
        """
        what = f"read the history of {reference}"
        with translated(self.url, what):
            try:
                found: Any = self._client().history(reference)  # type: ignore[no-untyped-call]  # untyped in types-docker
            except NotFound as error:
                raise no_such_image(self.url, reference) from error
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise not_a_daemon(self.url, what)
        sizes = [each.get("Size") for each in reversed(found)]
        if not all(isinstance(size, int) for size in sizes):
            raise not_a_daemon(self.url, what)
        return tuple(size for size in sizes if size)

    def save(self, references: Iterable[str]) -> Iterator[bytes]:
        """Stream one archive of all the images, shared layers once (``docker save a b c``).

        The request is made when the first chunk is requested; closing the iterator ends it.

        Args:
            references: Names of the images; one without a tag means ``latest``.

        Yields:
            The archive in chunks of about 1 MiB.

        Raises:
            ConfigurationError: The daemon lacks one of the images, or none was requested.
            RemoteError: The daemon failed or the stream was cut; what came is not an archive.
        """
        names = list(dict.fromkeys(with_tag(reference) for reference in references))
        if not names:
            raise ConfigurationError("no images to save", hint="name at least one image")
        yield from save_images(self._client(streaming=True), names)

    def load(self, archive: Iterable[bytes]) -> None:
        """Load an archive; the images get the references that the archive names.

        If ``archive`` raises, nothing is loaded and its error is raised unchanged.

        Raises:
            IntegrityError: The daemon finds the archive damaged or incomplete.
            RemoteError: The daemon failed; a full disk is not worth a retry.
        """
        loaded = load_archive(self._client(streaming=True), archive)
        _log.debug("%s: %s", self.url, "; ".join(loaded))

    def config_digest(self, reference: str) -> str:
        """Return ``sha256:...`` of the image's config JSON, for any image store of the daemon.

        In the classic store, the image ID is that digest. In other stores it is not: there the image is saved
        and the config hashed, which takes as long as reading the whole image.

        Raises:
            ConfigurationError: The daemon has no such image.
            RemoteError: The daemon failed.
        """
        found = self._inspect(reference)
        image_id = str(found.get("Id", ""))
        if self._is_classic() and _DIGEST.fullmatch(image_id):
            return image_id
        with (
            ArchiveReader(self.inspect(reference).platform or None) as reader,
            self._progress.task(f"read {reference}") as task,
        ):
            task.waits_for(f"the Docker daemon to prepare {reference}")
            for chunk in self.save([reference]):
                reader.feed(chunk)
                task.advance(len(chunk))
            digests = {image.config_digest for image in reader.finish().images}
        if len(digests) != 1:
            raise IntegrityError(f"saving {reference} gave {len(digests)} images, expected 1")
        return digests.pop()

    def tag(self, reference: str, target: str) -> None:
        """Give the image another reference. Raises ConfigurationError, RemoteError."""
        repository, tag = parse_repository_tag(target)
        with translated(self.url, f"tag {reference} as {target}"):
            try:
                self._client().tag(reference, repository, tag)
            except NotFound as error:
                raise no_such_image(self.url, reference) from error

    @property
    def may_share_loopback(self) -> bool:
        """Whether 127.0.0.1 may be the same for the daemon as for this process.

        A daemon in a virtual machine, or in a network namespace of its own, can still have another one.
        """
        found = urlsplit(self.url)
        return found.scheme in {"unix", "http+unix"} or found.hostname in {"127.0.0.1", "localhost", "::1"}

    def pull(
        self,
        repository: str,
        digest: str,
        login: RegistryLogin,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Pull an image by the digest of its manifest; layers that the daemon has are not read.

        Args:
            repository: Repository, with its registry.
            digest: Digest of the manifest.
            login: Credentials for that registry, sent with this call only.
            check: Called for each line of the answer; what it raises ends the pull.

        Raises:
            PullRefused: The daemon could not pull it, or did not fetch all of it.
            RemoteError: The daemon failed.
        """
        pull_image(self._client(streaming=True), repository, digest, login, check)
        if not self._is_classic():
            require_complete(self._client(), repository, digest)

    def push(
        self,
        reference: str,
        login: RegistryLogin,
        check: Callable[[], None] = lambda: None,
        until: float = math.inf,
    ) -> str:
        """Push a reference to its registry and return the manifest digest that the registry named.

        Args:
            reference: Name with registry and tag.
            login: Credentials for that registry, sent with this call only.
            check: Called for each line of the answer; what it raises ends the push.
            until: When it is given up, in seconds of :func:`time.monotonic`, even if no line comes.

        Raises:
            RepositoryNotFound: The registry has no such repository.
            TagConflict: The tag is immutable and names another image.
            ConfigurationError: The daemon has no such image, or the login is for another registry.
            RemoteError: Anything else; ``retryable`` if another attempt may succeed.
        """
        reference = with_tag(reference)
        repository, tag = parse_repository_tag(reference)
        registry = _registry_of(reference)
        if registry != _bare_host(login.registry):
            raise ConfigurationError(
                f"{reference} goes to the registry {registry}, but the login is for {login.registry}",
                hint="tag the image with the registry's name first",
            )
        auth = {"username": login.username, "password": login.password, "serveraddress": login.registry}
        client = self._client(streaming=True)
        with translated(self.url, f"push {reference}"), self._progress.task(f"push {reference}") as task:
            task.waits_for("the Docker daemon")
            call = client.call("push", until=until)
            with call:
                answer = client.post(
                    api_url(client, f"/images/{quote(repository, safe='/:')}/push"),
                    params={"tag": tag},
                    headers={"X-Registry-Auth": encode_header(auth)},
                    stream=True,
                    timeout=client.timeout_s,
                )
            with answer:
                if not answer.ok:
                    message = client.message(answer, call)
                    if answer.status_code == _NOT_FOUND:
                        raise push_error(reference, message)
                    raise daemon_error(self.url, f"push {reference}", message)
                lines = _checked(client.lines(answer, call, f"push {reference}"), check)
                return read_push_answer(reference, tag or "", lines, task)

    def names(self) -> tuple[str, ...]:
        """Return every name of an image, by tag and by digest. Raises RemoteError."""
        with translated(self.url, "list images"):
            found: Any = self._client().images()
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise not_a_daemon(self.url, "list images")
        kinds = ("RepoTags", "RepoDigests")
        return tuple(str(name) for each in found for kind in kinds for name in each.get(kind) or ())

    def untag(self, reference: str) -> None:
        """Remove a reference, and the image with its last one. The reference may be missing.

        Raises:
            RemoteError: A container uses the image, or the daemon failed.
        """
        with translated(self.url, f"untag {reference}"):
            try:
                self._client().remove_image(with_tag(reference))
            except NotFound:
                _log.debug("%s: %s was not there to be removed", self.url, reference)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        for client in (self._connected, self._streaming):
            if client is not None:
                client.close()
        self._connected = self._streaming = None

    def __enter__(self) -> DockerEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _client(self, *, streaming: bool = False) -> Daemon:
        known = self._streaming if streaming else self._connected
        if known is not None:
            return known
        settings = connection_settings(self._base_url, self._environ)
        client = connect(settings, self._stream_timeout_s if streaming else self._timeout_s, self._least_rate)
        if streaming:
            self._streaming = client
        else:
            self._connected = client
        return client

    def _inspect(self, reference: str) -> dict[str, Any]:
        with translated(self.url, f"inspect {reference}"):
            try:
                found: dict[str, Any] = self._client().inspect_image(reference)  # type: ignore[no-untyped-call]  # untyped in types-docker
            except NotFound as error:
                raise no_such_image(self.url, reference) from error
        return _image(found, self.url, f"inspect {reference}")

    def _is_classic(self) -> bool:
        """Whether the daemon is known to use the classic image store (``docker info``)."""
        if self._classic is None:
            info = self._info()
            containerd = _CONTAINERD in str(info.get("DriverStatus"))
            self._classic = not containerd and str(info.get("Driver")) in _CLASSIC_DRIVERS
        return self._classic

    def _info(self) -> dict[str, Any]:
        with translated(self.url, "info"):
            found = self._client().info()
        if not isinstance(found, dict):
            raise not_a_daemon(self.url, "info")
        return found


def _checked(lines: Iterator[dict[str, Any]], check: Callable[[], None]) -> Iterator[dict[str, Any]]:
    for line in lines:
        check()
        yield line


def _image(found: Any, url: str, what: str) -> dict[str, Any]:
    """Check the types of the fields that are read from an image's description."""
    texts = ("Id", "Os", "Architecture", "Variant")
    if not isinstance(found, dict):
        raise not_a_daemon(url, what)
    layers = root.get("Layers") or [] if isinstance(root := found.get("RootFS") or {}, dict) else None
    right = (
        all(isinstance(found.get(name) or "", str) for name in texts)
        and isinstance(found.get("Size") or 0, int)
        and isinstance(layers, list)
        and all(isinstance(layer, str) for layer in layers)
    )
    if not right:
        raise not_a_daemon(url, what)
    return found


def _registry_of(reference: str) -> str:
    repository, _ = parse_repository_tag(reference)
    try:
        registry, _ = resolve_repository_name(repository)
    except DockerException as error:
        raise ConfigurationError(f"{reference!r} is not the name of an image: {error}") from error
    return _bare_host(str(registry))


def _bare_host(registry: str) -> str:
    host = registry.removeprefix("https://").removeprefix("http://").split("/", 1)[0]
    return "docker.io" if host == "index.docker.io" else host
