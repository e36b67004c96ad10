"""A private Docker daemon: its own images, socket and pid file, with nothing shared.

It runs as root. For other users, it is started through ``sudo -n``, and its socket belongs to the user's
group. Containers have no network (``--network none`` or ``host``): bridge and firewall rules would change the
machine. A daemon in its own network namespace has both.
"""

from __future__ import annotations

import contextlib
import grp
import hashlib
import json
import os
import signal
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.images.docker_engine import DockerEngine
from jenkins_release.sandbox.process import (
    KILL_S,
    REMOVAL_S,
    OneServer,
    Server,
    alive,
    find_program,
    run_as_root,
)

_MAX_RUNTIME_PATH = 60
"""Longest folder for sockets: dockerd and its containerd append up to 40 characters, and a Unix
socket's path has at most 107 (unix(7))."""

_PROGRAMS = (b"dockerd", b"containerd")


class DockerDaemon(OneServer):
    """The sandbox's Docker daemon.

    Args:
        folder: State folder: images, log and pid files.
        insecure_registries: Registries that it may reach over plain HTTP, besides 127.0.0.0/8.
        own_network: Run in a separate network namespace (network_namespaces(7)), with a bridge for containers
            and published ports, like a separate host.
        programs: Folder with ``dockerd``, and with what it starts if the installed programs are not to be
            used; None for the installed ones.
        containerd_store: Whether it keeps images in containerd's image store; None leaves that to the daemon.
            Docker 24 is the first one that can.
        options: Further options of ``dockerd``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        insecure_registries: tuple[str, ...] = (),
        own_network: bool = False,
        programs: Path | None = None,
        containerd_store: bool | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.folder = folder.resolve()
        self._insecure_registries = insecure_registries
        self._own_network = own_network
        self._programs = programs
        self._containerd_store = containerd_store
        self._options = tuple(options)
        self._server = Server("dockerd", self.folder, root=True)

    @property
    def base_url(self) -> str:
        """URL of the daemon, for ``DockerEngine`` and ``DOCKER_HOST``."""
        return f"unix://{self._runtime / 'docker.sock'}"

    @property
    def containerd(self) -> Path:
        """Socket of its containerd, for ``ctr``."""
        return self._runtime / "exec" / "containerd" / "containerd.sock"

    @property
    def environ(self) -> dict[str, str]:
        """Variables that direct the Docker command line to this daemon."""
        return {"DOCKER_HOST": self.base_url}

    def start(self, *, tied: bool = False, timeout_s: float = 60.0) -> None:
        """Start it and wait until it answers; a running one is kept.

        Args:
            tied: End it when the calling process ends, even by SIGKILL.
            timeout_s: Longest wait, in seconds.

        Raises:
            ConfigurationError: Docker is not installed, or the socket's folder belongs to someone else.
            RemoteError: It did not start; the message has the end of its log.
        """
        self._make_runtime()
        command = [
            *self._program(),
            f"--data-root={self.folder / 'data'}",
            f"--exec-root={self._runtime / 'exec'}",
            f"--pidfile={self._daemon_pid_file}",
            f"--host={self.base_url}",
            f"--group={grp.getgrgid(os.getegid()).gr_name}",
            "--ip6tables=false",
            *self._options,
        ]
        if self._containerd_store is not None:
            settings = self.folder / "daemon.json"
            settings.write_text(json.dumps({"features": {"containerd-snapshotter": self._containerd_store}}))
            command.append(f"--config-file={settings}")
        command += [f"--insecure-registry={name}" for name in ("127.0.0.0/8", *self._insecure_registries)]
        if self._own_network:
            # Each program replaces the one before, so that the pid is the daemon's.
            inside = f'{find_program("ip", "iproute2")} link set lo up && exec "$@"'
            command = [find_program("unshare", "util-linux"), "--net", "sh", "-c", inside, "sh", *command]
        else:
            command += ["--iptables=false", "--bridge=none"]
        self._server.start(command, self._answers, timeout_s=timeout_s, tied=tied)

    def stop(self, timeout_s: float = 20.0) -> None:
        """End the daemon and its containerd; images stay.

        Raises:
            RemoteError: One of them does not end.
        """
        daemon = _read_pid(self._daemon_pid_file)
        left = self._runtime / "exec" / "containerd" / "containerd.pid"
        containerd = _read_pid(left)
        self._server.stop(timeout_s)
        for pid in (daemon, containerd):
            if pid is not None:
                self._end(pid, timeout_s)
        # A daemon that was killed leaves it; the next one would wait for whatever has this number by then.
        if containerd is not None and left.exists():
            run_as_root(["rm", "-f", "--", str(left)], timeout_s=KILL_S)

    def remove_data(self) -> None:
        """Remove images, containers and sockets of the stopped daemon. Its files belong to root.

        Raises:
            ConfigurationError: The daemon is still running.
            RemoteError: Something could not be removed; the message says what.
        """
        if self.pid() is not None:
            raise ConfigurationError(
                f"the sandbox's Docker daemon in {self.folder} is still running; stop it first"
            )
        folders = [str(self.folder / "data"), str(self._runtime / "exec")]
        if self._runtime != self.folder:
            folders.append(str(self._runtime))
        folders = [folder for folder in folders if Path(folder).exists()]
        if not folders:
            return  # it was never started: root owns nothing here
        for folder in folders:
            self._unmount(folder)
        # One file system: anything mounted below must never be emptied.
        command = ["rm", "-rf", "--one-file-system", "--", *folders]
        if refused := run_as_root(command, timeout_s=REMOVAL_S):
            raise RemoteError(f"the sandbox's Docker data was not removed: {refused}")

    @property
    def _runtime(self) -> Path:
        if len(str(self.folder)) <= _MAX_RUNTIME_PATH:
            return self.folder
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return Path("/tmp") / f"jenkins-release-{os.getuid()}-{name}"  # noqa: S108 - owner and mode are checked

    @property
    def _daemon_pid_file(self) -> Path:
        return self._runtime / "docker.pid"

    def _program(self) -> list[str]:
        if self._programs is None:
            return [find_program("dockerd", "docker.io")]
        # Not as the environment of the server: sudo would not hand it on.
        path = f"{self._programs}:{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
        return ["env", f"PATH={path}", str(self._programs / "dockerd")]

    def _make_runtime(self) -> None:
        with contextlib.suppress(FileExistsError):
            self._runtime.mkdir(mode=0o700, parents=True)
        found = self._runtime.lstat()
        if self._runtime != self.folder and (
            not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077
        ):
            raise ConfigurationError(
                f"{self._runtime} is not a private folder of this user",
                hint="remove it, or choose a shorter state folder for the sandbox",
            )

    def _answers(self) -> bool:
        with DockerEngine(self.base_url, timeout_s=5.0) as engine:
            try:
                engine.ping()
            except ReleaseError:
                return False
            return True

    def _end(self, pid: int, timeout_s: float) -> None:
        """End a process of this daemon that outlived it, unless its pid belongs to another process now.

        Raises:
            RemoteError: It does not end.
        """
        refused = ""
        for number in (signal.SIGTERM, signal.SIGKILL):
            end = time.monotonic() + timeout_s
            while self._owns(pid) and time.monotonic() < end:
                refused = run_as_root(["kill", f"-{number.value}", str(pid)], timeout_s=KILL_S)
                time.sleep(0.05)
        if self._owns(pid):
            name = os.fsdecode(_read(pid, "comm").strip())
            raise RemoteError(
                f"{name}, process {pid}, does not end: {refused or 'not even after SIGKILL'}",
                hint=f"as root: kill {pid}",
            )

    def _owns(self, pid: int) -> bool:
        # A process that is ending has no command line, but may still have open files. A kernel thread has
        # none either, and a pid file from before a restart of the machine may have its number.
        line, name = _read(pid, "cmdline"), _read(pid, "comm").strip()
        own = os.fsencode(self._runtime) in line if line else name in _PROGRAMS
        return own and alive(pid)

    def _unmount(self, folder: str) -> None:
        # A daemon that was killed also leaves its data folder mounted onto itself.
        mounts = [line.split(" ")[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted((m for m in mounts if f"{m}/".startswith(f"{folder}/")), reverse=True):
            # The removal names what stays mounted.
            run_as_root(["umount", "--", mount], timeout_s=KILL_S)


def _read_pid(path: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return None


def _read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""
