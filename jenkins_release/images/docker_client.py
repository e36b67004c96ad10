"""Connects to a Docker daemon, and translates its errors and those of the connection."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from docker.credentials.errors import StoreError
from docker.errors import APIError, DockerException, StreamParseError
from docker.utils import parse_repository_tag
from docker.utils.socket import SocketError

from jenkins_release.base.causes import causes, is_broken_tls
from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.base.waits import LEAST_RATE
from jenkins_release.http.exchange import FOREIGN
from jenkins_release.images.docker_address import find_daemon
from jenkins_release.images.docker_daemon import Daemon
from jenkins_release.images.protocol import ImageNotFound
from jenkins_release.images.push_answer import is_transient

_WANTS_TLS = "HTTP request to an HTTPS server"
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}|[0-9a-f]{64}")
_FOREIGN = (*FOREIGN, DockerException, SocketError, StoreError, StreamParseError)


def connection_settings(base_url: str | None, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return where the daemon is and how to reach it, for the SDK.

    Args:
        base_url: Its address; None looks for it as the Docker command line does.
        environ: The environment.

    Returns:
        ``base_url``, and ``tls`` if it is used.

    Raises:
        ConfigurationError: As :func:`~jenkins_release.images.docker_address.find_daemon`.
    """
    found = find_daemon(base_url, environ)
    return {"base_url": found.url} if found.tls is None else {"base_url": found.url, "tls": found.tls}


def connect(settings: Mapping[str, Any], timeout_s: float, least_rate: int = LEAST_RATE) -> Daemon:
    """Connect, and agree on a version of the API.

    Args:
        settings: As :func:`connection_settings` returns them.
        timeout_s: Longest silence of the daemon, in seconds.
        least_rate: Bytes a second below which a transfer does not count as progress.

    Raises:
        RemoteError: No daemon answers; ``retryable`` unless permission for the socket is missing.
        ConfigurationError: The URL does not belong to a daemon.
    """
    url = settings["base_url"]
    path = Path(url.removeprefix("unix://"))
    with translated(url, "connect"):
        if str(path) != url and path.exists() and not path.is_socket():
            raise ConfigurationError(
                f"the Docker daemon's address {url!r} cannot be used: {path} is not a socket",
                hint="by default, a local daemon listens on /var/run/docker.sock",
            )
        try:
            return Daemon(settings, timeout_s, least_rate)
        except (DockerException, ValueError, TypeError, AttributeError) as error:
            # Without a cause, it is not the network: the URL itself is unusable. Docker answers with JSON.
            cause = error.__cause__
            if url.startswith("ssh://") and not isinstance(error, DockerException):
                raise  # what paramiko could not read
            other = isinstance(cause, APIError) and cause.is_client_error() and _WANTS_TLS not in str(cause)
            if isinstance(cause, ReleaseError):
                raise cause from error
            if other or isinstance(cause, KeyError | TypeError | requests.JSONDecodeError | None):
                raise ConfigurationError(
                    f"the Docker daemon's URL {url!r} cannot be used: {error}",
                    hint="set DOCKER_HOST to where a daemon listens: unix:///var/run/docker.sock, "
                    "tcp://host:2376",
                ) from error
            raise


@contextlib.contextmanager
def translated(url: str, what: str) -> Iterator[None]:
    """Translate the errors of the Docker SDK and of the transport below it.

    Args:
        url: The daemon, for the message.
        what: What was tried, for the message.

    Raises:
        RemoteError: The daemon or the way to it failed.
        ConfigurationError: Daemon and settings do not match.
    """
    try:
        yield
    except ReleaseError:
        raise
    except _foreign(url) as error:
        raise _translate(error, url, what) from error


def with_tag(reference: str) -> str:
    """Return the reference with a tag: without one, Docker would take all tags, not ``latest``."""
    _, tag = parse_repository_tag(reference)
    if tag or _IMAGE_ID.fullmatch(reference):
        return reference
    return f"{reference}:latest"


def api_url(client: Daemon, path: str) -> str:
    """Return the URL of a path of the daemon's API, for requests that have no method in the SDK."""
    return f"{client.base_url}/v{client.api_version}{path}"


def no_such_image(url: str, reference: str) -> ImageNotFound:
    """Return the error for an image that a daemon does not have."""
    return ImageNotFound(
        f"the Docker daemon at {url} has no image {reference}",
        hint="build, load or pull it first; `docker image ls` lists the images",
    )


