"""A daemon over SSH, as ``DOCKER_HOST=ssh://...`` of the Docker command line: the extra ``ssh``."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import paramiko
import pytest

from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.images import ArchiveReader, DockerEngine
from tests.fixtures.listener import Listener


class _Account(paramiko.ServerInterface):
    """Lets one key in, and runs the command that it is given."""

    def __init__(self, key: paramiko.PKey, environ: dict[str, str]) -> None:
        self._key = key
        self._environ = environ

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = username == "ci" and key == self._key
        return paramiko.AUTH_SUCCESSFUL if known else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._run, args=(channel, command), daemon=True).start()
        return True

    def _run(self, channel: paramiko.Channel, command: bytes) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command.decode().split(), env=self._environ, bufsize=0, **pipes) as process:
            threading.Thread(target=_pump, args=(channel, process), daemon=True).start()
            while piece := os.read(process.stdout.fileno(), 32 << 10):
                channel.sendall(piece)
        with suppress(EOFError):  # the client may have gone already
            channel.close()


def _pump(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
    while piece := channel.recv(32 << 10):
        process.stdin.write(piece)
    process.stdin.close()


class Host:
    """A machine to which ``ci`` may connect by SSH; ``home`` is the caller's home folder."""

    def __init__(self, folder: Path, daemon: str) -> None:
        self.home = folder
        self._host_key = paramiko.ECDSAKey.generate()
        key = paramiko.ECDSAKey.generate()
        self.key_file = folder / ".ssh" / "id_ecdsa"
        self.key_file.parent.mkdir()
        key.write_private_key_file(str(self.key_file))
        self._account = _Account(key, {"DOCKER_HOST": daemon, "PATH": os.environ["PATH"], "HOME": "/"})
        self._transports: list[paramiko.Transport] = []
        self._listener = Listener(self._taken)
        self.name = f"127.0.0.1:{self._listener.port}"

    def know(self, key: paramiko.PKey | None = None) -> None:
        """Write a key, by default the right one, to the caller's known_hosts."""
        key = key or self._host_key
        host, _, port = self.name.partition(":")
        line = f"[{host}]:{port} {key.get_name()} {key.get_base64()}\n"
        (self.home / ".ssh" / "known_hosts").write_text(line)

    def close(self) -> None:
        """End all connections."""
        self._listener.close()
        for transport in self._transports:
            transport.close()

    def _taken(self, connection: socket.socket) -> None:
        transport = paramiko.Transport(connection)
        transport.add_server_key(self._host_key)
        transport.start_server(event=threading.Event(), server=self._account)
        self._transports.append(transport)


@pytest.fixture
def host(tmp_path: Path, docker_daemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """The private daemon's machine."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    made = Host(tmp_path, docker_daemon.base_url)
    yield made
    made.close()


def test_images_are_described_and_saved_over_ssh(host: Host, demo_images: list[str]):
    """With the account's key and known_hosts, as `ssh` itself."""
    host.know()
    with DockerEngine(f"ssh://ci@{host.name}") as engine:
        assert engine.inspect(demo_images[0]).platform == "linux/amd64"
        reader = ArchiveReader()
        for chunk in engine.save(demo_images[:1]):
            reader.feed(chunk)
    assert reader.finish().images[0].references == (demo_images[0],)


def test_an_ssh_host_that_is_unknown_or_lets_nobody_in_is_a_mistake(host: Host):
    """No other attempt mends it; a command that fails over there may be mended."""
    url = f"ssh://ci@{host.name}"
    for prepare, why in (
        (lambda: None, "not found in known_hosts"),
        (lambda: host.know(paramiko.ECDSAKey.generate()), "does not match"),
        (lambda: (host.know(), host.key_file.unlink()), "No authentication methods"),
        (
            lambda: paramiko.ECDSAKey.generate().write_private_key_file(str(host.key_file)),
            "Authentication failed",
        ),
    ):
        prepare()
        with pytest.raises(ConfigurationError, match=f"no connection by SSH .*{why}") as caught:
            DockerEngine(url).ping()
        assert "known_hosts" in caught.value.hint
    host.close()
    with pytest.raises(RemoteError) as broken:
        DockerEngine(url).ping()
    assert broken.value.retryable
    assert broken.value.hint == f"`ssh ci@{host.name} docker version` must work without a prompt"
