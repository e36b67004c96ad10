"""A private Samba server on loopback: the share of rehearsals, the demo and the tests.

``smbd`` runs in the foreground with its own configuration, password database and state folders, as root or
any other user (Debian package ``samba``). A session always acts as the user who runs the server, so files
belong to that user, whatever the login name.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.sandbox.process import LOOPBACK, OneServer, Server, find_program, free_port, listening

_PACKAGE = "samba"
_PDBEDIT_S = 60.0
_STATE = ("private", "lock", "state", "cache", "pid", "ncalrpc")


@dataclass(frozen=True)
class SambaShare:
    """One exported folder.

    Attributes:
        path: The folder; :meth:`SambaServer.start` creates it if missing.
        read_only: Whether clients may only read.
        options: More smb.conf lines of this share, such as ``{"msdfs root": "yes"}``.
    """

    path: Path
    read_only: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


class SambaServer(OneServer):
    """A Samba server with its state in one folder.

    Args:
        folder: State folder: configuration, password database, locks, log, pid file.
        shares: Exported folders by share name.
        user: Login name for clients; need not be an account of the machine.
        password: Its password; passed to ``pdbedit`` on standard input, and kept only as Samba's hash.
        port: TCP port on loopback; a free one by default.
        encrypt: smb.conf's ``smb encrypt``: ``default``, ``desired``, ``required`` or ``off``.
        options: More lines of the ``[global]`` section, which override those written here.
        launcher: Words before ``smbd``, such as ``unshare --mount``.
    """

    def __init__(
        self,
        folder: Path,
        shares: Mapping[str, SambaShare],
        *,
        user: str,
        password: str,
        port: int | None = None,
        encrypt: str = "default",
        options: Mapping[str, str] | None = None,
        launcher: Sequence[str] = (),
    ) -> None:
        self.folder = folder.resolve()
        self.shares = dict(shares)
        self.user = user
        self.port = port or free_port()
        self._password = password
        self._options = {"smb encrypt": encrypt, **(options or {})}
        self._account = pwd.getpwuid(os.geteuid()).pw_name
        self._launcher = tuple(launcher)
        self._server = Server("smbd", self.folder)

    @property
    def config_file(self) -> Path:
        """The generated smb.conf."""
        return self.folder / "smb.conf"

    def location(self, share: str, folder: str = "") -> str:
        """Return the address of a share, or of a folder in it, for the configuration.

        Args:
            share: Name of an exported folder.
            folder: Path below it, with ``/`` between the names.
        """
        return "/".join(part for part in (f"smb://{LOOPBACK}:{self.port}/{share}", folder) if part)

    def start(self, *, tied: bool = False, timeout_s: float = 60.0) -> int:
        """Write the configuration, set the password, and start the server; a running one is kept.

        Args:
            tied: End the server when the calling process dies.
            timeout_s: Longest wait until it listens, in seconds.

        Returns:
            The pid.

        Raises:
            ConfigurationError: Samba is not installed.
            RemoteError: The port is taken, or the server refused the user or its configuration, or did not
                start in time.
        """
        running = self.pid()
        if running is not None:
            return running
        smbd = find_program("smbd", _PACKAGE)
        self._write_config()
        self._set_password()
        command = [smbd, "--foreground", "--no-process-group", "--debug-stdout", "-s", str(self.config_file)]
        return self._server.start(
            [*self._launcher, *command],
            lambda: listening(self.port),
            port=self.port,
            env=_environment(),
            timeout_s=timeout_s,
            tied=tied,
        )

    def stop(self) -> None:
        """End the server and every process that serves a client."""
        self.thaw()
        self._server.stop()

    def client_pids(self) -> list[int]:
        """Return the pids of the processes that serve one client connection each."""
        pid = self.pid()
        if pid is None:
            return []
        found = []
        children = Path(f"/proc/{pid}/task/{pid}/children")
        for child in children.read_text().split():
            # smbd's helpers are titled after their job (smbd-notifyd, cleanupd); newer versions title a
            # connection's process smbd[ADDRESS].
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                title = Path(f"/proc/{child}/comm").read_text().strip()
                if title == "smbd" or title.startswith("smbd["):
                    found.append(int(child))
        return found

    def kill_clients(self) -> int:
        """Kill the processes that serve clients, like a crash, and return how many there were."""
        pids = self.client_pids()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(pids)

    def _write_config(self) -> None:
        options = {
            "workgroup": "SANDBOX",
            "server role": "standalone server",
            "smb ports": str(self.port),
            "interfaces": LOOPBACK,
            "passdb backend": f"tdbsam:{self.folder / 'private' / 'passdb.tdb'}",
            "username map": str(self._write_username_map()),
            **self._options,
        }
        write_config(self.folder, options, self.shares)

    def _write_username_map(self) -> Path:
        path = self.folder / "username.map"
        path.write_text("" if self._account == self.user else f"{self._account} = {self.user}\n")
        return path

    def _set_password(self) -> None:
        command = [find_program("pdbedit", _PACKAGE), "-s", str(self.config_file), "-a", "-t"]
        try:
            done = subprocess.run(
                [*command, "-u", self._account],
                input=f"{self._password}\n{self._password}\n",
                capture_output=True,
                text=True,
                env=_environment(),
                timeout=_PDBEDIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RemoteError(f"pdbedit did not end within {_PDBEDIT_S:.0f} s") from error
        if done.returncode != 0:
            raise RemoteError(f"pdbedit did not accept the user {self.user}: {done.stderr.strip()}")


def _environment() -> dict[str, str]:
    """Return an environment in which Samba does not ask the machine's winbindd.

    A machine that has joined a domain has one. It does not know the sandbox's users, so the server would wait
    for it, or refuse the login. The variable is libwbclient's ``WINBINDD_DONT_ENV``.
    """
    return {**os.environ, "_NO_WINBINDD": "1"}


def write_config(
    folder: Path, options: Mapping[str, str], shares: Mapping[str, SambaShare], *, seen: Path | None = None
) -> None:
    """Make the state folders, and write ``smb.conf`` for a server that keeps everything in one folder.

    Args:
        folder: State folder.
        options: Lines of the ``[global]`` section, besides those that every server here has; they win.
        shares: Exported folders by share name, which are created if missing.
        seen: Where the server sees the folder, if elsewhere.

    Raises:
        ConfigurationError: An option contains a line break.
    """
    for name in _STATE:
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = ["[global]", *_config_lines({**_common_options(seen or folder), **options})]
    for name, share in shares.items():
        share.path.mkdir(parents=True, exist_ok=True)
        own = {
            "path": str(share.path.resolve()),
            "read only": "yes" if share.read_only else "no",
            **share.options,
        }
        lines += ["", f"[{name}]", *_config_lines(own)]
    (folder / "smb.conf").write_text("\n".join(lines) + "\n")


def _common_options(folder: Path) -> dict[str, str]:
    return {
        "bind interfaces only": "yes",
        "disable netbios": "yes",
        "server min protocol": "SMB2_10",
        "server signing": "mandatory",
        "map to guest": "never",
        "private dir": str(folder / "private"),
        "lock directory": str(folder / "lock"),
        "state directory": str(folder / "state"),
        "cache directory": str(folder / "cache"),
        "pid directory": str(folder / "pid"),
        "ncalrpc dir": str(folder / "ncalrpc"),
        "load printers": "no",
        "printcap name": "/dev/null",
        "disable spoolss": "yes",
        "host msdfs": "yes",
        # Names the folder for core dumps too, which would otherwise be /var/log/samba.
        "log file": str(folder / "samba.log"),
        "log level": "1",
    }


def _config_lines(options: Mapping[str, str]) -> list[str]:
    for key, value in options.items():
        if "\n" in key or "\n" in value:
            raise ConfigurationError(f"smb.conf option {key!r} contains a line break")
    return [f"  {key} = {value}" for key, value in options.items()]
