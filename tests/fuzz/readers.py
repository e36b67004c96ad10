"""The Go programs of Debian that customers use: what they read from an archive or a manifest."""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True)
class Reading:
    """What a program took from an archive.

    Attributes:
        images: Config digest to the ``diff_ids`` of the layers that were taken.
        names: Name to config digest.
        whole: Whether images without a name are among them.
    """

    images: dict[str, tuple[str, ...]]
    names: dict[str, str]
    whole: bool = True


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self._path)


class Docker:
    """A daemon of its own: whatever it holds was read from the archive or pulled.

    Args:
        base_url: Where it listens.
    """

    def __init__(self, base_url: str) -> None:
        self._path = base_url.removeprefix("unix://")

    def load(self, archive: bytes) -> Reading | str:
        """Load an archive; returns why it was refused, or what was read."""
        return self._taken("POST", "/images/load?quiet=1", archive)

    def pull(self, name: str) -> Reading | str:
        """Pull an image by name."""
        return self._taken("POST", f"/images/create?fromImage={quote(name, safe='')}", b"")

    def _taken(self, method: str, path: str, body: bytes) -> Reading | str:
        try:
            status, answer = self._call(method, path, body)
            failed = status >= 400 or b'"error"' in answer
            found = {
                image["Id"]: self._json("GET", f"/images/{image['Id']}/json")
                for image in self._json("GET", "/images/json?all=1")
            }
            if failed:
                return answer.decode(errors="replace")[-300:]
            return Reading(
                {digest: tuple(image["RootFS"].get("Layers") or ()) for digest, image in found.items()},
                {tag: digest for digest, image in found.items() for tag in image["RepoTags"] or ()},
            )
        finally:
            for image in self._json("GET", "/images/json?all=1"):
                self._call("DELETE", f"/images/{image['Id']}?force=1")

    def _json(self, method: str, path: str) -> Any:
        return json.loads(self._call(method, path)[1])

    def _call(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        connection = _Unix(self._path)
        try:
            connection.request(method, path, body, {"Content-Type": "application/x-tar"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (BrokenPipeError, ConnectionResetError):
            # It answers before it has read the whole.
            return 400, b"the connection was closed"
        finally:
            connection.close()


class Skopeo:
    """``skopeo copy`` into a folder: it hashes every byte that it takes.

    Args:
        folder: Where to put archive and copy.
    """

    def __init__(self, folder: Path) -> None:
        self._archive = folder / "archive.tar"
        self._copy = folder / "copy"

    def archive(self, data: bytes, names: list[str], transport: str) -> Reading | str:
        """Read the images of those names from an archive.

        Args:
            data: The archive.
            names: Names of images; of an OCI archive what stands behind the colon.
            transport: ``docker-archive`` or ``oci-archive``.
        """
        self._archive.write_bytes(data)
        images, tags = {}, {}
        for name in names:
            shown = name if transport == "docker-archive" else name.rpartition(":")[2]
            found = self._copied(f"{transport}:{self._archive}:{shown}")
            if isinstance(found, str) and "no descriptor found for reference" in found:
                # Named for containerd alone, which skopeo does not look at: it is asked for the only image.
                found = self._copied(f"{transport}:{self._archive}")
            if isinstance(found, str):
                return found
            config, diff_ids = found
            images[config], tags[name] = diff_ids, config
        return Reading(images, tags, whole=False)

    def everything(self, data: bytes) -> frozenset[str] | str:
        """Copy an image with all its platforms from an OCI layout.

        Returns:
            Digests of all that was copied, the index included; or why it was refused.
        """
        self._archive.write_bytes(data)
        if refused := self._fetched(f"oci-archive:{self._archive}", "--all"):
            return refused
        found = set()
        for file in self._copy.iterdir():
            if file.name != "version":
                found.add(f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}")
        return frozenset(found)

    def manifest(self, name: str) -> str:
        """Copy an image from a registry; returns why it was refused, empty where it was not."""
        return self._fetched(f"docker://{name}")

    def _fetched(self, source: str, *options: str) -> str:
        shutil.rmtree(self._copy, ignore_errors=True)
        command = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", *options]
        done = subprocess.run([*command, source, f"dir:{self._copy}"], capture_output=True, check=False)
        return done.stderr.decode(errors="replace")[-300:] or "?" if done.returncode else ""

    def _copied(self, source: str) -> tuple[str, tuple[str, ...]] | str:
        if refused := self._fetched(source):
            return refused
        config = json.loads((self._copy / "manifest.json").read_bytes())["config"]["digest"]
        data = (self._copy / config[7:]).read_bytes()
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == config
        return config, tuple(json.loads(data)["rootfs"].get("diff_ids") or ())
