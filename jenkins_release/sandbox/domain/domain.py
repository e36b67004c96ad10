"""The domain as a whole: names, addresses, accounts, and its DFS namespace."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from jenkins_release.base.errors import RemoteError
from jenkins_release.sandbox.domain import network
from jenkins_release.sandbox.domain.controller import DomainController, Names
from jenkins_release.sandbox.domain.file_server import DomainFileServer
from jenkins_release.sandbox.domain.tools import run_tool
from jenkins_release.sandbox.process import OneServer, cleaned_up_after_failure
from jenkins_release.sandbox.samba import SambaShare

NAMES = Names("corp.example", "CORP", "dc1", "10.88.0.1")
USER = "release"
"""Who acts in the sandbox: the account of the agents."""
USERS = (USER, "quinn")
"""All accounts; ``quinn`` is a tester's."""
ROOT = "share"
"""Name of the domain's DFS root."""
LINKS = Path("/run/samba/dfs")
"""Where the links below the root are, in the domain's own ``/run/samba``: its users may look there, while the
sandbox's folder may be closed to them."""
_SEEN = Path("/run/samba/domain")
"""Where the servers see the domain's folder, whose own path may be too long for their sockets (unix(7))."""
_SERVERS = {"fs1": "10.88.0.2", "fs2": "10.88.0.3"}
_ALIASES = ("files", "old")
"""Other names of ``fs1``: one has no service principal, that of the other belongs to another account."""
_OPTIONS = {"fs2": {"gensec:ntlmssp": "no"}}
_OURS = "JENKINS_RELEASE_SANDBOX_DOMAIN"
"""Variable that marks the domain's processes: they leave helpers behind, in sessions of their own."""


