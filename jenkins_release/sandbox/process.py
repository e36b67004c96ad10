"""Starting and ending the sandbox's servers: by pid, on loopback, with a log each."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from jenkins_release.errors import ConfigurationError, RemoteError

LOOPBACK = "127.0.0.1"
_GRACE_S = 20.0
"""Time that a server has between SIGTERM and SIGKILL."""
_SUDO_S = 5.0
"""Longest wait for ``sudo``, which may ask a directory about the user."""


def free_port() -> int:
    """Return a TCP port on loopback that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def locate_program(name: str) -> str | None:
    """Return the path of a program, also from ``sbin`` folders that are not on a user's PATH."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")


def find_program(name: str, package: str) -> str:
    """Return the path of a server program; see :func:`locate_program`.

    Raises:
        ConfigurationError: It is not installed; the hint names the Debian package.
    """
    found = locate_program(name)
    if found is None:
        raise ConfigurationError(
            f"the sandbox needs {name}, which is not installed", hint=f"apt-get install {package}"
        )
    return found


def as_root(command: Sequence[str]) -> list[str]:
    """Return the command as root runs it: unchanged for root, through ``sudo -n`` for anyone else."""
    if os.geteuid() == 0:
        return list(command)
    return [find_program("sudo", "sudo"), "-n", *command]


def root_refused() -> str:
    """Return why this user may run nothing as root; empty if :func:`as_root` works."""
    if os.geteuid() == 0:
        return ""
    sudo = locate_program("sudo")
    if sudo is None:
        return "sudo is not installed"
    try:
        # As the servers run: in a session of its own, where a password that was given counts no more.
        tried = subprocess.run(
            [sudo, "-n", "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SUDO_S,
            check=False,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"sudo does not answer: {error}"
    if tried.returncode == 0:
        return ""
    return " ".join(tried.stderr.split()) or f"sudo ended with status {tried.returncode}"


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits to be reaped, by whomever, does not."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    # The first thread may have ended while another one still holds files and mounts.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return any(_thread_runs(thread) for thread in Path(f"/proc/{pid}/task").iterdir())
    return False


def _thread_runs(thread: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        # The state stands behind the name in parentheses (proc_pid_stat(5)).
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return False


class Server:
    """A server process of the sandbox, known by the pid in its pid file.

    Args:
        name: Short name, also the name of its log file.
        folder: State folder of this server; log and pid file stand in it.
        root: Whether it runs as root (through sudo for other users).
    """

    def __init__(self, name: str, folder: Path, *, root: bool = False) -> None:
        self.name = name
        self.folder = folder
        self.root = root
        self._watchdog: tuple[subprocess.Popen[bytes], int] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def pid_file(self) -> Path:
        """Where the pid of the running server stands."""
        return self.folder / f"{self.name}.pid"

    @property
    def log_file(self) -> Path:
        """Where the server's output goes."""
        return self.folder / f"{self.name}.log"

    def start(
        self,
        command: Sequence[str],
        ready: Callable[[], bool],
        *,
        env: dict[str, str] | None = None,
        timeout_s: float = 60.0,
        tied: bool = False,
    ) -> int:
        """Start the server in a session of its own and wait until it is ready.

        Args:
            command: Program and arguments.
            ready: Asked every 50 ms whether the server answers.
            env: Whole environment of the server; the caller's by default.
            timeout_s: Longest wait for ``ready``, in seconds.
            tied: End the server when the calling process ends, even by SIGKILL.

        Returns:
            The pid.

        Raises:
            RemoteError: It ended, or was not ready in time; the message has the end of its log.
        """
        words = as_root(command) if self.root else list(command)
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True
            )
        if tied:
            self._watch(process.pid)
        self.pid_file.write_text(str(process.pid))
        end = time.monotonic() + timeout_s
        while not ready():
            if process.poll() is not None:
                self.stop()
                raise RemoteError(f"{self.name} ended with status {process.returncode}: {self._log_tail()}")
            if time.monotonic() > end:
                self.stop()
                raise RemoteError(f"{self.name} was not ready after {timeout_s:.0f} s: {self._log_tail()}")
            time.sleep(0.05)
        return process.pid

    def pid(self) -> int | None:
        """Return the pid of the running server, or None."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid = int(self.pid_file.read_text())
            if alive(pid):
                return pid
        return None

    def stop(self, timeout_s: float = _GRACE_S) -> None:
        """End the server by its pid: SIGTERM, then SIGKILL for its session after ``timeout_s`` seconds."""
        pid = self.pid()
        if pid is not None:
            self._signal(pid, signal.SIGTERM)
            end = time.monotonic() + timeout_s
            while alive(pid) and time.monotonic() < end:
                time.sleep(0.05)
            if alive(pid):
                self._signal(-pid, signal.SIGKILL)
                while alive(pid):  # the kernel ends it; that it does not is not foreseen
                    time.sleep(0.01)
        self.pid_file.unlink(missing_ok=True)
        if self._watchdog is not None:
            process, lifeline = self._watchdog
            os.close(lifeline)
            process.wait()
            self._watchdog = None

    def _watch(self, pid: int) -> None:
        """Have the server ended when this process is gone."""
        # By its path and isolated: as root, it imports nothing that a user could have put in its way.
        program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("watchdog.py"))]
        words = [*program, str(pid), str(_GRACE_S)]
        # Only this process has the lifeline: no program that it starts inherits it (PEP 446).
        watched, lifeline = os.pipe()
        try:
            process = subprocess.Popen(
                as_root(words) if self.root else words,
                stdin=watched,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(watched)
        self._watchdog = process, lifeline

    def _signal(self, pid: int, number: signal.Signals) -> None:
        if self.root and os.geteuid() != 0:
            command = as_root(["kill", f"-{number.value}", "--", str(pid)])
            subprocess.run(command, check=False, capture_output=True)
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def _log_tail(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines()
        return " / ".join(lines[-5:]) or "its log is empty"


def listening(port: int) -> bool:
    """Whether something accepts connections on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0
