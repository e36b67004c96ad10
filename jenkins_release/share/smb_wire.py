"""One TCP connection to an SMB server, held to limits that smbprotocol leaves open.

smbprotocol waits without end for an answer, and accepts unsigned answers on a signed session. The
subclass here sets a time limit on every answer and refuses unprotected ones; what it needs of the
inner workings of the library is in :mod:`jenkins_release.share.smb_internals`.
"""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from smbprotocol.exceptions import SMBException
from smbprotocol.header import Commands, NtStatus, Smb2Flags
from smbprotocol.session import Session, SMB2SessionSetupRequest

from jenkins_release.errors import ConfigurationError, RemoteError
from jenkins_release.share.smb_address import SmbAddress
from jenkins_release.share.smb_errors import FOREIGN, translate
from jenkins_release.share.smb_internals import BulkConnection

_CREDITS = 512
"""Credits asked for after the login, enough for 16 requests of 1 MiB (MS-SMB2 section 3.2.4.1.2)."""
_CLOSE_S = 5.0
"""Longest wait for each answer while logging off, in seconds: the connection ends in any case."""
_UNSOLICITED = 0xFFFFFFFFFFFFFFFF
"""Message id of oplock breaks (MS-SMB2 section 2.2.23), which are never signed."""


@dataclass(frozen=True)
class SmbLogin:
    r"""How to log in; its text form leaves the password out.

    Attributes:
        username: Account, with its domain where needed: ``user@domain`` or ``DOMAIN\user``.
        password: Its password; None only for Kerberos with a ticket.
        encrypt: Whether everything is encrypted; the connection is always signed.
        auth: ``negotiate``, ``ntlm`` or ``kerberos``.
        timeout_s: Longest wait for one answer of the server, in seconds.
        packed: Whether file contents take the fast data path, see docs/adr/0011.
        dfs_targets: Servers besides the configured one and those below it that a DFS referral may lead
            to; ``.example.com`` stands for every host below that domain.
    """

    username: str | None
    password: str | None = field(repr=False)
    encrypt: bool = True
    auth: str = "negotiate"
    timeout_s: float = 60.0
    packed: bool = True
    dfs_targets: tuple[str, ...] = ()


class SmbWire(BulkConnection):
    """An smbprotocol connection with a time limit on every answer and every send.

    Args:
        server: Host name or IP address.
        port: TCP port.
        timeout_s: Longest wait, in seconds.
        replaces: Session of a connection that was lost, which the server ends when this one logs in;
            0 for none.
    """

    def __init__(self, server: str, port: int, timeout_s: float, replaces: int = 0) -> None:
        _keep_packets_out_of_the_log()
        super().__init__(uuid.uuid4(), server, port, timeout_s)
        self._replaces = replaces

    def dial(self) -> None:
        """Connect and negotiate; raises what smbprotocol raises, or ``TimeoutError``."""
        self.connect(timeout=self.timeout_s)

    def send(self, message: Any, *args: Any, **how: Any) -> Any:
        """Send a request of smbprotocol.

        A login names the session that it takes the place of (MS-SMB2 sections 2.2.5 and 3.3.5.5.3):
        what that one holds open is free at once, not only when the server notices that it is gone.
        """
        if self._replaces and isinstance(message, SMB2SessionSetupRequest):
            message["previous_session_id"] = self._replaces
        return super().send(message, *args, **how)

    def receive(
        self,
        request: Any,
        wait: bool = True,
        timeout: float | None = None,
        resolve_symlinks: bool = False,  # noqa: ARG002 - part of the overridden signature
    ) -> Any:
        """Wait for an answer, at most ``timeout`` or the connection's own limit, in seconds.

        Symbolic links that the server reports are never followed: they could lead out of the root.

        Raises:
            TimeoutError: Nothing came in time; the connection is of no use any more.
        """
        limit = self.timeout_s if timeout is None else timeout
        try:
            return super().receive(request, wait=wait, timeout=limit, resolve_symlinks=False)
        except SMBException as error:
            # The library has no class of its own for this; its other failures all have one.
            if type(error) is SMBException:
                raise TimeoutError(f"no answer within {limit:.0f} s") from error
            raise

    def receive_slow(self, request: Any, limit_s: float) -> Any:
        """Wait up to ``limit_s`` seconds for an answer while the server is alive otherwise.

        Flushing gigabytes to a disk may take longer than any sensible time-out, so after each
        silent ``timeout_s`` an echo tells a working server from a frozen one.

        Raises:
            TimeoutError: The echo or, after ``limit_s``, the answer itself did not come.
        """
        end = time.monotonic() + limit_s
        while True:
            try:
                return self.receive(request)
            except TimeoutError:
                if time.monotonic() > end:
                    raise
            self.echo(sid=next(iter(self.session_table)), timeout=self.timeout_s)

    def verify_signature(self, header: Any, session_id: int, force: bool = False) -> None:
        """Check the signature of an answer that came unencrypted, and that there must not be one missing.

        MS-SMB2 sections 3.2.5.1.1 and 3.2.5.1.3: an unencrypted answer on an encrypted session, and
        an unsigned one on a signed session, are not accepted.
        """
        session = self.session_table.get(session_id)
        if session is not None and session.signing_key and not force and _must_be_protected(header):
            if session.encrypt_data:
                raise SMBException("an answer on an encrypted session came unencrypted")
            if not header["flags"].has_flag(Smb2Flags.SMB2_FLAGS_SIGNED):
                raise SMBException("an answer on a signed session came unsigned")
        super().verify_signature(header, session_id, force=force)

    def drop(self) -> None:
        """Close the socket at once; the server closes every handle of the session."""
        if self.transport is not None:
            try:
                self.disconnect(close=False)
            except (OSError, RuntimeError) as error:
                # RuntimeError: the interrupt came while the library's thread was being started.
                logging.getLogger(__name__).debug("closing the connection to %s: %s", self.server_name, error)

    def hang_up(self) -> None:
        """Log off and close; a server that does not answer is left as it is."""
        self.timeout_s = min(self.timeout_s, _CLOSE_S)
        try:
            if self.alive:
                self.disconnect(close=True, timeout=self.timeout_s)
        except FOREIGN as error:
            logging.getLogger(__name__).debug("logging off from %s: %s", self.server_name, error)
        finally:
            self.drop()


