"""From a configured location to a share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.lazy_imports import left_for_later
from jenkins_release.base.retry import RetryPolicy
from jenkins_release.base.waits import LEAST_RATE
from jenkins_release.share.folder.share import DirectoryShare
from jenkins_release.share.protocol import Share
from jenkins_release.share.smb.address import SmbAddress, is_smb


class ClosableShare(Share, Protocol):
    """A share that is released after use: as a context manager, or with :meth:`close`."""

    def close(self) -> None:
        """Log off and close what is open; the share connects again when it is next used."""

    def __enter__(self) -> ClosableShare: ...

    def __exit__(self, *exc: object) -> None: ...


def open_share(
    location: str,
    *,
    username: str | None = None,
    password: str | None = None,
    encrypt: bool = True,
    timeout_s: float = 60.0,
    auth: str = "negotiate",
    dfs_targets: Sequence[str] = (),
    domain_controller: str = "",
    least_rate: int = LEAST_RATE,
    resume: RetryPolicy | None = None,
) -> ClosableShare:
    r"""Return the share at a location, without connecting to it yet.

    Args:
        location: ``\\server\share\folder`` with either slash, ``smb://server:port/share/folder``, or the
            absolute path of a folder, local or mounted.
        username: SMB account, with its domain if needed; not used for a folder.
        password: Its password.
        encrypt: Whether an SMB connection is encrypted; it is always signed.
        timeout_s: Longest wait for one answer of an SMB server, in seconds.
        auth: SMB authentication: ``negotiate`` (Kerberos where it is possible, else NTLM), ``kerberos`` or
            ``ntlm``.
        dfs_targets: Servers that a DFS referral may lead to, besides the location's own and hosts below it;
            ``.example.com`` means every host below that domain.
        domain_controller: Who is asked for the servers of a domain-based DFS root; empty to find one through
            DNS.
        least_rate: Bytes a second below which an SMB transfer does not count as progress.
        resume: How long to retry when an SMB transfer breaks; the default policy if None.

    Raises:
        ConfigurationError: The location is invalid, or an SMB share lacks a user or password.
    """
    if is_smb(location):
        # smbprotocol takes a tenth of a second to import, which commands on a folder do not need. Its logins
        # with a certificate are not used.
        with left_for_later("cryptography.x509"):
            from jenkins_release.share.smb.share import SmbShare

        address = SmbAddress.parse(location)
        return SmbShare(
            *(address, username, password),
            encrypt=encrypt,
            timeout_s=timeout_s,
            auth=auth,
            dfs_targets=dfs_targets,
            domain_controller=domain_controller,
            least_rate=least_rate,
            resume=resume or RetryPolicy(),
        )
    folder = Path(location)
    if not location or not folder.is_absolute():
        raise ConfigurationError(
            f"share {location!r} is neither an SMB address nor the absolute path of a folder",
            hint=r"write \\server\share\folder, smb://server/share/folder or /path/of/a/folder",
        )
    return DirectoryShare(folder)
