r"""DFS referrals: the actual server and share of a path in a distributed file system.

A location such as ``\\nextlabs.com\share\data`` may be served by another machine. The referral is requested
once, on connecting, for the location itself (MS-DFSC sections 3.1.4.1 and 3.1.5.4): a root referral if the
server knows the name but does not serve it, a link referral if it answers STATUS_PATH_NOT_COVERED. Links
further down are not followed: an operation there fails with that status, and a rename could not cross them
anyway.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

from smbprotocol.connection import Capabilities
from smbprotocol.dfs import DFSReferralEntryFlags, DFSReferralRequest, DFSReferralResponse
from smbprotocol.exceptions import SMBResponseException
from smbprotocol.ioctl import CtlCode, IOCTLFlags, SMB2IOCTLRequest, SMB2IOCTLResponse
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

from jenkins_release.share.smb.address import SmbAddress
from jenkins_release.share.smb.wire import SmbWire

_log = logging.getLogger(__name__)
_IP_ADDRESS = re.compile(r"[0-9.]+|.*:.*")
_MAX_ANSWER = 56 * 1024
"""Most bytes of a referral answer (MS-DFSC section 3.1.5.4.2)."""


class Referred(Exception):
    """The server refers the client elsewhere; internal to this package.

    Attributes:
        targets: Where to go, in the server's order of preference.
    """

    def __init__(self, targets: Sequence[SmbAddress]) -> None:
        super().__init__(f"referred to {', '.join(map(str, targets))}")
        self.targets = list(targets)


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


def referral_targets(
    wire: SmbWire, session: Session, address: SmbAddress, folder: Sequence[str]
) -> list[SmbAddress]:
    r"""Ask the server where a path really is.

    Args:
        wire: Connection to the server of ``address``.
        session: Session on it.
        address: The location to resolve.
        folder: The names below the share up to where the answer is wanted.

    Returns:
        The targets with the rest of the location's folder appended; empty if there is no
        referral. A referral has no port, so the location's own port is used for its targets.
    """
    if not wire.server_capabilities.has_flag(Capabilities.SMB2_GLOBAL_CAP_DFS):
        return []
    # A referral request has one leading backslash (MS-DFSC section 2.2.2).
    path = "\\" + "\\".join([address.server, address.share, *folder])
    try:
        answer = _ask(wire, session, address.server, path)
    except SMBResponseException as error:
        _log.debug("no DFS referral for %s: %s", path, error)
        return []
    # PathConsumed counts the bytes of the path in UTF-16.
    rest = path.encode("utf-16-le")[answer["path_consumed"].get_value() :].decode("utf-16-le")
    beyond = [*(name for name in rest.split("\\") if name), *address.folder[len(folder) :]]
    targets = []
    for entry in answer["referral_entries"].get_value():
        if entry["referral_entry_flags"].has_flag(DFSReferralEntryFlags.NAME_LIST_REFERRAL):
            continue
        names = [name for name in (entry.network_address or "").split("\\") if name]
        if len(names) >= 2:
            targets.append(SmbAddress(names[0], names[1], (*names[2:], *beyond), address.port))
    return targets


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
