"""Starts and ends the sandbox's servers: by pid, on loopback, each with a log."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.sandbox.watchdog import UNTIED, WATCHES

LOOPBACK = "127.0.0.1"
_GRACE_S = 20.0
"""Seconds between SIGTERM and SIGKILL."""
_KILLED_S = 10.0
"""Seconds for a process to end after SIGKILL: one that waits for a disk ends when the disk answers."""
KILL_S = 5.0
"""Longest wait for ``kill`` or ``umount`` through ``sudo``, which may look up the user in a directory."""
REMOVAL_S = 600.0
"""Longest wait for a removal of many gigabytes."""
_TOLD_BYTES = 16 * 1024
"""Bytes at the end of a log that are read for its last lines."""
_ENDING_S = 1.0
"""Seconds for a server to end if it was refused like its watchdog."""
_WATCHED_S = 30.0
"""Longest wait for a watchdog to begin, in seconds."""
_log = logging.getLogger(__name__)


def free_port() -> int:
    """Return a TCP port on loopback on which nothing is listening."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def locate_program(name: str) -> str | None:
    """Return the path of a program, including ``sbin`` folders that are not on a user's PATH."""
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
    """Return the command to run as root: unchanged for root, through ``sudo -n`` for anyone else."""
    if os.geteuid() == 0:
        return list(command)
    return [find_program("sudo", "sudo"), "-n", *command]


