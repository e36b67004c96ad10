"""Logs in to a server: by Kerberos, by NTLM, or by Kerberos where that is possible."""

from __future__ import annotations

import logging
from dataclasses import field, replace
from typing import Any

import spnego
from smbprotocol.connection import Capabilities
from smbprotocol.exceptions import MoreProcessingRequired
from smbprotocol.session import Session, SMB2SessionSetupRequest, SMB2SessionSetupResponse

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.base.waits import LEAST_RATE
from jenkins_release.share.smb import kerberos
from jenkins_release.share.smb.address import SmbAddress
from jenkins_release.share.smb.errors import FOREIGN, LoginRefused, MethodRefused, login_error, translate
from jenkins_release.share.smb.kerberos import NoTicket, Tickets
from jenkins_release.share.smb.sessions import LostSessions
from jenkins_release.share.smb.wire import SLOW_S, SmbWire

_log = logging.getLogger(__name__)
_CREDITS = 512
"""Credits requested after the login, enough for 16 requests of 1 MiB (MS-SMB2 section 3.2.4.1.2)."""
_TICKET_S = 30.0
"""Longest wait for a ticket, in seconds: a library that finds several KDCs waits for one after the other."""


@dataclass(frozen=True)
class SmbLogin:
    r"""How to log in; its text form omits the password.

    Attributes:
        username: Account, with its domain if needed: ``user@domain`` or ``DOMAIN\user``.
        password: Its password; None only for Kerberos with a ticket.
        encrypt: Whether everything is encrypted; the connection is always signed.
        auth: ``negotiate``, ``ntlm`` or ``kerberos``.
        timeout_s: Longest wait for one answer of the server, in seconds.
        slow_s: Longest wait for the server's disk, in seconds, while the server answers otherwise.
        packed: Whether file contents take the fast data path, see docs/adr/0011.
        least_rate: Bytes a second below which a transfer makes no progress.
        dfs_targets: Servers besides the configured one and those below it that a DFS referral may lead
            to; ``.example.com`` means every host below that domain.
        domain_controller: Who is asked for the servers of a domain-based DFS root; empty to find one through
            DNS.
        tickets: Those of the account.
        refused: What the first server said that refused the account; no other one is asked after that.
    """

    username: str | None
    password: str | None = field(repr=False)
    encrypt: bool = True
    auth: str = "negotiate"
    timeout_s: float = 60.0
    least_rate: int = LEAST_RATE
    slow_s: float = SLOW_S
    packed: bool = True
    dfs_targets: tuple[str, ...] = ()
    domain_controller: str = ""
    tickets: Tickets = field(init=False, repr=False, compare=False)
    refused: list[RemoteError] = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        """Begin without tickets."""
        limit_s = min(_TICKET_S, self.timeout_s)
        object.__setattr__(self, "tickets", Tickets(self.username, self.password, limit_s))


@dataclass(frozen=True)
class Method:
    """How one login is done.

    Attributes:
        protocol: For smbprotocol: ``negotiate``, ``ntlm`` or ``kerberos``.
        username: Account, or a credential of pyspnego.
        password: Its password.
        told: What is tried, for messages: ``Kerberos as release@CORP.EXAMPLE for cifs/fs1.corp.example``.
        why: Why it is not Kerberos, where that comes first; empty otherwise.
    """

    protocol: str
    username: Any
    password: str | None = field(repr=False)
    told: str
    why: str = ""


def log_in(
    address: SmbAddress, login: SmbLogin, lost: LostSessions, shown: SmbAddress
) -> tuple[SmbWire, Session]:
    """Connect to the server of ``address``, log in, and have it end the user's lost sessions.

    Args:
        address: Where the share is.
        login: How to log in.
        lost: The lost sessions; those on this server are gone afterwards.
        shown: The configured location, for messages.

    Raises:
        ConfigurationError: The server demands encryption, which is switched off, or Kerberos is demanded and
            not installed.
        RemoteError: The server cannot be reached, or refuses the login.
    """
    if login.refused:
        # Each attempt brings the account closer to being locked.
        raise LoginRefused(login.refused[0].message, hint=login.refused[0].hint)
    place = where = str(shown) if shown == address else f"{shown} at {address.server}"
    wire = SmbWire(address.server, address.port, login.timeout_s, login.least_rate, login.slow_s)
    wire.waits_for = lambda: f"the share {where} to answer the login"
    taken = lost.take(address)
    ending = list(taken)
    session: Session | None = None
    try:
        wire.dial()
        if login.encrypt and not wire.supports_encryption:
            raise RemoteError(
                f"cannot use {where}: the server offers no SMB encryption",
                hint="upgrade the server to SMB 3, or switch encryption off for a network you trust",
            )
        method = choose(address.server, login, place)
        where = f"{place} with {method.told}"
        session = _new_session(wire, method, login, ending[0] if ending else 0)
        if session.encrypt_data and not login.encrypt:
            raise encryption_demanded(place)
        wire.renew = lambda session_id: _renew(wire, session_id, login, place)
        wire.echo(sid=session.session_id, timeout=login.timeout_s, credit_request=_CREDITS)
        # A login names one session: the others get a login each, on the same connection.
        for each in ending[1:]:
            _new_session(wire, method, login, each).disconnect()
    except FOREIGN as error:
        wire.drop()
        lost.give_back(address, taken)
        if session is not None:
            raise translate(error, "log in to", where) from error
        found = login_error(error, where, login.username)
        if isinstance(found, LoginRefused) and not isinstance(found, MethodRefused):
            login.refused.append(found)
        raise found from error
    except BaseException:
        wire.drop()
        lost.give_back(address, taken)
        raise
    _log.info("logged in to %s, %s", where, _dialect(wire, session))
    return wire, session


