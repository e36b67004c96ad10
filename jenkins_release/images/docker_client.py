"""Connecting to a Docker daemon, and translating what goes wrong between here and it."""

from __future__ import annotations

import contextlib
import http.client
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException
from docker.utils import kwargs_from_env, parse_repository_tag

from jenkins_release.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.images.push_answer import is_transient

DEFAULT_URL = "unix:///var/run/docker.sock"
"""Where a daemon listens unless it is told otherwise."""

_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}|[0-9a-f]{64}")
_FOREIGN = (
    DockerException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)


def connection_settings(base_url: str | None, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return where the daemon is and how to reach it.

    Args:
        base_url: Its URL; None takes ``DOCKER_HOST``, ``DOCKER_TLS_VERIFY`` and
            ``DOCKER_CERT_PATH``, as the Docker command line does.
        environ: The environment.

    Returns:
        ``base_url``, and ``tls`` where it applies.

    Raises:
        ConfigurationError: The TLS settings name files that are not there, or the URL holds a
            password.
    """
    try:
        # An empty mapping would make docker read the real environment.
        found = kwargs_from_env(dict(environ)) if environ and base_url is None else {}
    except DockerException as error:
        raise ConfigurationError(
            f"the Docker TLS settings in the environment cannot be used: {error}",
            hint="check DOCKER_TLS_VERIFY and DOCKER_CERT_PATH",
        ) from error
    settings: dict[str, Any] = {"base_url": base_url or DEFAULT_URL, **found}
    try:
        parts = urlsplit(settings["base_url"])
    except ValueError as error:
        raise ConfigurationError(f"the Docker daemon's URL cannot be used: {error}") from error
    if parts.password is not None:
        # Refused before the SDK, which would show it in its own messages.
        raise ConfigurationError(
            f"the Docker daemon's URL ({parts.scheme}://{parts.hostname}) holds a password",
            hint="take it out of DOCKER_HOST: Docker authenticates by TLS certificates or over SSH",
        )
    return settings


def connect(settings: Mapping[str, Any], timeout_s: float) -> docker.APIClient:
    """Connect, and agree on a version of the API.

    Raises:
        RemoteError: No daemon answers; ``retryable`` unless the socket may not be used.
        ConfigurationError: The URL is not one of a daemon.
    """
    url = settings["base_url"]
    with translated(url, "connect"):
        try:
            return docker.APIClient(**settings, version="auto", timeout=timeout_s)  # type: ignore[arg-type]
        except DockerException as error:
            # Without a cause it is not the network: the URL itself cannot be used.
            if error.__cause__ is None:
                raise ConfigurationError(
                    f"the Docker daemon's URL {url!r} cannot be used: {error}",
                    hint="DOCKER_HOST is such as unix:///var/run/docker.sock or tcp://host:2376",
                ) from error
            raise


@contextlib.contextmanager
def translated(url: str, what: str) -> Iterator[None]:
    """Translate the errors of the Docker SDK and of the transport below it.

    Args:
        url: The daemon, for the message.
        what: What was tried, for the message.

    Raises:
        RemoteError: As :func:`_translate` says.
    """
    try:
        yield
    except ReleaseError:
        raise
    except _FOREIGN as error:
        raise _translate(error, url, what) from error


def with_tag(reference: str) -> str:
    """Return the reference with its tag: without one, Docker would take all tags, not ``latest``."""
    _, tag = parse_repository_tag(reference)
    if tag or _IMAGE_ID.fullmatch(reference):
        return reference
    return f"{reference}:latest"


def api_url(client: docker.APIClient, path: str) -> str:
    """Return the URL of a path of the daemon's API, for requests that the SDK has no method for."""
    return f"{client.base_url}/v{client.api_version}{path}"


def answer_message(answer: requests.Response) -> str:
    """Return the daemon's message in an answer that is not a success."""
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}: {answer.text[:200]}"


def no_such_image(url: str, reference: str) -> ConfigurationError:
    """Return the error that a daemon does not have an image."""
    return ConfigurationError(
        f"the Docker daemon at {url} has no image {reference}",
        hint="build, load or pull it first; `docker image ls` shows what there is",
    )


def daemon_error(url: str, what: str, message: str) -> RemoteError:
    """Return the error for a message of the daemon's own."""
    if "no space left on device" in message:
        return RemoteError(
            f"{what}: the disk of the Docker daemon at {url} is full: {message}",
            hint="free disk space on the daemon's data root (docker system prune, docker info)",
        )
    return RemoteError(f"{what}: the Docker daemon at {url} says: {message}", retryable=is_transient(message))


def _translate(error: BaseException, url: str, what: str) -> RemoteError:
    causes = list(_causes(error))
    if isinstance(error, APIError):
        return daemon_error(url, what, str(error.explanation or error))
    if any(isinstance(cause, PermissionError) for cause in causes):
        return RemoteError(
            f"{what}: this user may not use the Docker daemon's socket {url}",
            hint="add the user to the group that owns the socket (usually docker), and log in again",
        )
    if any(isinstance(cause, FileNotFoundError | ConnectionRefusedError) for cause in causes):
        return RemoteError(
            f"{what}: no Docker daemon answers at {url}",
            hint="start the daemon, or set DOCKER_HOST to where it listens",
            retryable=True,
        )
    if any(
        isinstance(cause, TimeoutError | requests.Timeout | urllib3.exceptions.TimeoutError)
        for cause in causes
    ):
        return RemoteError(
            f"{what}: the Docker daemon at {url} did not answer in time",
            hint="look at the daemon's load and its log",
            retryable=True,
        )
    return RemoteError(
        f"{what}: the connection to the Docker daemon at {url} broke: {error}",
        hint="the daemon may have been stopped: look at its log",
        retryable=True,
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all that it wraps: urllib3 and requests keep causes in ``args`` too."""
    waiting, seen = [error], set[int]()
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        wrapped = [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
        waiting += [item for item in wrapped if isinstance(item, BaseException)]