def log_in(address: SmbAddress, login: SmbLogin, replaces: int = 0) -> tuple[SmbWire, Session]:
    """Connect to the server of ``address`` and log in.

    Args:
        address: Where the share is.
        login: How to log in.
        replaces: Session of a connection that was lost, which the server shall end; 0 for none.

    Raises:
        ConfigurationError: The server demands encryption, which is switched off.
        RemoteError: The server cannot be reached, or refuses the login.
    """
    where = str(address)
    wire = SmbWire(address.server, address.port, login.timeout_s, replaces)
    try:
        wire.dial()
        if login.encrypt and not wire.supports_encryption:
            raise RemoteError(
                f"cannot use {where}: the server offers no SMB encryption",
                hint="upgrade the server to SMB 3, or switch encryption off for a network you trust",
            )
        session = Session(
            wire,
            login.username,
            login.password,
            require_encryption=login.encrypt,
            auth_protocol=login.auth,
        )
        session.connect()
        if session.encrypt_data and not login.encrypt:
            raise encryption_demanded(where)
        wire.echo(sid=session.session_id, timeout=login.timeout_s, credit_request=_CREDITS)
    except FOREIGN as error:
        wire.drop()
        raise translate(error, "log in to", where) from error
    except BaseException:
        wire.drop()
        raise
    return wire, session


def encryption_demanded(where: str) -> ConfigurationError:
    """Return the error for a server that demands encryption which the configuration rules out."""
    return ConfigurationError(
        f"the server of {where} demands encryption, which is switched off here",
        hint="switch encryption on for this share",
    )


def _must_be_protected(header: Any) -> bool:
    return (
        header["message_id"].get_value() != _UNSOLICITED
        and header["status"].get_value() != NtStatus.STATUS_PENDING
        and header["command"].get_value() not in {Commands.SMB2_NEGOTIATE, Commands.SMB2_SESSION_SETUP}
    )


def _keep_packets_out_of_the_log() -> None:
    # Below WARNING these write whole packets, with paths, tokens and file contents. Set for each
    # connection: a program may have set up its own logging since the last one.
    for name in ("smbprotocol", "spnego"):
        logger = logging.getLogger(name)
        if logger.level < logging.WARNING:
            logger.setLevel(logging.WARNING)
