"""One TCP connection to an SMB server, held to limits that smbprotocol leaves open.

smbprotocol waits without end for an answer, accepts unsigned answers on a signed session, and hands
on whatever ended its receiving thread. The subclass here sets a time limit on every answer and
every send, refuses unprotected answers, and reports a dead connection as one kind of error. The
methods it overrides are those of smbprotocol 1.15 to 1.17.
"""

from __future__ import annotations

import logging
import socket
import struct
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from smbprotocol.connection import Connection
from smbprotocol.exceptions import SMBConnectionClosed, SMBException
from smbprotocol.header import Commands, NtStatus, Smb2Flags
from smbprotocol.session import Session

from jenkins_release.errors import ConfigurationError, RemoteError
from jenkins_release.share.smb_address import SmbAddress
from jenkins_release.share.smb_errors import FOREIGN, translate

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
    """

    username: str | None
    password: str | None = field(repr=False)
    encrypt: bool = True
    auth: str = "negotiate"
    timeout_s: float = 60.0


class SmbWire(Connection):  # type: ignore[misc]  # smbprotocol publishes no types
    """An smbprotocol connection with a time limit on every answer and every send.

    Args:
        server: Host name or IP address.
        port: TCP port.
        timeout_s: Longest wait, in seconds.
    """

    def __init__(self, server: str, port: int, timeout_s: float) -> None:
        _keep_packets_out_of_the_log()
        super().__init__(uuid.uuid4(), server, port, require_signing=True)
        self.timeout_s = timeout_s

    def dial(self) -> None:
        """Connect and negotiate; raises what smbprotocol raises, or ``TimeoutError``."""
        self.connect(timeout=self.timeout_s)
        tcp = self.transport._sock
        # Blocking sends with a kernel time-out: a frozen server's full window must not hold us. Half of
        # ours, because a send that got rid of a part is followed by one for the rest.
        microseconds = int(self.timeout_s * 1_000_000) // 2
        limit = struct.pack("ll", *divmod(microseconds, 1_000_000))
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # An idle connection that holds a lease notices within two minutes that its server is gone.
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)

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

    def _check_worker_running(self) -> None:
        if self._t_exc is not None:
            self.disconnect(False)
            raise SMBConnectionClosed(str(self._t_exc)) from self._t_exc
        super()._check_worker_running()

    def available_credits(self) -> int:
        """How many credits the server has granted that no request uses."""
        with self.sequence_lock:
            return int(self.sequence_window["high"] - self.sequence_window["low"])

    @property
    def alive(self) -> bool:
        """Whether the connection is up as far as this side knows."""
        return self.transport is not None and self.transport.connected and self._t_exc is None

    def drop(self) -> None:
        """Close the socket at once; the server closes every handle of the session."""
        if self.transport is not None:
            try:
                self.disconnect(close=False)
            except OSError as error:
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


def log_in(address: SmbAddress, login: SmbLogin) -> tuple[SmbWire, Session]:
    """Connect to the server of ``address`` and log in.

    Raises:
        ConfigurationError: The server demands encryption, which is switched off.
        RemoteError: The server cannot be reached, or refuses the login.
    """
    where = str(address)
    wire = SmbWire(address.server, address.port, login.timeout_s)
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