class Domain:
    r"""An Active Directory domain ``corp.example``, in a network of its own.

    ``dc1`` is the controller, and serves the DFS root ``\\corp.example\share``. ``fs1`` and ``fs2`` are file
    servers with a share ``data`` each, the targets of ``\\corp.example\share\data``; ``fs2`` takes Kerberos
    only. The users are ``release`` and ``quinn``, with a password and a keytab each.

    Args:
        folder: State folder.
        data: Folder that ``fs1`` shares; one of its own by default.
        password: The users' password; made up by default, for those who log in with their keytabs.
        lifetime: How long tickets live, as ``krb5.conf`` writes it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        data: Path | None = None,
        password: str | None = None,
        lifetime: str = "10h",
    ) -> None:
        self.folder = folder.resolve()
        self.password = password or _new_password()
        self._lifetime = lifetime
        environ = {**os.environ, "KRB5_CONFIG": str(self.krb5_conf), _OURS: str(self.folder)}
        folders = {"fs1": data or self.folder / "shares" / "fs1", "fs2": self.folder / "shares" / "fs2"}
        self.controller = DomainController(
            *(self.folder / "dc1", _SEEN / "dc1", NAMES, environ),
            roots={ROOT: LINKS},
            hosts={**_SERVERS, **dict.fromkeys(_ALIASES, _SERVERS["fs1"])},
            principals={"quinn": f"cifs/{NAMES.host(_ALIASES[1])}"},
        )
        self.file_servers = {
            name: DomainFileServer(
                *(self.folder / name, _SEEN / name, name, address, NAMES, environ),
                shares={"data": SambaShare(folders[name])},
                users=USERS,
                options=_OPTIONS.get(name),
            )
            for name, address in _SERVERS.items()
        }

    @property
    def krb5_conf(self) -> Path:
        """How Kerberos finds the domain."""
        return self.folder / "krb5.conf"

    @property
    def keytab(self) -> Path:
        """The Kerberos keys of ``release``."""
        return self.keytab_of(USER)

    def keytab_of(self, user: str) -> Path:
        """Return where the Kerberos keys of a user are."""
        return self.folder / f"{user}.keytab"

    @property
    def entered(self) -> bool:
        """Whether this process runs in a domain's network."""
        return network.is_own(NAMES.address)

    def enter(self, words: Sequence[str]) -> list[str]:
        """Return the command that runs another one in the domain's network, which is made if it is not there.

        Raises:
            ConfigurationError: This user may not, or a program is missing.
        """
        network.check_root()
        pid = next((pid for pid in self.pids().values() if pid is not None), None)
        if pid is not None:
            return network.enter(words, pid)
        resolver = f"search {NAMES.realm}\nnameserver {NAMES.address}\noptions timeout:2\n"
        return network.begin(words, [NAMES.address, *_SERVERS.values()], resolver)

    def start(self, *, tied: bool = False) -> None:
        """Start everything that does not run, in the network of this process.

        Args:
            tied: End it when the calling process dies.

        Raises:
            ConfigurationError: The machine lacks a program.
            RemoteError: This is no domain's network, or something did not start; what did is stopped.
        """
        if not self.entered:
            raise RemoteError("a domain starts in a network of its own", hint="enter it first")
        self.folder.mkdir(parents=True, exist_ok=True)
        complete = self.folder / "complete"
        if not complete.exists():
            # What is left of a first start that was interrupted has other passwords.
            for name in ("dc1", *self.file_servers):
                shutil.rmtree(self.folder / name, ignore_errors=True)
        self.krb5_conf.write_text(_krb5_conf(self._lifetime))
        if not _SEEN.is_mount():
            _SEEN.mkdir(exist_ok=True)
            run_tool(["mount", "--bind", str(self.folder), str(_SEEN)], environ=os.environ)
        administrator = _new_password()
        with cleaned_up_after_failure(self.stop):
            passwords = {**dict.fromkeys(USERS, self.password), "Administrator": administrator}
            self.controller.start(passwords, {user: self.keytab_of(user) for user in USERS}, tied=True)
            for server in self.file_servers.values():
                server.start(administrator, tied=True)
            self.link("data", *(rf"{server.host}\data" for server in self.file_servers.values()))
            complete.touch()
        if not tied:
            self.untie()

    def link(self, name: str, *targets: str) -> None:
        r"""Make a DFS link below the root, or replace it.

        Args:
            name: Name of the link, with ``/`` between folders.
            targets: ``server\share`` or ``server\share\folder``, in order of preference.
        """
        path = LINKS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to("msdfs:" + ",".join(targets))

    def location(self, share: str) -> str:
        r"""Return the address of a folder behind ``\\corp.example\share\data``, for the configuration."""
        return rf"\\{NAMES.realm}\{ROOT}\data\{share}"

    def environment(self) -> dict[str, str]:
        """Return the variables with which a command in the network acts as ``release``, by its keytab."""
        return {
            "KRB5_CONFIG": str(self.krb5_conf),
            "KRB5_CLIENT_KTNAME": f"FILE:{self.keytab}",
            "KRB5CCNAME": f"FILE:{self.folder / 'tickets'}",
        }

    def pids(self) -> Mapping[str, int | None]:
        """Return the pid of each server, None for one that does not run."""
        return {
            "samba-dc1": self.controller.pid(),
            **{f"smbd-{name}": server.pid() for name, server in self.file_servers.items()},
            **{f"winbindd-{name}": server.logons_pid() for name, server in self.file_servers.items()},
        }

    def untie(self) -> None:
        """Let the servers stay when this process ends."""
        for server in self._servers():
            server.untie()

    def stop(self) -> None:
        """Stop every server, and end the helpers that they leave behind.

        Raises:
            RemoteError: One of them does not end.
        """
        with contextlib.ExitStack() as stack:
            stack.callback(self._end_helpers)
            for server in self._servers():
                stack.callback(server.stop)

    def _servers(self) -> tuple[OneServer, ...]:
        return (self.controller, *self.file_servers.values())

    def _end_helpers(self) -> None:
        mark = f"{_OURS}={self.folder}".encode()
        for each in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if each.name.isdigit() and mark in (each / "environ").read_bytes().split(b"\0"):
                    os.kill(int(each.name), signal.SIGKILL)


def _new_password() -> str:
    """Return a password with letters of both cases, a digit and a sign, as the domain's policy demands."""
    return f"{secrets.token_urlsafe(12)}-1aA"


def _krb5_conf(lifetime: str) -> str:
    lines = [
        "[libdefaults]",
        f"  default_realm = {NAMES.realm.upper()}",
        "  dns_lookup_kdc = true",
        "  dns_lookup_realm = false",
        "  rdns = false",
        f"  ticket_lifetime = {lifetime}",
    ]
    return "\n".join(lines) + "\n"
