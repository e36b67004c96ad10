"""From an address and a login to a connection whose root exists, through DFS referrals."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import field

from smbprotocol.exceptions import BadNetworkName, PathNotCovered
from smbprotocol.tree import TreeConnect

from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.share.protocol import PathNotFound
from jenkins_release.share.smb.address import SmbAddress
from jenkins_release.share.smb.connection import A_FOLDER, READ_ATTRIBUTES, SmbConnection
from jenkins_release.share.smb.dfs import Referral, Referrals, Referred, may_follow, referral
from jenkins_release.share.smb.domain import PLAIN_S, root_referral
from jenkins_release.share.smb.errors import FOREIGN, LoginRefused, MethodRefused, of_all, translate
from jenkins_release.share.smb.login import SmbLogin, encryption_demanded, log_in
from jenkins_release.share.smb.sessions import LostSessions

_log = logging.getLogger(__name__)
_MAX_REFERRALS = 8


@dataclass(frozen=True)
class Access:
    """What every connection of one share needs.

    Attributes:
        login: How to log in.
        lost: Sessions of lost connections, which their server is to end.
        referrals: What servers said about the share's path.
    """

    login: SmbLogin = field(repr=False)
    lost: LostSessions
    referrals: Referrals = field(default_factory=Referrals)


def connect(address: SmbAddress, access: Access, *, stay_on: SmbAddress | None = None) -> SmbConnection:
    """Connect to a share, through any DFS referrals, and check that its root exists.

    Args:
        address: The share.
        access: How.
        stay_on: The target of a DFS path to which to return, and no other.

    Raises:
        ConfigurationError: The server demands encryption, which is switched off, or a DFS referral leads
            only to servers that are not allowed.
        RemoteError: The share cannot be reached or used; ``retryable`` says whether to try again.
    """
    if stay_on is not None and stay_on != address:
        return _connect_here(stay_on, address, access)
    return _follow(address, address, access, _MAX_REFERRALS)


def connect_to_target(target: SmbAddress, address: SmbAddress, access: Access) -> SmbConnection:
    """Connect to one target of a share's DFS path, and to no other; as :func:`connect` does otherwise."""
    return _follow(target, address, access, _MAX_REFERRALS - 1)


def _follow(target: SmbAddress, shown: SmbAddress, access: Access, hops: int) -> SmbConnection:
    known = access.referrals.find(target)
    found = known
    if found is None:
        found = root_referral(target, access.login, access.lost)
        access.referrals.keep(target, found)
    if not found.targets:
        try:
            connection = _connect_here(target, shown, access)
        except Referred as referred:
            found = referred.referral
            access.referrals.keep(target, found)
        else:
            access.referrals.keep(target, Referral((), PLAIN_S))
            return connection
    if hops == 0:
        raise RemoteError(
            f"cannot use {shown}: more than {_MAX_REFERRALS} DFS referrals follow each other",
            hint="correct the DFS links: they form a loop",
        )
    try:
        return _first_of(found, target, shown, access, hops)
    except RemoteError as error:
        access.referrals.forget(target)
        if known is None or not known.targets or isinstance(error, LoginRefused):
            raise
    # The targets may have changed since.
    return _follow(target, shown, access, hops)


def _first_of(
    found: Referral, target: SmbAddress, shown: SmbAddress, access: Access, hops: int
) -> SmbConnection:
    """Return a connection to the first target that works."""
    failures: list[tuple[str, RemoteError]] = []
    for each in allowed_targets(found.targets, shown, access.login):
        try:
            connection = _follow(each, shown, access, hops - 1)
        except RemoteError as error:
            _log.warning("DFS target %s of %s: %s", each, shown, error)
            failures.append((f"DFS target {each}", error))
            if isinstance(error, LoginRefused) and not isinstance(error, MethodRefused):
                # Another target would refuse the same account, and count one more failed attempt.
                raise
        else:
            access.referrals.prefer(target, each)
            return connection
    raise of_all(failures) or RemoteError(f"cannot use {shown}: its DFS referral names no target")


def allowed_targets(targets: Sequence[SmbAddress], shown: SmbAddress, login: SmbLogin) -> list[SmbAddress]:
    """Return the targets of a referral that may get the login. Raises ConfigurationError if none may."""
    allowed = [target for target in targets if may_follow(target.server, shown.server, login.dfs_targets)]
    refused = sorted({target.server for target in targets if target not in allowed})
    if refused and not allowed:
        raise ConfigurationError(
            f"cannot use {shown}: it refers to {', '.join(refused)}, which is neither {shown.server} nor a "
            "host below it; nothing was sent there",
            hint="if this server is yours, add it to share.dfs_targets; if not, find out who changed the DFS "
            "link",
        )
    if refused:
        _log.warning("DFS targets of %s that are not allowed: %s", shown, ", ".join(refused))
    return allowed


def _connect_here(target: SmbAddress, shown: SmbAddress, access: Access) -> SmbConnection:
    login, lost = access.login, access.lost
    wire, session = log_in(target, login, lost, shown)
    try:
        tree = TreeConnect(session, rf"\\{target.server}\{target.share}")
        try:
            tree.connect()
        except BadNetworkName:
            # A domain controller does not serve the DFS root itself, but knows who does.
            found = referral(wire, session, target, [])
            if not found.targets:
                raise
            raise Referred(found) from None
        if tree.encrypt_data and not login.encrypt:
            raise encryption_demanded(str(shown))
        connection = SmbConnection(wire, session, tree, target, shown, packed=login.packed, lost=lost)
        _check_root(connection)
    except FOREIGN as error:
        wire.drop()
        raise translate(error, "use", str(shown)) from error
    except BaseException:
        wire.drop()
        raise
    if target != shown:
        _log.info("%s is %s", shown, target)
    return connection


def _check_root(connection: SmbConnection) -> None:
    target = connection.target
    try:
        with connection.opened("", READ_ATTRIBUTES, options=A_FOLDER):
            return
    except PathNotCovered:
        found = referral(connection.wire, connection.session, target, target.folder)
        if found.targets:
            raise Referred(found) from None
        raise
    except FOREIGN as error:
        translated = translate(error, "use", str(connection.shown))
        if isinstance(translated, PathNotFound):
            raise RemoteError(
                f"share {connection.shown} does not exist: {translated.message}",
                hint="correct the location, or create the folder: the root is never created",
            ) from error
        raise
