"""Pulls an image from a registry into a daemon (``POST /images/create``)."""

from __future__ import annotations

from collections.abc import Callable

import requests
from docker.auth import encode_header

from jenkins_release.base.errors import RemoteError
from jenkins_release.images.docker_client import api_url, daemon_error, translated
from jenkins_release.images.docker_daemon import Daemon
from jenkins_release.images.push_answer import error_of
from jenkins_release.registry.protocol import RegistryLogin


class PullRefused(RemoteError):
    """The daemon answers, but says that it cannot pull the image."""


def pull_image(
    client: Daemon, repository: str, digest: str, login: RegistryLogin, check: Callable[[], None]
) -> None:
    """Pull an image by digest, and read every line of the daemon's answer.

    Args:
        client: The daemon.
        repository: Repository, with its registry.
        digest: Digest of the manifest.
        login: Credentials for the registry, sent with this call only.
        check: Called for each line. What it raises ends the pull: a daemon tries a layer again for minutes.

    Raises:
        PullRefused: The daemon could not pull it.
        RemoteError: The daemon failed.
    """
    what = f"pull {repository}@{digest}"
    auth = {"username": login.username, "password": login.password, "serveraddress": login.registry}
    call = client.call("pull")
    with translated(client.url, what):
        with call:
            answer = client.post(
                api_url(client, "/images/create"),
                params={"fromImage": repository, "tag": digest},
                headers={"X-Registry-Auth": encode_header(auth)},
                stream=True,
                timeout=client.timeout_s,
            )
        with answer:
            if answer.status_code != requests.codes.ok:
                raise _refused(client.url, what, client.message(answer, call))
            for line in client.lines(answer, call, what):
                check()
                if message := error_of(line):
                    raise _refused(client.url, what, message)


def _refused(url: str, what: str, message: str) -> PullRefused:
    error = daemon_error(url, what, message)
    return PullRefused(error.message, hint=error.hint)
