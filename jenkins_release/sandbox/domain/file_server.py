"""A file server that is a member of the domain: Samba's ``smbd`` with an account in the directory."""

from __future__ import annotations

import os
import pwd
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from jenkins_release.base.errors import RemoteError
from jenkins_release.base.waits import pause
from jenkins_release.sandbox.domain.controller import Names
from jenkins_release.sandbox.domain.network import listening
from jenkins_release.sandbox.domain.tools import run_tool
from jenkins_release.sandbox.process import OneServer, Server, find_program
from jenkins_release.sandbox.samba import SambaShare, write_config

_PORT = 445
_JOINS = 10
"""How often joining is tried."""
_JOIN_S = 1.0
_FOREGROUND = ("--foreground", "--no-process-group", "--debug-stdout")


class DomainFileServer(OneServer):
    """A file server of the domain, with its own name and address.

    Args:
        folder: State folder.
        seen: Where it sees that folder: sockets have short paths.
        name: Host name, without the domain.
        address: IPv4 address in the network in which this process runs.
        names: The domain.
        environ: Its environment.
        shares: Exported folders by share name.
        users: Names of the accounts that may use them; what they write belongs to the calling user.
        options: More lines of the ``[global]`` section, which override those written here.
    """

    def __init__(
        self,
        folder: Path,
        seen: Path,
        name: str,
        address: str,
        names: Names,
        environ: Mapping[str, str],
        *,
        shares: Mapping[str, SambaShare],
        users: Sequence[str],
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self._seen = seen
        self.name = name
        self.address = address
        self.shares = dict(shares)
        self._names = names
        self._environ = dict(environ)
        self._users = tuple(users)
        self._options = dict(options or {})
        self._server = Server(f"smbd-{name}", self.folder)
        # It asks the controller about whoever logs in.
        self._logons = Server(f"winbindd-{name}", self.folder)

    @property
    def host(self) -> str:
        """Its full name."""
        return self._names.host(self.name)

    @property
    def config_file(self) -> Path:
        """The generated smb.conf."""
        return self._seen / "smb.conf"

    def start(self, administrator: str, *, tied: bool = False) -> None:
        """Join the domain if it has not, and start; a running one is kept.

        Args:
            administrator: Password of the domain's administrator, for joining.
            tied: End it when the calling process dies.

        Raises:
            ConfigurationError: Samba is not installed.
            RemoteError: It could not join, or did not start.
        """
        if self.pid() is not None and self.logons_pid() is not None:
            return
        self._write_config()
        joined = self.folder / "joined"
        if not joined.exists():
            self._join(administrator)
            joined.touch()
        pipe = self.folder / "run" / "winbindd" / "pipe"
        if self.logons_pid() is None:
            # What an earlier one left is no answer.
            pipe.unlink(missing_ok=True)
        self._logons.start(
            self._inside([find_program("winbindd", "winbind"), *_FOREGROUND, "-s", str(self.config_file)]),
            pipe.exists,
            env=self._environ,
            tied=tied,
        )
        self._server.start(
            self._inside([find_program("smbd", "samba"), *_FOREGROUND, "-s", str(self.config_file)]),
            lambda: listening(self.address, _PORT),
            env=self._environ,
            tied=tied,
        )

    def logons_pid(self) -> int | None:
        """Return the pid of what asks the controller about logins, or None."""
        return self._logons.pid()

    def stop(self) -> None:
        """End it, and what asks the controller for it. Raises RemoteError if one of them does not end."""
        super().stop()
        self._logons.stop()

    def untie(self) -> None:
        """Let it stay when this process ends."""
        super().untie()
        self._logons.untie()

    def _inside(self, words: Sequence[str]) -> list[str]:
        """Return the command with a ``/run/samba`` of this server's own."""
        own = self.folder / "run"
        around = self._seen.parent
        # What is mounted over /run/samba hides the domain's folder in it.
        (own / around.name).mkdir(parents=True, exist_ok=True)
        lines = [
            "set -e",
            f"mount --bind {shlex.quote(str(own))} /run/samba",
            f"mount --bind {shlex.quote(str(self.folder.parent))} {around}",
            'exec "$@"',
        ]
        unshare = find_program("unshare", "util-linux")
        return [unshare, "--mount", "sh", "-c", "\n".join(lines), "sh", *words]

    def _join(self, administrator: str) -> None:
        net = find_program("net", "samba-common-bin")
        words = [net, "ads", "join", "-U", "Administrator", "-s", str(self.config_file)]
        # A server that refuses NTLM would not even join by itself.
        words.append("--option=gensec:ntlmssp=yes")
        environ = {**self._environ, "PASSWD_FD": "0"}
        for left in reversed(range(_JOINS)):
            try:
                run_tool(self._inside(words), environ=environ, told=administrator)
                return
            except RemoteError:
                # A controller that listens already may not answer every question yet.
                if not left:
                    raise
            pause(_JOIN_S, "the domain controller to take a member")

    def _write_config(self) -> None:
        account = pwd.getpwuid(os.geteuid()).pw_name
        users = " ".join(rf"{self._names.short}\{user}" for user in self._users)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "username.map").write_text(f"!{account} = {users}\n")
        options = {
            "workgroup": self._names.short,
            "realm": self._names.realm.upper(),
            "netbios name": self.name.upper(),
            "server role": "member server",
            "security": "ads",
            "interfaces": self.address,
            "smb ports": str(_PORT),
            "username map": str(self.folder / "username.map"),
            # The account behind may be root, whose uid is 0.
            "min domain uid": "0",
            **self._options,
        }
        write_config(self.folder, options, self.shares, seen=self._seen)
