r"""DFS referrals: the actual server and share of a path in a distributed file system.

A location such as ``\\nextlabs.com\share\data`` may be served by another machine. The referral is requested
on connecting, for the location itself (MS-DFSC sections 3.1.4.1 and 3.1.5.4.1): a root referral if the server
knows the name but does not serve it, a link referral if it answers STATUS_PATH_NOT_COVERED. It counts for as
long as the server says. Links further down are not followed: an operation there fails with that status, and a
rename could not cross them anyway.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any

from smbprotocol.connection import Capabilities
from smbprotocol.dfs import DFSReferralEntryFlags, DFSReferralRequest, DFSReferralResponse
from smbprotocol.exceptions import SMBResponseException
from smbprotocol.ioctl import CtlCode, IOCTLFlags, SMB2IOCTLRequest, SMB2IOCTLResponse
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

from jenkins_release.base.dataclass import dataclass
from jenkins_release.share.smb.address import SmbAddress
from jenkins_release.share.smb.wire import SmbWire

_log = logging.getLogger(__name__)
_IP_ADDRESS = re.compile(r"[0-9.]+|.*:.*")
_MAX_ANSWER = 56 * 1024
"""Most bytes of a referral answer (MS-DFSC section 3.1.5.4.2)."""


@dataclass(frozen=True)
class Referral:
    """Where a path really is.

    Attributes:
        targets: The places, in the server's order of preference.
        lifetime_s: How long this counts, in seconds.
    """

    targets: tuple[SmbAddress, ...] = ()
    lifetime_s: float = 0.0


class Referred(Exception):
    """The server refers the client elsewhere; internal to this package.

    Attributes:
        referral: Where to go.
    """

    def __init__(self, referral: Referral) -> None:
        super().__init__(f"referred to {', '.join(map(str, referral.targets))}")
        self.referral = referral


@dataclass
class Referrals:
    """What servers said about paths, for as long as it counts.

    Attributes:
        clock: Tells the time in seconds, from any beginning.
    """

    clock: Callable[[], float] = time.monotonic
    _found: dict[SmbAddress, tuple[Referral, float]] = field(default_factory=dict)

    def find(self, address: SmbAddress) -> Referral | None:
        """Return the referral of a path; None if it has to be asked for."""
        referral, until = self._found.get(address, (None, 0.0))
        return referral if self.clock() < until else None

    def keep(self, address: SmbAddress, referral: Referral) -> None:
        """Note a referral; a path that is not referred has one without targets."""
        self._found[address] = referral, self.clock() + referral.lifetime_s

    def forget(self, address: SmbAddress) -> None:
        """Ask again next time."""
        self._found.pop(address, None)

    def beside(self, target: SmbAddress) -> tuple[SmbAddress, ...]:
        """Return the targets among which one was chosen, itself included; none if no referral leads to it."""
        known = (referral.targets for referral, _ in self._found.values())
        return next((targets for targets in known if target in targets), ())

    def prefer(self, address: SmbAddress, target: SmbAddress) -> None:
        """Note that a target answered: it is tried first for as long as the referral counts."""
        found = self._found.get(address)
        if found is not None:
            others = (each for each in found[0].targets if each != target)
            self._found[address] = Referral((target, *others), found[0].lifetime_s), found[1]


def may_follow(target: str, configured: str, listed: Sequence[str]) -> bool:
    r"""Whether a server that a referral names may get the account's login.

    Only the answering server signs a referral. NTLM proves the account to any server that asks, so an answer
    to the wrong server puts a password hash into the wrong hands.

    Args:
        target: Host name or address from the referral.
        configured: Server or domain of the configured location.
        listed: More allowed servers; ``.example.com`` allows every host below that domain.
    """
    host, home = _host(target), _host(configured)
    if host == home:
        return True
    # A short name or an address is not a domain: nothing is below it.
    if "." in home and not _IP_ADDRESS.fullmatch(home) and host.endswith(f".{home}"):
        return True
    for entry in listed:
        name = _host(entry)
        if host == name or (name.startswith(".") and host.endswith(name)):
            return True
    return False


def _host(name: str) -> str:
    return name.rstrip(".").casefold()


def referral(wire: SmbWire, session: Session, address: SmbAddress, folder: Sequence[str]) -> Referral:
    """Ask the server where a path really is.

    Args:
        wire: Connection to the server of ``address``.
        session: Session on it.
        address: The location to resolve.
        folder: The names below the share up to where the answer is wanted.

    Returns:
        The targets with the rest of the location's folder appended; none if there is no referral. A referral
        has no port, so the location's own port is used for its targets.
    """
    path = [address.server, address.share, *folder]
    answer = ask(wire, session, wire.server_name, path)
    if answer is None:
        return Referral()
    # PathConsumed counts the bytes of the path in UTF-16.
    consumed = answer["path_consumed"].get_value()
    rest = _wire_path(path).encode("utf-16-le")[consumed:].decode("utf-16-le")
    beyond = [*_names(rest), *address.folder[len(folder) :]]
    targets = []
    lifetimes = []
    for entry in answer["referral_entries"].get_value():
        if _is_name_list(entry):
            continue
        names = _names(entry.network_address or "")
        if len(names) >= 2:
            targets.append(SmbAddress(names[0], names[1], (*names[2:], *beyond), address.port))
            # Version 1 has none.
            lifetimes.append(entry["time_to_live"].get_value() if "time_to_live" in entry.fields else 0)
    return Referral(tuple(targets), float(min(lifetimes, default=0)))


def expanded_names(wire: SmbWire, session: Session, path: Sequence[str]) -> list[str]:
    """Ask a domain controller for names (MS-DFSC sections 3.1.5.4.3 and 3.1.5.4.4).

    Args:
        wire: Connection to it.
        session: Session on it.
        path: Nothing for the domains that it knows, or one of them for the controllers of that domain.

    Returns:
        The names without backslashes; none if it is no domain controller.
    """
    answer = ask(wire, session, wire.server_name, path)
    if answer is None:
        return []
    found = []
    for entry in answer["referral_entries"].get_value():
        if _is_name_list(entry):
            # Of a domain, the name is the special name; of its controllers, the expanded ones.
            found += [entry.dfs_path or ""] if not path else list(entry.network_address or [])
    return [name.strip("\\") for name in found if name.strip("\\")]


def ask(wire: SmbWire, session: Session, server: str, path: Sequence[str]) -> Any:
    """Send a referral request, and return smbprotocol's answer; None if the server has none for the path."""
    if not wire.server_capabilities.has_flag(Capabilities.SMB2_GLOBAL_CAP_DFS):
        return None
    try:
        return _ask(wire, session, server, _wire_path(path))
    except SMBResponseException as error:
        _log.debug("no DFS referral for %s: %s", path, error)
        return None


