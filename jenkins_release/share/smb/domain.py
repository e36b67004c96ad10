r"""Domain-based DFS roots: ``\\domain\root``, where the first name is no server.

MS-DFSC section 3.1.4.1: a domain controller tells which domains it knows, which controllers a domain has, and
which servers serve a root. There is no service principal for a domain, so Kerberos cannot even log in to one
by that name. Controllers are found as Windows finds them, through DNS (MS-ADTS section 6.3.6): the records
``_ldap._tcp.dc._msdcs`` of the domain.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from smbprotocol.session import Session

from jenkins_release.base.errors import RemoteError
from jenkins_release.base.waits import Call
from jenkins_release.share.smb.address import SmbAddress
from jenkins_release.share.smb.dfs import Referral, expanded_names, may_follow, referral
from jenkins_release.share.smb.errors import FOREIGN, LoginRefused, MethodRefused, of_all, translate
from jenkins_release.share.smb.kerberos import is_name
from jenkins_release.share.smb.login import SmbLogin, log_in
from jenkins_release.share.smb.sessions import LostSessions
from jenkins_release.share.smb.wire import SmbWire

_log = logging.getLogger(__name__)
_DNS_S = 5.0
"""Longest wait for the names of a domain's controllers, in seconds."""
PLAIN_S = 3600.0
"""How long a name that is no domain is remembered as such, in seconds."""
_MAX_CONTROLLERS = 16


def root_referral(address: SmbAddress, login: SmbLogin, lost: LostSessions) -> Referral:
    """Return who serves the DFS root of a location whose first name is a domain.

    Args:
        address: The location.
        login: How to log in to a controller.
        lost: Sessions of lost connections, which their server is to end.

    Returns:
        The servers; no targets if the first name is no domain, so that it is the server.

    Raises:
        RemoteError: It is a domain, and none of its controllers answered or knows the root.
    """
    configured = login.domain_controller
    found_in_dns = [configured] if configured else find_controllers(address.server)
    if not found_in_dns:
        # Without an answer it may still be one: that counts for this attempt only.
        return Referral((), 0.0 if found_in_dns is None else PLAIN_S)
    pending = list(found_in_dns)
    asked: set[str] = set()
    failures: list[tuple[str, RemoteError]] = []
    while pending and len(asked) < _MAX_CONTROLLERS:
        server = pending.pop(0)
        if server.casefold() in asked or not _is_trusted(server, address, login):
            continue
        asked.add(server.casefold())
        controller = SmbAddress(server, "IPC$", (), address.port)
        try:
            is_domain, others, found = _ask_controller(controller, address, login, lost)
        except RemoteError as error:
            if isinstance(error, LoginRefused) and not isinstance(error, MethodRefused):
                # Another controller would refuse the same account, and count one more failed attempt.
                raise
            _log.warning("domain controller %s: %s", server, error)
            failures.append((f"domain controller {server}", error))
            continue
        if not is_domain:
            return Referral((), PLAIN_S)
        if found.targets:
            return found
        pending += others
    raise of_all(failures) or RemoteError(
        f"cannot use {address}: {address.server} is a domain, and none of its controllers "
        f"({', '.join(sorted(asked))}) knows a DFS root {address.share}",
        hint="correct the name after the domain: DFS management on Windows lists the namespaces",
    )


def find_controllers(domain: str) -> list[str] | None:
    """Return the controllers that DNS names for a domain, in the order in which to try them.

    A name that DNS does not know as a domain has none; None if DNS did not answer.

    Raises:
        Stopped: The process was asked to stop.
    """
    if "." not in domain or not is_name(domain):
        return []
    # A fiftieth of a second to import, which addresses and short names do not need.
    import dns.exception
    import dns.resolver

    name = f"_ldap._tcp.dc._msdcs.{domain.rstrip('.')}."
    try:
        with Call(f"DNS to name the controllers of {domain}", _DNS_S):
            answer = dns.resolver.resolve(name, "SRV", lifetime=_DNS_S)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer) as error:
        _log.debug("%s has no domain controllers in DNS: %s", domain, error)
        return []
    except (dns.exception.DNSException, OSError) as error:
        _log.debug("whether %s has domain controllers: %s", domain, error)
        return None
    records = sorted(answer, key=lambda record: (record.priority, -record.weight))
    return [str(record.target).rstrip(".") for record in records]


def _is_trusted(server: str, address: SmbAddress, login: SmbLogin) -> bool:
    if server == login.domain_controller or may_follow(server, address.server, login.dfs_targets):
        return True
    _log.warning(
        "%s is said to be a controller of %s, but is no host below it; list it in share.dfs_targets if it is "
        "yours",
        server,
        address.server,
    )
    return False


def _ask_controller(
    controller: SmbAddress, address: SmbAddress, login: SmbLogin, lost: LostSessions
) -> tuple[bool, Sequence[str], Referral]:
    """Return whether the first name is a domain, its controllers, and who serves its root."""
    wire, session = log_in(controller, login, lost, address)
    try:
        return _resolve(wire, session, controller, address)
    except FOREIGN as error:
        raise translate(error, f"ask {controller.server} for the DFS referral of", str(address)) from error
    finally:
        wire.hang_up()


def _resolve(
    wire: SmbWire, session: Session, controller: SmbAddress, address: SmbAddress
) -> tuple[bool, Sequence[str], Referral]:
    domain = address.server.casefold()
    known = {name.casefold() for name in expanded_names(wire, session, [])}
    if domain not in known:
        return False, (), Referral()
    others = expanded_names(wire, session, [address.server])
    found = referral(wire, session, replace(address, folder=()), [])
    targets = [
        # Samba's controllers serve their roots themselves, and say so by the name of the domain.
        replace(each, server=controller.server) if each.server.casefold() == domain else each
        for each in found.targets
    ]
    at = tuple(replace(each, folder=(*each.folder, *address.folder)) for each in targets)
    _log.info(
        "%s is a domain; %s refers to %s", domain, controller.server, ", ".join(map(str, at)) or "nobody"
    )
    return True, others, Referral(at, found.lifetime_s)
