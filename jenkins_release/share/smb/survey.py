"""What stands between this machine and an SMB share, stage by stage: name, port, dialect, login, path."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from smbprotocol.connection import Ciphers, Dialects, SMB2NegotiateResponse
from smbprotocol.header import Commands

from jenkins_release.base.checks import Examination, Found
from jenkins_release.base.clocks import compared
from jenkins_release.base.errors import RemoteError
from jenkins_release.base.resolver import addresses
from jenkins_release.base.waits import Call
from jenkins_release.share.smb.address import SmbAddress
from jenkins_release.share.smb.connect import Access, allowed_targets, connect
from jenkins_release.share.smb.domain import find_controllers, root_referral
from jenkins_release.share.smb.errors import FOREIGN, translate
from jenkins_release.share.smb.login import choose, log_in
from jenkins_release.share.smb.wire import SmbWire

STAGES = ("domain", "name", "port", "dialect", "login", "path", "clock")
"""The checks of a survey, in the order in which a connection needs them. A location without a domain has no
first one."""
_DIALECTS = {
    Dialects.SMB_2_0_2: "2.0.2",
    Dialects.SMB_2_1_0: "2.1",
    Dialects.SMB_3_0_0: "3.0",
    Dialects.SMB_3_0_2: "3.0.2",
    Dialects.SMB_3_1_1: "3.1.1",
}
_CIPHERS = {
    Ciphers.AES_128_CCM: "AES-128-CCM",
    Ciphers.AES_128_GCM: "AES-128-GCM",
    Ciphers.AES_256_CCM: "AES-256-CCM",
    Ciphers.AES_256_GCM: "AES-256-GCM",
}
_OLDEST = datetime(1980, 1, 1, tzinfo=UTC)
"""A server that does not tell its time sends 0, which is in 1601."""


class Survey:
    """Looks at the way to a share. After a refused login, none follows.

    Args:
        address: The share.
        access: How to connect.
        now: Tells the time, UTC.

    Attributes:
        address: The share.
    """

    def __init__(self, address: SmbAddress, access: Access, now: Callable[[], datetime]) -> None:
        self.address = address
        self._access = access
        self._login = access.login
        self._now = now
        self._servers = [address]
        """What serves the share: others than the location names if that begins with a domain."""
        self._server = address
        self._found: list[tuple[SmbAddress, str]] = []
        self._wire: _Noting | None = None

    def examine(
        self, examination: Examination, named: Callable[[str], str], login_needs: Sequence[str] = ()
    ) -> None:
        """Make a check for each stage.

        Args:
            examination: Where.
            named: Returns the name of the check for a stage.
            login_needs: Earlier checks that a login needs: after a refused one, a second attempt would
                bring the account closer to being locked.
        """
        domain, name, port, dialect, login, path, clock = map(named, STAGES)
        try:
            if self._login.domain_controller or find_controllers(self.address.server):
                examination.check(domain, self._domain, *login_needs)
            examination.check(name, self._name, domain)
            examination.check(port, self._port, name)
            examination.check(dialect, self._dialect, port)
            examination.check(login, self._log_in, dialect, *login_needs)
            examination.check(path, self._path, login)
            examination.check(clock, self._clock, dialect)
        finally:
            if self._wire is not None:
                self._wire.drop()

    def examine_path(self, examination: Examination, named: Callable[[str], str], *needs: str) -> None:
        """Check only the path: the server was looked at already, with the same login."""
        examination.check(named("path"), self._path, *needs)

    def _domain(self) -> Found:
        found = root_referral(self.address, self._login, self._access.lost)
        if not found.targets:
            return Found(f"{self.address.server} is no domain, but a server")
        self._servers = allowed_targets(found.targets, self.address, self._login)
        names = ", ".join(dict.fromkeys(each.server for each in self._servers))
        return Found(f"{self.address.server} is a domain, where {self.address.share} is served by {names}")

    def _name(self) -> Found:
        told, failure = [], None
        for server in self._servers:
            name = server.server
            try:
                found = addresses(name, self._login.timeout_s)
            except RemoteError as error:
                told.append(error.message)
                failure = error
            else:
                told.append(f"{name} is {'an address' if found == [name] else ', '.join(found)}")
                self._found += [(server, address) for address in found]
        if failure is not None and not self._found:
            raise failure
        return Found("; ".join(dict.fromkeys(told)))

    def _port(self) -> Found:
        problems = []
        limit_s = self._login.timeout_s
        for server, address in self._found:
            where = f"{address} port {server.port}"
            try:
                with Call(f"{where} to take a connection", limit_s):
                    socket.create_connection((address, server.port), limit_s).close()
            except TimeoutError:
                problems.append(f"{where} does not answer within {limit_s:g} s")
            except OSError as error:
                problems.append(f"{where}: {error.strerror or error}")
            else:
                self._server = server
                return Found("; ".join([f"{where} takes connections", *problems]))
        raise RemoteError(
            "; ".join(problems),
            hint="let this machine reach the port in the firewall, and see whether the server runs",
            retryable=True,
        )

    def _dialect(self) -> Found:
        login = self._login
        self._wire = wire = _Noting(
            self._server.server, self._server.port, login.timeout_s, login.least_rate, login.slow_s
        )
        wire.waits_for = lambda: f"the server {self._server.server} to negotiate"
        wire.now = self._now
        with _translated("talk SMB with", self._server):
            wire.dial()
        said = f"SMB {_DIALECTS.get(wire.dialect, hex(wire.dialect))}, signed"
        if not login.encrypt:
            return Found(f"{said}; not encrypted, as share.encrypt = false")
        if not wire.supports_encryption:
            raise RemoteError(
                f"{said}; the server offers no SMB encryption",
                hint="upgrade the server to SMB 3, or set share.encrypt = false for a network you trust",
            )
        # Before SMB 3.1.1, there is one cipher (MS-SMB2 section 3.3.5.4).
        return Found(f"{said}, encrypted by {_CIPHERS.get(wire.cipher_id, 'AES-128-CCM')}")

    def _log_in(self) -> Found:
        wire, _ = log_in(self._server, self._login, self._access.lost)
        wire.hang_up()
        # The ticket is at hand, or known to be absent, so this asks nobody.
        method = choose(self._server, self._login)
        return Found(f"{method.told}; Kerberos: {method.why}" if method.why else method.told)

    def _path(self) -> Found:
        shown = self.address
        connection = connect(shown, self._access)
        used = connection.target
        connection.close()
        if used == shown:
            return Found(f"{shown} is there")
        known = self._access.referrals.find(shown)
        # Behind a link, they are those of the link's namespace.
        others = (
            [str(each) for each in known.targets if each != used] if known and used in known.targets else []
        )
        told = f"; other targets: {', '.join(others)}" if others else ""
        return Found(f"DFS leads {shown} to {used}{told}")

    def _clock(self) -> Found:
        wire = self._wire
        there = wire.there if wire is not None else None
        here = wire.here if wire is not None else None
        return compared(f"the server {self._server.server}", there, here or self._now())


class _Noting(SmbWire):
    """Notes what else is lost: the server's clock.

    Attributes:
        now: Tells the time, UTC.
        there: The server's time; None if it does not tell it.
        here: The time here when it came.
    """

    now: Callable[[], datetime]
    there: datetime | None = None
    here: datetime | None = None

    def receive(self, request: Any, *args: Any, **how: Any) -> Any:
        """Wait for an answer."""
        answer = super().receive(request, *args, **how)
        if answer["command"].get_value() == Commands.SMB2_NEGOTIATE:
            self.here = self.now()
            negotiated = SMB2NegotiateResponse()
            negotiated.unpack(answer["data"].get_value())
            there = negotiated["system_time"].get_value()
            if isinstance(there, datetime) and there.tzinfo is not None and there > _OLDEST:
                self.there = there
        return answer


@contextlib.contextmanager
def _translated(what: str, address: SmbAddress) -> Iterator[None]:
    try:
        yield
    except FOREIGN as error:
        raise translate(error, what, str(address)) from error