def choose(server: str, login: SmbLogin, where: str) -> Method:
    """Decide how to log in to a server, and get the ticket for it.

    ``negotiate`` takes Kerberos where the libraries are installed, the server has a name and the realm issues
    a ticket, and NTLM otherwise. If the realm refused the account, NTLM is not tried: that would be a second
    attempt with the same password.

    Args:
        server: Its name or address.
        login: How to log in.
        where: The share, for messages.

    Raises:
        ConfigurationError: Kerberos is demanded and not installed.
        LoginRefused: Kerberos is demanded, and there is no ticket; or the realm refused the account.
    """
    tickets = login.tickets
    ntlm = Method("ntlm", login.username, login.password, f"NTLM as {login.username}")
    if login.auth == "ntlm":
        return ntlm
    if login.auth == "negotiate" and login.password:
        if not kerberos.is_available():
            return Method("negotiate", login.username, login.password, ntlm.told, "it is not installed")
        if not kerberos.is_name(server):
            return replace(ntlm, why="it needs a server's name, not an address")
        if server in tickets.absent:
            return replace(ntlm, why=tickets.absent[server])
    try:
        ticket = tickets.fetch(server)
        return Method("negotiate", ticket, None, tickets.told(server))
    except NoTicket as error:
        told = tickets.told(server)
        if login.auth == "kerberos" or error.final or not login.password:
            kind = LoginRefused if error.final else MethodRefused
            raise kind(f"cannot log in to {where} with {told}: {error.message}", hint=error.hint) from error
        _log.info("no Kerberos for %s, so NTLM is used: %s", server, error.message)
        tickets.absent[server] = error.message
        return replace(ntlm, why=error.message)


def encryption_demanded(where: str) -> ConfigurationError:
    """Return the error for a server that demands encryption that the configuration rules out."""
    return ConfigurationError(
        f"the server of {where} demands encryption, which is switched off here",
        hint="switch encryption on for this share",
    )


def _new_session(wire: SmbWire, method: Method, login: SmbLogin, replaces: int) -> Session:
    wire.replaces = replaces
    session = Session(
        wire,
        method.username,
        method.password,
        require_encryption=login.encrypt,
        auth_protocol=method.protocol,
    )
    session.connect()
    return session


def _renew(wire: SmbWire, session_id: int, login: SmbLogin, where: str) -> None:
    """Log in again to a session whose ticket has ended; what it has open stays open, under the same keys.

    MS-SMB2 sections 3.2.4.2.3 and 3.3.5.5.2.

    Raises:
        LoginRefused: There is no ticket any more.
        SMBException: The server refuses.
    """
    server = str(wire.server_name)
    method = choose(server, login, where)
    _log.info("the session on %s has expired: logging in again with %s", server, method.told)
    context = spnego.client(
        method.username,
        method.password,
        service="cifs",
        hostname=server,
        options=spnego.NegotiateOptions.session_key,
        protocol=method.protocol,
    )
    wire.replaces = 0
    token = context.step(wire.gss_negotiate_token if method.protocol == "negotiate" else None)
    while token:
        message = SMB2SessionSetupRequest()
        message["capabilities"] = Capabilities.SMB2_GLOBAL_CAP_DFS
        message["security_mode"] = wire.client_security_mode
        message["buffer"] = token
        request = wire.send(message, sid=session_id)
        try:
            header = wire.receive(request)
        except MoreProcessingRequired as error:
            header = error.header
        finally:
            # Kept by the library for the keys of a new session, which this is not.
            wire.preauth_integrity_session_hash_value.pop(request.message["message_id"].get_value(), None)
        answer = SMB2SessionSetupResponse()
        answer.unpack(header["data"].get_value())
        token = None if context.complete else context.step(answer["buffer"].get_value())


def _dialect(wire: SmbWire, session: Session) -> str:
    number = int(wire.dialect)
    how = "encrypted" if session.encrypt_data else "signed"
    return f"SMB {number >> 8}.{(number >> 4) & 15}.{number & 15}, {how}"
