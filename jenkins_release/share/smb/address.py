r"""Where a share is: ``\\server\share\folder``, ``//server/share/folder`` or ``smb://server:port/share``."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.names import name_problem

SMB_PORT = 445
"""TCP port of direct-hosted SMB (MS-SMB2 section 2.1)."""

_SERVER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_HINT = r"write \\server\share, \\server\share\folder or smb://server:port/share/folder"


@dataclass(frozen=True)
class SmbAddress:
    r"""A folder of an SMB share: the root for a :class:`~jenkins_release.share.SmbShare` sees.

    Attributes:
        server: Host name or IP address; the domain for a domain-based DFS path.
        share: Name of the share, or of the DFS root.
        folder: Names of the folders below it; empty for the whole share.
        port: TCP port.
    """

    server: str
    share: str
    folder: tuple[str, ...] = ()
    port: int = SMB_PORT

    def __str__(self) -> str:
        return self.path("")

    def path(self, below: str) -> str:
        r"""Return the UNC path of ``below`` (``/`` between its names), for people."""
        names = below.split("/") if below else []
        return "\\\\" + "\\".join([self.server, self.share, *self.folder, *names])

    @classmethod
    def parse(cls, location: str) -> SmbAddress:
        r"""Read an address from the configuration.

        Args:
            location: ``\\server\share\folder`` with either slash, or ``smb://server:port/share/folder``
                with percent-escapes.

        Raises:
            ConfigurationError: It is neither of these, or contains a user or password.
        """
        if location.lower().startswith("smb://"):
            server, port, names = _split_url(location)
        else:
            server, port, names = _split_unc(location)
        # An IPv6 address came through urlsplit, which checked it.
        if ":" not in server and not _SERVER.fullmatch(server):
            raise ConfigurationError(f"share {location!r}: {server!r} is not a server name", hint=_HINT)
        if not names:
            raise ConfigurationError(f"share {location!r} names a server but no share on it", hint=_HINT)
        for name in names:
            problem = name_problem(name)
            if problem is not None:
                raise ConfigurationError(f"share {location!r}: the name {name!r} {problem}", hint=_HINT)
        return cls(server, names[0], tuple(names[1:]), port)


def is_smb(location: str) -> bool:
    """Whether ``location`` is an SMB address rather than a folder of this machine."""
    return location.startswith(("\\\\", "//")) or location.lower().startswith("smb://")


def _split_unc(location: str) -> tuple[str, int, list[str]]:
    plain = location.replace("\\", "/")
    if not plain.startswith("//"):
        raise ConfigurationError(f"share {location!r} is not an SMB address", hint=_HINT)
    server, *names = plain[2:].rstrip("/").split("/")
    if ":" in server or "@" in server:
        raise ConfigurationError(
            "an SMB address in UNC form must not contain a port or a user",
            hint="for another port write smb://server:port/share; the user and password come separately",
        )
    return server, SMB_PORT, names


def _split_url(location: str) -> tuple[str, int, list[str]]:
    try:
        url = urlsplit(location)
        port = url.port
        server = url.hostname or ""
    except ValueError as error:
        # The location is left out on purpose: it may contain a password.
        raise ConfigurationError("the smb:// address has an invalid server or port", hint=_HINT) from error
    if url.username is not None or url.password is not None or url.query or url.fragment:
        raise ConfigurationError(
            f"the smb:// address of {server!r} contains a user, a password, a query or a fragment",
            hint="write smb://server:port/share/folder; the user and password come separately",
        )
    names = [unquote(name) for name in url.path.strip("/").split("/")] if url.path.strip("/") else []
    return server, port or SMB_PORT, names
