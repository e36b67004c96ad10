"""What stands between this machine and an SMB share, stage by stage: name, port, dialect, login, path."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from smbprotocol.connection import Ciphers, Dialects, SMB2NegotiateResponse
from smbprotocol.header import Commands

from jenkins_release.base.checks import Examination, Found
from jenkins_release.base.clocks import compared
from jenkins_release.base.errors import ReleaseError, RemoteError
from jenkins_release.base.resolver import addresses
from jenkins_release.base.waits import Call
from jenkins_release.share.smb.address import SmbAddress
from jenkins_release.share.smb.connect import Access, allowed_targets, connect, connect_to_target
from jenkins_release.share.smb.dfs import may_follow
from jenkins_release.share.smb.domain import find_controllers, root_referral
from jenkins_release.share.smb.errors import FOREIGN, translate
from jenkins_release.share.smb.login import choose, log_in
from jenkins_release.share.smb.wire import SmbWire

TARGET = "target"
"""Begins the names of the checks of DFS targets, which follow the path."""
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
        self._used: SmbAddress | None = None
        self._targets: Sequence[SmbAddress] = ()
        """Those of the last DFS link, if DFS leads elsewhere."""

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
        domain, name, port, dialect, login, _, clock = map(named, STAGES)
        try:
            if self._login.domain_controller or find_controllers(self.address.server):
                examination.check(domain, self._domain, *login_needs)
            examination.check(name, self._name, domain)
            examination.check(port, self._port, name)
            examination.check(dialect, self._dialect, port)
            examination.check(login, self._log_in, dialect, *login_needs)
            self._examine_path(examination, named, login)
            examination.check(clock, self._clock, dialect)
        finally:
            if self._wire is not None:
                self._wire.drop()

    def examine_path(self, examination: Examination, named: Callable[[str], str], *needs: str) -> None:
        """Check only the path: the server was looked at already, with the same login."""
        self._examine_path(examination, named, *needs)

    def _examine_path(self, examination: Examination, named: Callable[[str], str], *needs: str) -> None:
        examination.check(named("path"), self._path, *needs)
        for target in self._targets:
            what = f"{TARGET} {target.server}\\{target.share}"
            examination.check(named(what), partial(self._target, target))

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
        self._wire = self._dial(self._server)
        return Found(self._spoken(self._wire))

    def _dial(self, server: SmbAddress) -> _Noting:
        login = self._login
        wire = _Noting(server.server, server.port, login.timeout_s, login.least_rate, login.slow_s)
        wire.waits_for = lambda: f"the server {server.server} to negotiate"
        wire.now = self._now
        with _translated("talk SMB with", server):
            wire.dial()
        return wire

    def _spoken(self, wire: _Noting) -> str:
        """Return the dialect, with its protection. Raises RemoteError if that is too little."""
        login = self._login
        said = f"SMB {_DIALECTS.get(wire.dialect, hex(wire.dialect))}, signed"
        if not login.encrypt:
            return f"{said}; not encrypted, as share.encrypt = false"
        if not wire.supports_encryption:
            raise RemoteError(
                f"{said}; the server offers no SMB encryption",
                hint="upgrade the server to SMB 3, or set share.encrypt = false for a network you trust",
            )
        # Before SMB 3.1.1, there is one cipher (MS-SMB2 section 3.3.5.4).
        return f"{said}, encrypted by {_CIPHERS.get(wire.cipher_id, 'AES-128-CCM')}"

    def _log_in(self) -> Found:
        wire, _ = log_in(self._server, self._login, self._access.lost, self.address)
        wire.hang_up()
        return Found(self._way(self._server.server))

    def _way(self, server: str) -> str:
        """Return how the login to a server was done."""
        # The ticket is at hand, or known to be absent, so this asks nobody.
        method = choose(server, self._login, str(self.address))
        return f"{method.told}; Kerberos: {method.why}" if method.why else method.told

    def _path(self) -> Found:
        shown = self.address
        connection = connect(shown, self._access)
        used = connection.target
        connection.close()
        if used == shown:
            return Found(f"{shown} is there")
        self._used = used
        self._targets = self._access.referrals.beside(used) or (used,)
        others = [str(each) for each in self._targets if each != used]
        told = f"; other targets: {', '.join(others)}" if others else ""
        return Found(f"DFS leads {shown} to {used}{told}")

    def _target(self, target: SmbAddress) -> Found:
        if target == self._used:
            found = self._look_at(target)
            return Found(f"in use: {found.said}", found.hint)
        if not may_follow(target.server, self.address.server, self._login.dfs_targets):
            return Found(
                f"{target} is not allowed, and nothing was sent there",
                "if this server is yours, add it to share.dfs_targets",
            )
        try:
            connection = connect_to_target(target, self.address, self._access)
            connection.close()
            # A target may be a DFS path itself.
            found = self._look_at(connection.target)
        except ReleaseError as error:
            return Found(
                f"could not be used instead: {'; '.join([error.message, *error.reasons])}",
                error.hint or "repair the target, or take it out of the DFS link",
            )
        return Found(f"could be used instead: {found.said}", found.hint)

    def _look_at(self, target: SmbAddress) -> Found:
        wire = self._dial(target)
        try:
            clock = self._compared(target, wire)
            return Found(f"{self._spoken(wire)}; {self._way(target.server)}; {clock.said}", clock.hint)
        finally:
            wire.drop()

    def _clock(self) -> Found:
        return self._compared(self._server, self._wire)

    def _compared(self, server: SmbAddress, wire: _Noting | None) -> Found:
        there = wire.there if wire is not None else None
        here = wire.here if wire is not None else None
        return compared(f"the server {server.server}", there, here or self._now())


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
