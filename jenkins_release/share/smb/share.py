"""The share over SMB 2 and 3, by smbprotocol."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.base.names import check_path
from jenkins_release.base.retry import RetryPolicy, retry_call
from jenkins_release.base.waits import LEAST_RATE, pause
from jenkins_release.share.checks import check_below_root, check_range
from jenkins_release.share.protocol import AHEAD, Entry, Lease, Listed, Writer
from jenkins_release.share.smb import batch as smb_batch
from jenkins_release.share.smb import files as smb_files
from jenkins_release.share.smb import kerberos
from jenkins_release.share.smb import lease as smb_lease
from jenkins_release.share.smb.address import SmbAddress
from jenkins_release.share.smb.connect import Access, connect
from jenkins_release.share.smb.connection import SmbConnection
from jenkins_release.share.smb.errors import AnswerLost
from jenkins_release.share.smb.login import SmbLogin
from jenkins_release.share.smb.pool import SmbPool
from jenkins_release.share.smb.reader import read_file
from jenkins_release.share.smb.resume import RESUME, Resumption
from jenkins_release.share.smb.sessions import LostSessions
from jenkins_release.share.smb.survey import Survey
from jenkins_release.share.smb.wire import SLOW_S
from jenkins_release.share.smb.writer import SmbWriter

_log = logging.getLogger(__name__)
T = TypeVar("T")
_LAST_S = 3.0
"""Longest wait for each answer of a server whose lost sessions are ended at the end, in seconds."""
_STAYS = "the work began on this DFS target, and goes on there: what was written may not be on another one"
_AWAY_S = 120.0
"""Longest wait for a server that was reached before and cannot be reached now, in seconds."""
_AWAY_STEP_S = 5.0
"""Longest wait between two attempts to reach it, in seconds."""
_AUTH = ("negotiate", "ntlm", "kerberos")


class SmbShare:
    r"""A folder of an SMB share.

    Every operation has a connection for itself while it runs: a call to :meth:`list` for its length,
    a transfer or a lease until its block ends. So one object serves several threads, and a transfer
    whose connection breaks does not end a lease. Connections are reused; one that failed is dropped,
    and the next operation makes a new one, which ends the sessions of those that failed. Nothing is tried
    twice here, except that a transfer goes on after a break where ``resume`` says so, that a server which was
    reached before has two minutes to come back, and that a change whose answer was lost is looked up, and
    asked for once more if it was not done.

    Args:
        address: Where the share is; ``address.folder`` is the root.
        username: Account, with its domain where needed.
        password: Its password; None only for Kerberos with a ticket.
        encrypt: Whether everything is encrypted (SMB 3). Signed it is in any case. Switched off, a
            server that demands encryption is refused with an error.
        timeout_s: Longest wait for one answer of the server, in seconds; then the connection is dropped.
        least_rate: Bytes a second below which a transfer makes no progress, and ends like one that is late.
        auth: ``negotiate`` (Kerberos where it is possible, else NTLM), ``kerberos`` or ``ntlm``.
        packed: Whether file contents take the fast data path where the server allows it; else they go
            through smbprotocol's own calls, see docs/adr/0011.
        dfs_targets: Servers that a DFS referral may lead to, besides ``address.server`` and hosts below it.
        domain_controller: Who is asked for the servers of a domain-based DFS root; empty to find one through
            DNS.
        resume: How long to insist after a break in the middle of a file that can go on: any that is
            read, and those created as resumable. None raises the break, and waits for no server.
        sleep: Waits the given number of seconds.

    Raises:
        ConfigurationError: A user or password is missing, or a value is impossible.
    """

    def __init__(
        self,
        address: SmbAddress,
        username: str | None,
        password: str | None,
        *,
        encrypt: bool = True,
        timeout_s: float = 60.0,
        least_rate: int = LEAST_RATE,
        auth: str = "negotiate",
        packed: bool = True,
        dfs_targets: Sequence[str] = (),
        domain_controller: str = "",
        resume: RetryPolicy | None = RESUME,
        sleep: Callable[[float], None] = pause,
    ) -> None:
        if auth not in _AUTH:
            raise ConfigurationError(
                f"SMB authentication {auth!r} is unknown", hint=f"use one of {', '.join(_AUTH)}"
            )
        by_ticket = auth != "ntlm" and password is None and kerberos.is_available()
        if auth != "kerberos" and not (username and password) and not by_ticket:
            raise ConfigurationError(
                f"the share {address} needs a user name and a password",
                hint="set JENKINS_RELEASE_SMB_USER and JENKINS_RELEASE_SMB_PASSWORD, or ..._FILE for files; "
                "with jenkins-release[kerberos], a ticket or keytab will do",
            )
        if timeout_s < 1:
            raise ConfigurationError(
                f"an SMB time-out of {timeout_s} s is too short", hint="give 1 s or more"
            )
        self._address = address
        login = SmbLogin(
            *(username, password),
            encrypt=encrypt,
            auth=auth,
            timeout_s=timeout_s,
            least_rate=least_rate,
            slow_s=min(SLOW_S, resume.deadline_s) if resume else SLOW_S,
            packed=packed,
            dfs_targets=tuple(dfs_targets),
            domain_controller=domain_controller,
        )
        self._resume = resume
        self._sleep = sleep
        self._target: SmbAddress | None = None
        self._stay_on: SmbAddress | None = None
        self._away_since: float | None = None
        self._lost = LostSessions()
        self._access = Access(login, self._lost)
        self._pool = SmbPool(self._connect)

    def __repr__(self) -> str:
        return f"SmbShare({self.name})"

    def __enter__(self) -> SmbShare:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        r"""The root as people write it: ``\\server\share\folder``."""
        return str(self._address)

    def close(self) -> None:
        """Log off from every connection; the object may be used again and then connects anew.

        A server that stopped to answer may keep files open, leases among them: if it is there again, it ends
        those sessions now, not when it notices.
        """
        self._pool.close()
        if self._lost.silent:
            login = self._access.login
            login = replace(login, timeout_s=min(login.timeout_s, _LAST_S))
            try:
                connect(self._address, replace(self._access, login=login)).close()
            except ReleaseError as error:
                _log.debug("ending the lost sessions on %s: %s", self.name, error)

    def survey(self, now: Callable[[], datetime]) -> Survey:
        """Return a survey of the way to the share; ``now`` tells the time, UTC."""
        return Survey(self._address, self._access, now)

    def list(self, path: str) -> list[Entry]:
        """List a folder, sorted by name, with one query."""
        check_path(path)
        with self._pool.borrow() as connection:
            return [*smb_files.list_folder(connection, path)]

    def stat(self, path: str) -> Entry:
        """Describe one file or folder."""
        check_path(path)
        with self._pool.borrow() as connection:
            return smb_files.describe(connection, path)

    def read(
        self, path: str, *, offset: int = 0, length: int | None = None, ahead: int = AHEAD
    ) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB, with ``ahead`` requests under way or answered.

        The file is opened when the first piece is asked for, and until the last one nobody can
        change it.
        """
        check_path(path)
        check_range(offset, length)
        return self._read(path, offset, length, ahead)

    def read_heads(self, paths: Sequence[str]) -> Sequence[bytes | RemoteError]:
        """Return the first bytes of many files, asked for without waiting for one before the next."""
        for path in paths:
            check_path(path)
        with self._pool.borrow() as connection:
            return smb_batch.read_heads(connection, paths)

    def list_each(self, paths: Sequence[str]) -> Sequence[Listed]:
        """List many folders, asked for without waiting for one before the next."""
        for path in paths:
            check_path(path)
        with self._pool.borrow() as connection:
            return smb_batch.list_folders(connection, paths)

    def create(self, path: str, *, resumable: bool = False) -> AbstractContextManager[Writer]:
        """Create a new file for writing; it is there for others once the block has ended."""
        check_below_root(path)
        return self._create(path, self._resumption("writing", path) if resumable else None)

    def copy_into(self, writer: Writer, path: str, *, offset: int = 0, length: int | None = None) -> bool:
        """Append a range to a file on a share of the same server, copied by the server itself."""
        check_below_root(path)
        check_range(offset, length)
        if not isinstance(writer, SmbWriter):
            return False
        if self._target is None:
            self.stat("")
        # Behind DFS both locations may be names for any server: what counts is where they led.
        return writer.copy(self._target or self._address, self._address, path, offset, length)

    def make_folder(self, path: str) -> None:
        """Create a folder and those above it that are missing, below the root."""
        names = check_path(path)
        if names:
            self._settled(
                lambda here: smb_files.make_folder(here, names),
                lambda here: smb_files.is_folder(here, path),
            )

    def rename(self, source: str, target: str) -> None:
        """Rename a file or folder in one server-side step."""
        check_below_root(source)
        check_below_root(target)
        self._settled(
            lambda here: smb_files.rename(here, source, target),
            lambda here: smb_files.is_renamed(here, source, target),
        )

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it."""
        check_below_root(path)
        self._settled(
            lambda here: smb_files.remove(here, path), lambda here: not smb_files.is_there(here, path)
        )

    def protect(self, path: str) -> bool:
        """Set the attribute ``read-only``; False if the server does not let this user."""
        check_below_root(path)
        return self._settled(
            lambda here: smb_files.protect(here, path), lambda here: smb_files.is_protected(here, path)
        )

    def free_space(self) -> int | None:
        """Bytes that the user may still write, quotas counted."""
        with self._pool.borrow() as connection:
            return smb_files.free_space(connection)

    def held_files(self, path: str) -> Sequence[str]:
        """Return the first few files at or below a path that cannot be opened exclusively."""
        check_below_root(path)
        with self._pool.borrow() as connection:
            return smb_files.held_files(connection, path)

    def lists_all(self) -> bool:
        """Whether the share has no access-based enumeration (MS-SMB2 section 2.2.10)."""
        with self._pool.borrow() as connection:
            return not connection.hides_names

    def lease(self, path: str, holder: str) -> AbstractContextManager[Lease]:
        """Hold a lease on ``path`` for the length of the block, on a connection of its own.

        Raises:
            LeaseHeld: Someone else holds it.
        """
        check_below_root(path)
        return self._lease(path, holder)

    def _settled(
        self, change: Callable[[SmbConnection], T], done: Callable[[SmbConnection], bool]
    ) -> T | bool:
        """Change something; if the answer is lost, look whether it was done, and ask again if it was not.

        Args:
            change: Asks the server to do it.
            done: Whether it is done, asked on another connection: that one's login ended the session of the
                first, so nothing is done later.

        Returns:
            What ``change`` returned; True if its answer was lost.
        """
        with self._pool.slot() as slot:
            self._changes(slot.connection)
            try:
                return change(slot.connection)
            except AnswerLost as error:
                try:
                    found = done(slot.renew())
                except ReleaseError as another:
                    _log.debug("looking whether it was done: %s", another)
                    raise error from error.__cause__
                if not found:
                    return change(slot.connection)
                _log.warning("it was done, only the answer was lost: %s", error)
                return True

    def _connect(self, stay_on: SmbAddress | None) -> SmbConnection:
        """Connect; wait for a server that was reached before, and cannot be now: it may be restarting."""
        if self._resume is None or self._target is None:
            return self._log_in(stay_on)
        # One limit for all that wait for the server, and for all attempts of each.
        self._away_since = self._away_since or time.monotonic()
        end = self._away_since + min(_AWAY_S, self._resume.deadline_s)
        policy = replace(
            self._resume,
            attempts=None,
            deadline_s=max(0.0, end - time.monotonic()),
            max_wait_s=min(_AWAY_STEP_S, self._resume.max_wait_s),
            setting="",
        )
        what = f"reach {self.name} again"
        found = retry_call(self._reach, stay_on, what=what, policy=policy, sleep=self._sleep)
        if isinstance(found, AnswerLost):
            raise found
        self._away_since = None
        return found

    def _reach(self, stay_on: SmbAddress | None) -> SmbConnection | AnswerLost:
        try:
            return self._log_in(stay_on)
        except AnswerLost as error:
            # It is there, and does not answer: an attempt of whoever wants the connection.
            return error

    def _log_in(self, stay_on: SmbAddress | None) -> SmbConnection:
        """Return a new connection: to the same target once something was changed there.

        Another target of a DFS path has the change later, or never.
        """
        stay_on = stay_on or self._stay_on
        try:
            connection = connect(self._address, self._access, stay_on=stay_on)
        except RemoteError as error:
            if stay_on is not None and stay_on != self._address:
                error.hint = f"{error.hint}; {_STAYS}" if error.hint else _STAYS
            raise
        self._target = connection.target
        return connection

    def _changes(self, connection: SmbConnection) -> None:
        """Note that something is changed on a connection's target, to which everything after this belongs."""
        if self._stay_on is None:
            self._stay_on = connection.target
        elif connection.target != self._stay_on:
            connection.drop()
            raise AnswerLost(
                f"cannot go on with {self.name} on {connection.target}: the work began on {self._stay_on}",
                hint=_STAYS,
                retryable=True,
            )

    def _read(self, path: str, offset: int, length: int | None, ahead: int) -> Iterator[bytes]:
        with self._pool.slot() as slot:
            yield from read_file(slot, path, offset, length, ahead, self._resumption("reading", path))

    @contextlib.contextmanager
    def _create(self, path: str, resumption: Resumption | None) -> Iterator[Writer]:
        with self._pool.slot() as slot:
            self._changes(slot.connection)
            with SmbWriter(slot, path, resumption) as writer:
                yield writer

    def _resumption(self, what: str, path: str) -> Resumption | None:
        if self._resume is None:
            return None
        return Resumption(f"{what} {self._address.path(path)}", self._resume, self._sleep)

    @contextlib.contextmanager
    def _lease(self, path: str, holder: str) -> Iterator[Lease]:
        with self._pool.slot() as slot:
            self._changes(slot.connection)
            with smb_lease.held(slot, path, holder, self._resume) as lease:
                yield lease