def _wire_path(names: Sequence[str]) -> str:
    # A referral request has one leading backslash (MS-DFSC section 2.2.2).
    return "\\" + "\\".join(names) if names else ""


def _names(path: str) -> list[str]:
    return [name for name in path.split("\\") if name]


def _is_name_list(entry: Any) -> bool:
    flags = entry["referral_entry_flags"]
    return bool(flags.has_flag(DFSReferralEntryFlags.NAME_LIST_REFERRAL))


def _ask(wire: SmbWire, session: Session, server: str, path: str) -> Any:
    tree = TreeConnect(session, rf"\\{server}\IPC$")
    tree.connect()
    question = DFSReferralRequest()
    question["request_file_name"] = path
    message = SMB2IOCTLRequest()
    message["ctl_code"] = CtlCode.FSCTL_DFS_GET_REFERRALS
    message["file_id"] = b"\xff" * 16
    message["max_output_response"] = _MAX_ANSWER
    message["flags"] = IOCTLFlags.SMB2_0_IOCTL_IS_FSCTL
    message["buffer"] = question
    request = wire.send(message, sid=session.session_id, tid=tree.tree_connect_id)
    carrier = SMB2IOCTLResponse()
    carrier.unpack(wire.receive(request)["data"].get_value())
    answer = DFSReferralResponse()
    answer.unpack(carrier["buffer"].get_value())
    return answer
