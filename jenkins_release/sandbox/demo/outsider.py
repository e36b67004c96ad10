"""A consumer who has a public key and Sigstore's library for JavaScript, and does not know this program."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from jenkins_release.base.errors import RemoteError

MODULES = "SIGSTORE_MODULES"
"""Variable with the folder where npm installed ``@sigstore/verify``; ``make demo`` sets it."""
_PROGRAM = Path(__file__).with_name("sigstore_verify.js")
_TIMEOUT_S = 60.0


class Outsider:
    """Reads what refers to an image in the registry, and has Sigstore verify it.

    Args:
        modules: Where ``@sigstore/verify`` is installed.
        endpoint: URL of the registry.
        login: User and password for it.
    """

    def __init__(self, modules: str, endpoint: str, login: tuple[str, str]) -> None:
        self._modules = modules
        self._endpoint = endpoint
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.auth = login

    def verified(self, repository: str, digest: str, key: Path) -> list[str]:
        """Return the types of all statements about an image.

        Args:
            repository: The image's repository.
            digest: Digest of its manifest or index.
            key: The public key, in PEM.

        Raises:
            RemoteError: Node or the registry failed, or Sigstore refuses a statement.
        """
        return sorted(self._verify(each, key, digest) for each in self._bundles(repository, digest))

    def _bundles(self, repository: str, digest: str) -> Iterator[Any]:
        for entry in self._get(f"{repository}/referrers/{digest}")["manifests"]:
            for layer in self._get(f"{repository}/manifests/{entry['digest']}")["layers"]:
                yield self._get(f"{repository}/blobs/{layer['digest']}")

    def _get(self, path: str) -> Any:
        try:
            answer = self._http.get(f"{self._endpoint}/v2/{path}", timeout=_TIMEOUT_S)
            answer.raise_for_status()
            return answer.json()
        except requests.RequestException as error:
            raise RemoteError(f"the registry does not give {path}: {error}") from error

    def _verify(self, bundle: Any, key: Path, digest: str) -> str:
        given = json.dumps({"bundle": bundle, "key": key.read_text(), "digest": digest})
        try:
            done = subprocess.run(
                ["node", str(_PROGRAM)],
                input=given,
                env={"NODE_PATH": self._modules, "PATH": "/usr/local/bin:/usr/bin:/bin"},
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RemoteError(f"node cannot be run: {error}") from error
        if done.returncode:
            raise RemoteError(f"Sigstore's verifier refuses a statement about {digest}: {done.stderr}")
        return done.stdout


def basic_login(token: str) -> tuple[str, str]:
    """Return user and password from a token of ``GetAuthorizationToken``."""
    user, _, password = base64.b64decode(token).decode().partition(":")
    return user, password
