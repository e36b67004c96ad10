"""What teams run today: the docker command line, skopeo, sha256sum and smbclient, on the same servers."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3

from benchmarks.child import Usage, run_child
from jenkins_release.base.errors import RemoteError
from jenkins_release.sandbox.ecr.state import REGION
from jenkins_release.sandbox.process import LOOPBACK, find_program
from jenkins_release.sandbox.stack import CANDIDATE_SHARE, Sandbox

_SAVE = """
docker=$0 host=$1 target=$2
shift 2
"$docker" -H "$host" save "$@" | dd of="$target" bs=1M iflag=fullblock conv=fsync status=none
"""


class Peers:
    """The other side of every pair. Each call is one command in a process of its own.

    Args:
        stack: The sandbox.
        folder: Where local copies stand, as on an agent's disk.
        environ: The environment that leads to the sandbox.
    """

    def __init__(self, stack: Sandbox, folder: Path, environ: Mapping[str, str]) -> None:
        self._stack = stack
        self._folder = folder
        self._docker = find_program("docker", "docker.io")
        self._smbclient = find_program("smbclient", "smbclient")
        self._skopeo = find_program("skopeo", "skopeo")
        self._environ = {
            **environ,
            "DOCKER_CONFIG": str(folder / "docker-config"),
            # smbclient takes its password from here: not on a command line.
            "PASSWD": environ["JENKINS_RELEASE_SMB_PASSWORD"],
        }

    @property
    def registry(self) -> str:
        """Host and port of the registry."""
        return self._stack.ecr.host

    def docker(self, *words: str, discard: bool = False) -> Usage:
        """Run the docker command line against the sandbox's daemon."""
        return self._run([self._docker, "-H", self._stack.docker_host, *words], discard=discard)

    def save_onto_disk(self, references: Sequence[str], target: Path) -> Usage:
        """Write ``docker save`` to a file of this machine, flushed: what daemon and disk need together."""
        words = ["sh", "-c", _SAVE, self._docker, self._stack.docker_host, str(target), *references]
        return self._run(words)

    def skopeo_copy(self, archive: Path, reference: str, target: str) -> Usage:
        """Copy an image of a docker archive to the registry; needs :meth:`log_in`.

        Args:
            archive: The archive.
            reference: Which of its images.
            target: ``host/repository:tag``.
        """
        login = str(self._folder / "docker-config" / "config.json")
        words = [self._skopeo, "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"]
        words += ["--authfile", login, f"docker-archive:{archive}:{reference}", f"docker://{target}"]
        return self._run(words)

    def skopeo_copy_all(self, archive: Path, target: str) -> Usage:
        """Copy an image for several platforms from an OCI layout to the registry; needs :meth:`log_in`."""
        login = str(self._folder / "docker-config" / "config.json")
        words = [self._skopeo, "copy", "--all", "--quiet", "--insecure-policy", "--dest-tls-verify=false"]
        return self._run([*words, "--authfile", login, f"oci-archive:{archive}", f"docker://{target}"])

    def sha256sum(self, path: Path) -> Usage:
        """Hash a local file."""
        return self._run(["sha256sum", str(path)])

    def put(self, path: Path, target: str, *, encrypt: bool, port: int | None = None) -> Usage:
        """Copy a local file to the share with smbclient, and see it on the server's disk.

        Our writer asks the server to flush each file (MS-SMB2 section 2.2.17), smbclient has no such
        command: the same ``fsync`` on the server's side counts as its time.

        Args:
            path: The local file.
            target: Path below the share's root; its folder must be there.
            encrypt: Whether the connection is encrypted; signed it is in any case.
            port: Port that leads to the server; its own by default.
        """
        stored = self._stack.share_folder / target
        copied = self._smb(f'put "{path}" "{target}"', encrypt=encrypt, port=port)
        return copied.plus(self._run(["sync", str(stored)]))

    def get(self, source: str, path: Path, *, encrypt: bool, port: int | None = None) -> Usage:
        """Copy a file of the share to a local one with smbclient; arguments as :meth:`put`."""
        return self._smb(f'get "{source}" "{path}"', encrypt=encrypt, port=port)

    def plain_copy(self, path: Path, target: str) -> Usage:
        """Copy a local file into the folder behind the share, flushed: what the disk allows."""
        stored = self._stack.share_folder / target
        return self._run(["dd", f"if={path}", f"of={stored}", "bs=1M", "conv=fsync", "status=none"])

    def log_in(self) -> None:
        """Log the docker command line in to the registry; skopeo reads the same file."""
        data = self._ecr().get_authorization_token()["authorizationData"][0]
        user, _, token = base64.b64decode(data["authorizationToken"]).decode().partition(":")
        words = [self._docker, "login", "--username", user, "--password-stdin", self._stack.ecr.host]
        done = subprocess.run(
            words, env=self._environ, input=token, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RemoteError(f"docker login to {self._stack.ecr.host} failed: {done.stderr.strip()}")

    def make_repositories(self, prefix: str, names: Sequence[str]) -> None:
        """Make repositories where they are missing, so that no side has to."""
        client = self._ecr()
        for name in names:
            try:
                client.create_repository(repositoryName=f"{prefix}/{name}")
            except client.exceptions.RepositoryAlreadyExistsException:
                continue

    def _smb(self, command: str, *, encrypt: bool, port: int | None) -> Usage:
        server = f"//{LOOPBACK}/{CANDIDATE_SHARE}"
        protection = "encrypt" if encrypt else "sign"
        words = [self._smbclient, server, "--port", str(port or self._stack.samba.port)]
        words += ["--user", self._stack.samba.user, f"--client-protection={protection}"]
        # No configuration of this machine: that of the sandbox's server has none for clients either.
        words += ["--configfile", os.devnull, "--command", command]
        return self._run(words)

    def _run(self, words: list[str], *, discard: bool = False) -> Usage:
        return run_child(words, self._environ, self._folder, discard=discard)

    def _ecr(self) -> Any:
        return boto3.client(
            "ecr",
            region_name=REGION,
            endpoint_url=self._stack.ecr.endpoint,
            aws_access_key_id=self._environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self._environ["AWS_SECRET_ACCESS_KEY"],
        )
