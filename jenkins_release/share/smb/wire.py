"""One TCP connection to an SMB server, with the limits that smbprotocol lacks.

smbprotocol waits for an answer without a limit, and accepts unsigned answers on a signed session. The
subclass here limits the wait for every answer and refuses unprotected ones. What it needs of the library's
internals is in :mod:`jenkins_release.share.smb.packed.internals`.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from smbprotocol.exceptions import AccessDenied, SMBException, SMBResponseException
from smbprotocol.header import Commands, NtStatus, Smb2Flags
from smbprotocol.session import SMB2SessionSetupRequest
from smbprotocol.tree import ShareFlags, SMB2TreeConnectResponse

from jenkins_release.base.waits import LEAST_RATE, Stopped, Wait, process_waits
from jenkins_release.share.smb.errors import FOREIGN, SESSION_EXPIRED
from jenkins_release.share.smb.packed.internals import BulkConnection

_ASKED_AGAIN = frozenset(
    {
        Commands.SMB2_TREE_CONNECT,
        Commands.SMB2_CREATE,
        Commands.SMB2_CLOSE,
        Commands.SMB2_FLUSH,
        Commands.SMB2_IOCTL,
        Commands.SMB2_QUERY_DIRECTORY,
        Commands.SMB2_QUERY_INFO,
        Commands.SMB2_SET_INFO,
    }
)
"""Requests that are repeated if refused: never a login, which counts as one more attempt."""
_SENT_AGAIN = _ASKED_AGAIN | {Commands.SMB2_READ, Commands.SMB2_LOCK, Commands.SMB2_ECHO}
"""Requests that are repeated after the session was renewed: the server has carried out none of them."""
SLOW_S = 900.0
"""Longest wait for the server's disk at the end of a file, in seconds, while the server is alive."""
_CLOSE_S = 5.0
"""Longest wait for each answer while logging off, in seconds: the connection ends in any case."""
_UNSOLICITED = 0xFFFFFFFFFFFFFFFF
"""Message id of oplock breaks (MS-SMB2 section 2.2.23), which are never signed."""


