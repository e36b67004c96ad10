"""Pulls an image from a registry into a daemon (``POST /images/create``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests
from docker.auth import encode_header

from jenkins_release.images.docker_client import api_url, daemon_error, not_a_daemon, translated
from jenkins_release.images.docker_daemon import Daemon
from jenkins_release.images.protocol import PullRefused
from jenkins_release.images.push_answer import error_of
from jenkins_release.registry.protocol import RegistryLogin


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


def require_complete(client: Daemon, repository: str, digest: str) -> None:
    """Check that containerd's image store has all of an image that was pulled.

    Up to Docker 29, it does not fetch a layer that it unpacked before from another file: the same layer, but
    compressed in another way (moby #49784). Containers of the image run, but it is not listed, cannot be
    saved, and its layers may be missing from the images that are built on it.

    Args:
        client: The daemon.
        repository: Repository that it was pulled from.
        digest: Digest of the manifest.

    Raises:
        PullRefused: The daemon lacks a part.
        RemoteError: The daemon failed.
    """
    what = f"pull {repository}@{digest}"
    with translated(client.url, what):
        # Docker 26 does not list what is not complete; later versions say so of each manifest (API 1.47).
        answer = client.get(
            api_url(client, "/images/json"), params={"manifests": "1"}, timeout=client.timeout_s
        )
        if answer.status_code != requests.codes.ok:
            raise daemon_error(client.url, what, answer.text)
        listed: Any = answer.json()
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise not_a_daemon(client.url, what)
    for image in listed:
        manifests = image.get("Manifests") or ()
        if image.get("Id") == digest and (
            not manifests or any(isinstance(each, dict) and each.get("Available") for each in manifests)
        ):
            return
    raise PullRefused(
        f"{what}: the Docker daemon at {client.url} does not fetch layers that it has unpacked from another "
        "file before, so the image would be incomplete (moby #49784)",
        hint='with load.source = "auto" the archives are loaded, and the daemon has our files from then on',
    )


def _refused(url: str, what: str, message: str) -> PullRefused:
    error = daemon_error(url, what, message)
    return PullRefused(error.message, hint=error.hint)