def not_a_daemon(url: str, what: str) -> RemoteError:
    """Return the error for an answer that cannot be from a daemon."""
    return RemoteError(
        f"{what}: the answer from {url} is not a Docker daemon's JSON",
        hint="check what listens there, and the daemon's log",
        retryable=True,
    )


def daemon_error(url: str, what: str, message: str) -> RemoteError:
    """Return the error for a message from the daemon itself."""
    if "no space left on device" in message:
        return RemoteError(
            f"{what}: the disk of the Docker daemon at {url} is full: {message}",
            hint="free some space on the daemon's data root (docker system prune, docker info)",
        )
    return RemoteError(f"{what}: the Docker daemon at {url} says: {message}", retryable=is_transient(message))


def _foreign(url: str) -> tuple[type[Exception], ...]:
    """Return what the SDK raises or lets through."""
    # paramiko raises in the caller's thread whatever ends its reading thread.
    return (Exception,) if url.startswith("ssh://") else _FOREIGN


def _translate(error: BaseException, url: str, what: str) -> ReleaseError:
    found = list(causes(error))
    if refused := _settings_error(error, found, url, what):
        return refused
    if isinstance(error, APIError):
        return daemon_error(url, what, str(error.explanation or error))
    if any(isinstance(cause, PermissionError) for cause in found):
        return RemoteError(
            f"{what}: this user may not use the Docker daemon's socket {url}",
            hint="add the user to the group that owns the socket (usually docker), and log in again",
        )
    if any(isinstance(cause, FileNotFoundError | ConnectionRefusedError) for cause in found):
        return RemoteError(
            f"{what}: no Docker daemon answers at {url}",
            hint="start the daemon, or set DOCKER_HOST to where it listens",
            retryable=True,
        )
    if any(isinstance(cause, socket.gaierror) for cause in found):
        return RemoteError(
            f"{what}: the host {urlsplit(url).hostname!r} of {url} cannot be found",
            hint="check the spelling of the Docker daemon's address, and this machine's DNS",
            retryable=True,
        )
    if any(isinstance(cause, requests.JSONDecodeError) for cause in found):
        return not_a_daemon(url, what)
    # In urllib3, every failed connection is a kind of timeout.
    late, failed = urllib3.exceptions.TimeoutError, urllib3.exceptions.NewConnectionError
    if any(
        isinstance(cause, TimeoutError | requests.Timeout | late) and not isinstance(cause, failed)
        for cause in found
    ):
        return RemoteError(
            f"{what}: the Docker daemon at {url} did not answer in time",
            hint="check the daemon's load and log, or increase docker.timeout_s",
            retryable=True,
        )
    hint = "the daemon may have been stopped: check its log"
    if url.startswith("ssh://"):
        hint = f"`ssh {url.removeprefix('ssh://')} docker version` must work without a prompt"
    return RemoteError(
        f"{what}: the connection to the Docker daemon at {url} broke: {str(error) or type(error).__name__}",
        hint=hint,
        retryable=True,
    )


def _settings_error(
    error: BaseException, found: list[BaseException], url: str, what: str
) -> ConfigurationError | None:
    """Return the error if daemon and settings do not match, which another attempt cannot fix."""
    if _WANTS_TLS in str(error):
        return ConfigurationError(
            f"{what}: the Docker daemon at {url} requires TLS",
            hint="set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the folder with ca.pem, cert.pem, key.pem",
        )
    for cause in found:
        if isinstance(cause, ssl.SSLError) and not is_broken_tls(cause):
            # Only OpenSSL's errors set ``reason``.
            reason = getattr(cause, "reason", None) or cause
            return ConfigurationError(
                f"{what}: the TLS settings do not match the Docker daemon at {url}: {reason}",
                hint="check DOCKER_TLS_VERIFY, DOCKER_CERT_PATH and the port: 2376 uses TLS, 2375 does not",
            )
    paramiko = sys.modules.get("paramiko")
    if paramiko is None:
        return None
    if isinstance(error, paramiko.hostkeys.InvalidHostKey):
        return ConfigurationError(
            f"{what}: a line of ~/.ssh/known_hosts has no valid key: {error.line}",
            hint="remove the line; `ssh-keyscan` prints the key of a host in the right form",
        )
    if not isinstance(error, paramiko.SSHException):
        return None
    refused = (paramiko.AuthenticationException, paramiko.BadHostKeyException)
    if isinstance(error, refused) or re.search("known_hosts|No authentication methods", str(error)):
        return ConfigurationError(
            f"{what}: no connection by SSH to the Docker daemon at {url}: {error}",
            hint="the host's key must be in ~/.ssh/known_hosts, and the account's key in ~/.ssh or an agent",
        )
    return None