class SmbWire(BulkConnection):
    """An smbprotocol connection with a time limit on every answer and every send.

    Args:
        server: Host name or IP address.
        port: TCP port.
        timeout_s: Longest wait, in seconds.
        least_rate: Bytes a second below which a transfer makes no progress.
        slow_s: Longest wait for the server's disk, in seconds, while the server answers otherwise.

    Attributes:
        replaces: Session of a lost connection, which the server ends at the next login here; 0 for none.
        renew: Logs in again to a session that has expired (MS-SMB2 section 3.2.4.2.3); None before a login.
        hiding_trees: Ids of the connected shares of which the server lists only what the account may read.
    """

    def __init__(
        self,
        server: str,
        port: int,
        timeout_s: float,
        least_rate: int = LEAST_RATE,
        slow_s: float = SLOW_S,
    ) -> None:
        _keep_packets_out_of_the_log()
        self._slow_s = slow_s
        super().__init__(uuid.uuid4(), server, port, timeout_s, least_rate)
        self.replaces = 0
        self.renew: Callable[[int], None] | None = None
        self.hiding_trees: set[int] = set()

    def dial(self) -> None:
        """Connect and negotiate; raises what smbprotocol raises, or ``TimeoutError``."""
        self.connect(timeout=self.timeout_s)

    def send(self, message: Any, *args: Any, **how: Any) -> Any:
        """Send a request of smbprotocol.

        A login names the session that it replaces (MS-SMB2 sections 2.2.5 and 3.3.5.5.3): what that session
        holds open is released at once, not only when the server notices that it is gone.
        """
        if self.replaces and isinstance(message, SMB2SessionSetupRequest):
            message["previous_session_id"] = self.replaces
        request = super().send(message, *args, **how)
        if message.COMMAND in _SENT_AGAIN:
            request.again = lambda: super(SmbWire, self).send(message, *args, **how)
            request.if_refused = message.COMMAND in _ASKED_AGAIN
        return request

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
            TimeoutError: Nothing came in time; the connection is no longer usable.
        """
        limit = self.timeout_s if timeout is None else timeout
        try:
            return self._take(request, limit, wait=wait)
        except AccessDenied:
            request = self._asked_again(request)
            if request is None:
                raise
        except SMBResponseException as error:
            request = self._sent_again(request, error)
            if request is None:
                raise
        return self._take(request, limit, wait=wait)

    def _sent_again(self, request: Any, error: SMBResponseException) -> Any:
        """Renew the session that has expired and repeat the request; None if it was something else."""
        again = getattr(request, "again", None)
        if error.status != SESSION_EXPIRED or again is None or self.renew is None:
            return None
        self.renew(request.session_id)
        return again()

    def _asked_again(self, request: Any) -> Any:
        """Repeat a refused request; None if the refusal counts."""
        again = getattr(request, "again", None)
        if again is None or not request.if_refused or not self.may_refuse_altered(request.session_id):
            return None
        return again()

    def _take(self, request: Any, limit_s: float, *, wait: bool) -> Any:
        self.await_answer(request, limit_s, wait=wait)
        answer = super().receive(request, wait=wait, timeout=limit_s, resolve_symlinks=False)
        if answer["command"].get_value() == Commands.SMB2_TREE_CONNECT:
            self._note_tree(answer)
        return answer

    def _note_tree(self, answer: Any) -> None:
        # smbprotocol keeps the capabilities of a share, but not its flags.
        tree = SMB2TreeConnectResponse()
        tree.unpack(answer["data"].get_value())
        if tree["share_flags"].has_flag(ShareFlags.SMB2_SHAREFLAG_ACCESS_BASED_DIRECTORY_ENUM):
            self.hiding_trees.add(answer["tree_id"].get_value())

    def may_refuse_altered(self, session_id: int) -> bool:
        """Whether "access denied" may mean that a request was changed on its way.

        That is the status for a request with a wrong signature (MS-SMB2 section 3.3.5.2.4), which has no
        effect. Samba signs that answer, so it looks like any refusal; a genuine refusal comes again if the
        request is repeated. Windows may end the connection. Encrypted requests cannot be changed unnoticed.
        """
        session = self.session_table.get(session_id)
        return session is not None and not session.encrypt_data

    def receive_slow(self, request: Any, limit_s: float = SLOW_S) -> Any:
        """Wait up to ``limit_s`` seconds, or the connection's own limit, while the server is otherwise alive.

        Flushing gigabytes to a disk may take longer than any sensible time-out. So after half of the time-out
        without an answer, an echo, which has the other half, tells a working server from a frozen one.

        Raises:
            TimeoutError: The echo or, after ``limit_s``, the answer itself did not come.
        """
        limit_s = min(limit_s, self._slow_s)
        begun = time.monotonic()
        half = self.timeout_s / 2
        wait = Wait(self.waits_for(), begun, begun + limit_s, threading.get_ident())
        process_waits().begin(wait)
        try:
            while True:
                try:
                    return self._take(request, half, wait=True)
                except AccessDenied:
                    request = self._asked_again(request)
                    if request is None:
                        raise
                    continue
                except SMBResponseException as error:
                    request = self._sent_again(request, error)
                    if request is None:
                        raise
                    continue
                except TimeoutError:
                    if time.monotonic() > begun + limit_s:
                        raise
                self.echo(sid=next(iter(self.session_table)), timeout=half)
        finally:
            process_waits().finish(wait)

    def verify_signature(self, header: Any, session_id: int, force: bool = False) -> None:
        """Check the signature of an unencrypted answer, and that none is missing.

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

    def hang_up(self) -> bool:
        """Log off and close, without waiting for a server that does not answer.

        Returns:
            Whether it answered, or the connection had already ended.
        """
        self.timeout_s = min(self.timeout_s, _CLOSE_S)
        try:
            if self.alive:
                self.disconnect(close=True, timeout=self.timeout_s)
            return True
        except FOREIGN as error:
            logging.getLogger(__name__).debug("logging off from %s: %s", self.server_name, error)
            return not isinstance(error, TimeoutError)
        except Stopped:
            # Whoever closes it goes on, and stops at the next wait.
            return False
        finally:
            self.drop()


def _must_be_protected(header: Any) -> bool:
    return (
        header["message_id"].get_value() != _UNSOLICITED
        and header["status"].get_value() != NtStatus.STATUS_PENDING
        and header["command"].get_value() not in {Commands.SMB2_NEGOTIATE, Commands.SMB2_SESSION_SETUP}
    )


def _keep_packets_out_of_the_log() -> None:
    # Below WARNING, these log whole packets, with paths, tokens and file contents. Set for each connection: a
    # program may have configured its own logging since the last one.
    for name in ("smbprotocol", "spnego"):
        logger = logging.getLogger(name)
        if logger.level < logging.WARNING:
            logger.setLevel(logging.WARNING)