def run_as_root(command: Sequence[str], *, timeout_s: float, alone: bool = False) -> str:
    """Run a command as root, and wait for it.

    Args:
        command: Program and arguments.
        timeout_s: Longest wait, in seconds.
        alone: Run it in a separate session like servers, where ``sudo`` does not remember an earlier
            password.

    Returns:
        Why it failed, on one line; empty if it succeeded.
    """
    try:
        done = subprocess.run(
            as_root(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            start_new_session=alone,
        )
    except ConfigurationError as error:
        return error.message
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not end within {timeout_s:.0f} s"
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    if done.returncode == 0:
        return ""
    return " ".join(done.stderr.split()) or f"{command[0]} ended with status {done.returncode}"


def root_refused() -> str:
    """Return why this user cannot run anything as root; empty if :func:`as_root` works."""
    if os.geteuid() == 0:
        return ""
    if locate_program("sudo") is None:
        return "sudo is not installed"
    return run_as_root(["true"], timeout_s=KILL_S, alone=True)


def alive(pid: int) -> bool:
    """Whether the process is running; a zombie is not."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    # The first thread may have ended while another still holds files and mounts.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return any(_thread_runs(thread) for thread in Path(f"/proc/{pid}/task").iterdir())
    return False


def _thread_runs(thread: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        # The state follows the name in parentheses (proc_pid_stat(5)).
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return False


def _began(pid: int) -> int:
    """Return when a process began, in clock ticks since the boot (proc_pid_stat(5)); 0 if there is none."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return 0


def _ends(pid: int, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while alive(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def cleaned_up_after_failure(clean_up: Callable[[], None]) -> Iterator[None]:
    """Clean up if the block fails. A failure of the clean-up does not hide the cause."""
    try:
        yield
    except BaseException:
        try:
            clean_up()
        except ReleaseError as error:
            _log.warning("in addition, the sandbox was not cleaned up: %s", error)
        raise


class Server:
    """A server process of the sandbox, identified by its pid file.

    Args:
        name: Short name, also the name of its log file.
        folder: State folder of this server, with log and pid file.
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
        """Contains the pid of the running server and when it began."""
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
        port: int | None = None,
        env: dict[str, str] | None = None,
        timeout_s: float = 60.0,
        tied: bool = False,
    ) -> int:
        """Start the server in a separate session and wait until it is ready; a running one is kept.

        Args:
            command: Program and arguments.
            ready: Called every 50 ms to check whether the server answers.
            port: Loopback port that it will listen on; anything that already listens there is not the server.
            env: Whole environment of the server; the caller's by default.
            timeout_s: Longest wait for ``ready``, in seconds.
            tied: End the server when the calling process ends, even by SIGKILL. A server that was already
                running is not tied.

        Returns:
            The pid.

        Raises:
            RemoteError: The port is taken, or the server ended or was not ready in time; the message has the
                end of its log.
        """
        pid, process, begun = self.pid(), None, self._log_size()
        if pid is None:
            if port is not None and listening(port):
                raise RemoteError(
                    f"cannot start {self.name}: port {port} is taken",
                    hint="end what listens there, or remove the sandbox: a new one has other ports",
                )
            process = self._spawn(command, env)
            pid = process.pid
        with cleaned_up_after_failure(self.stop):
            if tied and process is not None:
                self._tie(process)
            end = time.monotonic() + timeout_s
            while True:
                if process is not None and process.poll() is not None:
                    status = process.returncode
                    raise RemoteError(f"{self.name} ended with status {status}: {self._log_since(begun)}")
                if ready():
                    return pid
                if time.monotonic() > end:
                    raise RemoteError(
                        f"{self.name} was not ready after {timeout_s:.0f} s: {self._log_since(begun)}"
                    )
                time.sleep(0.05)

    def pid(self) -> int | None:
        """Return the pid of the running server, or None.

        A pid that now belongs to another process, as after a restart of the machine, does not count.
        """
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid, began = map(int, self.pid_file.read_text().split())
            if alive(pid) and _began(pid) == began:
                return pid
        return None

    def stop(self, timeout_s: float = _GRACE_S) -> None:
        """End the server: SIGTERM, then SIGKILL for its session after ``timeout_s`` seconds.

        Raises:
            RemoteError: It does not end, or root is needed and refused; its pid is kept.
        """
        pid = self.pid()
        if pid is not None:
            refused = self._signal(pid, signal.SIGTERM)
            if not _ends(pid, 0.0 if refused else timeout_s):
                refused = self._signal(-pid, signal.SIGKILL)
            if not _ends(pid, 0.0 if refused else _KILLED_S):
                raise RemoteError(
                    f"{self.name}, process {pid}, does not end: {refused or 'not even after SIGKILL'}",
                    hint=f"as root: kill {pid}",
                )
        self.pid_file.unlink(missing_ok=True)
        self._leave_watchdog(b"")

    def untie(self) -> None:
        """Let the server stay when this process ends; no effect if it is not tied."""
        self._leave_watchdog(UNTIED)

    def _spawn(self, command: Sequence[str], env: dict[str, str] | None) -> subprocess.Popen[bytes]:
        words = as_root(command) if self.root else list(command)
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True
            )
        self.pid_file.write_text(f"{process.pid} {_began(process.pid)}")
        return process

    def _tie(self, process: subprocess.Popen[bytes]) -> None:
        try:
            self._watch(process.pid)
        except RemoteError:
            # Whatever refuses the watchdog may have refused the server, whose own message says more.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ENDING_S)
            if process.returncode is None:
                raise

    def _watch(self, pid: int) -> None:
        """Let the watchdog end the server when this process is gone."""
        # By its path and isolated: as root, it imports nothing that a user could have planted.
        program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("watchdog.py"))]
        words = [*program, str(pid), str(_GRACE_S)]
        # Only this process has the lifeline: no program that it starts inherits it (PEP 446).
        watched, lifeline = os.pipe()
        try:
            process = subprocess.Popen(
                as_root(words) if self.root else words,
                stdin=watched,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            os.close(lifeline)
            raise
        finally:
            os.close(watched)
        self._watchdog = process, lifeline
        self._check_watched(process)

    def _check_watched(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the watchdog reports that it is watching. Raises RemoteError if it does not."""
        said = b""
        end = time.monotonic() + _WATCHED_S
        assert process.stdout is not None
        with process.stdout as pipe:
            while WATCHES not in said and select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]:
                if not (part := os.read(pipe.fileno(), 4096)):
                    break
                said += part
        if WATCHES in said:
            return
        why = " ".join(said.decode(errors="replace").split()) or "its watchdog says nothing"
        raise RemoteError(f"{self.name} cannot be tied to this process: {why}")

    def _leave_watchdog(self, word: bytes) -> None:
        if self._watchdog is None:
            return
        (process, lifeline), self._watchdog = self._watchdog, None
        if word:
            with contextlib.suppress(BrokenPipeError):  # the server has ended, and so has the watchdog
                os.write(lifeline, word)
        os.close(lifeline)
        # Do not wait for ever for one that does not end: it works alone.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S + _KILLED_S)

    def _signal(self, pid: int, number: signal.Signals) -> str:
        """Send a signal. Return why that was refused; empty if it was not."""
        if self.root and os.geteuid() != 0:
            return run_as_root(["kill", f"-{number.value}", "--", str(pid)], timeout_s=KILL_S)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return ""

    def _log_size(self) -> int:
        return self.log_file.stat().st_size if self.log_file.exists() else 0

    def _log_since(self, begun: int) -> str:
        with self.log_file.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(begun, end - _TOLD_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return " / ".join(lines[-5:]) or "it wrote nothing to its log"


class OneServer:
    """A part of the sandbox that is one server process, in ``_server``."""

    _server: Server

    @property
    def log_file(self) -> Path:
        """Where the server's output goes."""
        return self._server.log_file

    def pid(self) -> int | None:
        """Return the pid of the running server, or None."""
        return self._server.pid()

    def stop(self) -> None:
        """End it by its pid. Raises RemoteError if it does not end."""
        self._server.stop()

    def untie(self) -> None:
        """Let it stay when this process ends."""
        self._server.untie()

    def freeze(self) -> None:
        """Freeze it and its child processes: connections stay open, but nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server continue."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)


class OnLoopback:
    """Something that answers on a port of this machine.

    Attributes:
        port: The port.
    """

    port: int

    @property
    def host(self) -> str:
        """Host and port: what precedes the first ``/`` of a pull reference."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def endpoint(self) -> str:
        """Its base URL."""
        return f"http://{self.host}"


class LoopbackServer(OnLoopback, OneServer, ABC):
    """A server process of the sandbox with a port on loopback.

    Args:
        name: See :class:`Server`.
        folder: State folder of the server.
        port: Loopback port; a free one by default.
    """

    def __init__(self, name: str, folder: Path, port: int | None) -> None:
        self.port = port or free_port()
        self._server = Server(name, folder)

    def start(self, *, tied: bool = False) -> int:
        """Start it and wait until it answers.

        Args:
            tied: End it when this process dies.

        Returns:
            The pid.

        Raises:
            ConfigurationError: Its program is not installed.
            RemoteError: It did not start.
        """
        return self._server.start(self._command(), self._answers, port=self.port, tied=tied)

    @abstractmethod
    def _command(self) -> list[str]:
        """Return its program and arguments, and prepare everything that they need."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it answers."""


def listening(port: int) -> bool:
    """Whether something accepts connections on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0
