"""From an address and a login to a connection whose root exists, through DFS referrals."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from smbprotocol.exceptions import BadNetworkName, PathNotCovered
from smbprotocol.tree import TreeConnect

from jenkins_release.base.errors import ConfigurationError, RemoteError
from jenkins_release.share.protocol import PathNotFound
from jenkins_release.share.smb.address import SmbAddress
from jenkins_release.share.smb.connection import A_FOLDER, READ_ATTRIBUTES, SmbConnection
from jenkins_release.share.smb.dfs import Referred, may_follow, referral_targets
from jenkins_release.share.smb.errors import FOREIGN, LoginRefused, translate
from jenkins_release.share.smb.sessions import LostSessions
from jenkins_release.share.smb.wire import SmbLogin, encryption_demanded, log_in

_log = logging.getLogger(__name__)
_MAX_REFERRALS = 8


def connect(address: SmbAddress, login: SmbLogin, lost: LostSessions) -> SmbConnection:
    """Connect to a share, through any DFS referrals, and check that its root exists.

    Args:
        address: The share.
        login: How to log in.
        lost: Sessions of lost connections, which their server is to end.

    Raises:
        ConfigurationError: The server demands encryption, which is switched off, or a DFS referral leads
            only to servers that are not allowed.
        RemoteError: The share cannot be reached or used; ``retryable`` says whether to try again.
    """
    return _follow(address, address, login, _MAX_REFERRALS, lost)


def _follow(
    target: SmbAddress, shown: SmbAddress, login: SmbLogin, hops: int, lost: LostSessions
) -> SmbConnection:
    try:
        return _connect_here(target, shown, login, lost)
    except Referred as referred:
        if hops == 0:
            raise RemoteError(
                f"cannot use {shown}: more than {_MAX_REFERRALS} DFS referrals follow each other",
                hint="correct the DFS links: they form a loop",
            ) from None
        targets = _allowed(referred.targets, shown, login)
    failure: RemoteError | None = None
    for next_target in targets:
        try:
            return _follow(next_target, shown, login, hops - 1, lost)
        except RemoteError as error:
            _log.warning("DFS target %s of %s: %s", next_target, shown, error)
            failure = error
            if isinstance(error, LoginRefused):
                # Another target would refuse the same account, and count one more failed attempt.
                break
    raise failure or RemoteError(f"cannot use {shown}: its DFS referral names no target")


def _allowed(targets: Sequence[SmbAddress], shown: SmbAddress, login: SmbLogin) -> list[SmbAddress]:
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


def _connect_here(
    target: SmbAddress, shown: SmbAddress, login: SmbLogin, lost: LostSessions
) -> SmbConnection:
    wire, session = log_in(target, login, lost)
    try:
        tree = TreeConnect(session, rf"\\{target.server}\{target.share}")
        try:
            tree.connect()
        except BadNetworkName:
            # A domain controller does not serve the DFS root itself, but knows who does.
            targets = referral_targets(wire, session, target, [])
            if not targets:
                raise
            raise Referred(targets) from None
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
    return connection


def _check_root(connection: SmbConnection) -> None:
    target = connection.target
    try:
        with connection.opened("", READ_ATTRIBUTES, options=A_FOLDER):
            return
    except PathNotCovered:
        targets = referral_targets(connection.wire, connection.session, target, target.folder)
        if targets:
            raise Referred(targets) from None
        raise
    except FOREIGN as error:
        translated = translate(error, "use", str(connection.shown))
        if isinstance(translated, PathNotFound):
            raise RemoteError(
                f"share {connection.shown} does not exist: {translated.message}",
                hint="correct the location, or create the folder: the root is never created",
            ) from error
        raise
