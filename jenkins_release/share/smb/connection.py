"""A logged-in connection to one share, with the few requests that file operations consist of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from smbprotocol.exceptions import AccessDenied, SMBResponseException
from smbprotocol.file_info import FileAttributes, FileDispositionInformation
from smbprotocol.open import (
    CreateDisposition,
    CreateOptions,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    Open,
    ShareAccess,
    SMB2QueryInfoRequest,
    SMB2QueryInfoResponse,
    SMB2SetInfoRequest,
)
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

from jenkins_release.base.errors import ReleaseError
from jenkins_release.share.smb.address import SmbAddress
from jenkins_release.share.smb.errors import FOREIGN, connection_survives, translate
from jenkins_release.share.smb.sessions import LostSessions
from jenkins_release.share.smb.wire import SmbWire

READ_ATTRIBUTES = FilePipePrinterAccessMask.FILE_READ_ATTRIBUTES
READ_DATA = FilePipePrinterAccessMask.FILE_READ_DATA | READ_ATTRIBUTES
WRITE_DATA = FilePipePrinterAccessMask.FILE_WRITE_DATA | FilePipePrinterAccessMask.FILE_WRITE_ATTRIBUTES
DELETE = FilePipePrinterAccessMask.DELETE
SHARE_READ = ShareAccess.FILE_SHARE_READ
SHARE_ALL = SHARE_READ | ShareAccess.FILE_SHARE_WRITE | ShareAccess.FILE_SHARE_DELETE
OPEN = CreateDisposition.FILE_OPEN
A_FOLDER = CreateOptions.FILE_DIRECTORY_FILE
A_FILE = CreateOptions.FILE_NON_DIRECTORY_FILE
_MARKED_CREDITS = 2
"""Credits that the two requests of :meth:`SmbConnection.create_marked` use together."""


class SmbConnection:
    """One connection with one session and one tree; used by one thread at a time.

    Args:
        wire: The connection.
        session: The session on it.
        tree: The connected share.
        target: Where the tree is, after any DFS referrals.
        shown: The configured address, for messages.
        packed: Whether file contents may take the fast data path.
        lost: Notified of the session when the connection is lost; None if another connection owns the
            session.
    """

    def __init__(
        self,
        wire: SmbWire,
        session: Session,
        tree: TreeConnect,
        target: SmbAddress,
        shown: SmbAddress,
        *,
        packed: bool = True,
        lost: LostSessions | None = None,
    ) -> None:
        self.wire = wire
        self.session = session
        self.tree = tree
        self.target = target
        self.shown = shown
        self.packed = packed
        self._lost = lost
        self._task = ("use", "")

    @property
    def alive(self) -> bool:
        """Whether the connection is up as far as this side knows."""
        return self.wire.alive

    @property
    def hides_names(self) -> bool:
        """Whether the server said that it lists only what the account may read."""
        return self.tree.tree_connect_id in self.wire.hiding_trees

    def drop(self, *, silent: bool = False) -> None:
        """Close the socket at once; the server closes every handle, or does so at the user's next login.

        Args:
            silent: Whether the server has stopped answering.
        """
        self.wire.drop()
        lost, self._lost = self._lost, None
        if lost is not None:
            lost.add(self.target, int(self.session.session_id or 0), silent=silent)

    def close(self) -> bool:
        """Log off and close; False if the server did not answer."""
        self._lost = None
        return self.wire.hang_up()

    @contextlib.contextmanager
    def doing(self, what: str, path: str, *, to: str | None = None) -> Iterator[None]:
        """Translate failures in the block, and drop the connection if it is no longer usable.

        Args:
            what: A verb for the message.
            path: Path below the root.
            to: Second path, of a rename.
        """
        self._task = (what, path)
        self.wire.waits_for = self._waits_for
        try:
            yield
        except ReleaseError:
            raise
        except FOREIGN as error:
            if not connection_survives(error):
                self.drop(silent=isinstance(error, TimeoutError))
            where = (
                self.shown.path(path) if to is None else f"{self.shown.path(path)} to {self.shown.path(to)}"
            )
            raise translate(error, what, where) from error
        except BaseException:
            # An interrupted request leaves an answer under way that is not waited for.
            self.drop()
            raise

    def _waits_for(self) -> str:
        what, path = self._task
        return f"the share {self.shown} to {what} {path}".rstrip()

    def open(
        self,
        path: str,
        access: int,
        *,
        share: int = SHARE_ALL,
        disposition: int = OPEN,
        options: int = 0,
    ) -> Open:
        """Open a file or folder below the root (MS-SMB2 section 2.2.13).

        Args:
            path: Names with ``/`` between them; empty for the root.
            access: Access mask.
            share: What others may do with it meanwhile.
            disposition: What to do if it exists, and if not.
            options: Create options.
        """
        handle = Open(self.tree, self.wire_path(path, dfs=bool(self.tree.is_dfs_share)))
        handle.create(
            ImpersonationLevel.Impersonation,
            access,
            FileAttributes.FILE_ATTRIBUTE_DIRECTORY
            if options & A_FOLDER
            else FileAttributes.FILE_ATTRIBUTE_NORMAL,
            share,
            disposition,
            options,
        )
        return handle

    @contextlib.contextmanager
    def opened(self, path: str, access: int, **how: int) -> Iterator[Open]:
        """Open as :meth:`open` does, and close at the end of the block."""
        handle = self.open(path, access, **how)
        try:
            yield handle
        except BaseException as error:
            self.close_after(handle, error)
            raise
        handle.close()

    def close_after(self, handle: Open, error: BaseException) -> None:
        """Close a handle after a failure, without contacting a server that has stopped answering."""
        if isinstance(error, ReleaseError) or connection_survives(error):
            handle.close()
        else:
            self.drop(silent=isinstance(error, TimeoutError))

    def wire_path(self, path: str, *, dfs: bool = False) -> str:
        r"""Return a path below the root as used in requests.

        Args:
            path: Names with ``/`` between them.
            dfs: Whether to put server and share in front, as a CREATE on a DFS share requires (MS-SMB2
                section 3.2.4.3); a rename must not have them.
        """
        names = [*self.target.folder, *(path.split("/") if path else [])]
        if dfs:
            names = [self.target.server, self.target.share, *names]
        return "\\".join(names)

    def query(self, handle: Open, kind: type[Any]) -> Any:
        """Ask for an information structure of ``smbprotocol.file_info`` (MS-SMB2 section 2.2.37)."""
        info = kind()
        message = SMB2QueryInfoRequest()
        message["info_type"] = info.INFO_TYPE
        message["file_info_class"] = info.INFO_CLASS
        message["file_id"] = handle.file_id
        message["output_buffer_length"] = len(info)
        answer = SMB2QueryInfoResponse()
        answer.unpack(self.wire.receive(self.send(message))["data"].get_value())
        return answer.parse_buffer(kind)

    def change(self, handle: Open, info: Any) -> None:
        """Set an information structure of ``smbprotocol.file_info``."""
        self.wire.receive(self.send(change_message(handle, info)))

    def create_marked(self, path: str, access: int) -> Open:
        """Create a file that no one else can open, and that is removed when its handle closes.

        The mark is sent with the CREATE in one message (MS-SMB2 section 3.2.4.1.4), so a lost connection
        never leaves an empty file.

        Args:
            path: The new file, below the root.
            access: Access mask, with :data:`DELETE` in it.
        """
        try:
            return self._create_marked(path, access)
        except AccessDenied:
            if not self.wire.may_refuse_altered(self.session.session_id):
                raise
            return self._create_marked(path, access)

    def _create_marked(self, path: str, access: int) -> Open:
        if self.wire.available_credits() < _MARKED_CREDITS:
            return self._create_and_mark(path, access)
        handle = Open(self.tree, self.wire_path(path, dfs=bool(self.tree.is_dfs_share)))
        create, created = handle.create(
            ImpersonationLevel.Impersonation,
            access,
            FileAttributes.FILE_ATTRIBUTE_NORMAL,
            0,
            CreateDisposition.FILE_CREATE,
            0,
            send=False,
        )
        # Until it is created, a handle's file id is the one that means "of the request before".
        mark = change_message(handle, deletion(deleted=True))
        first, second = self.wire.send_compound(
            [create, mark], self.session.session_id, self.tree.tree_connect_id, related=True
        )
        try:
            created(first)
        except SMBResponseException:
            with contextlib.suppress(SMBResponseException):
                self.wire.receive(second)
            raise
        try:
            try:
                self.wire.receive(second)
            except AccessDenied:
                # The file exists now: only its mark is missing.
                self.change(handle, deletion(deleted=True))
        except BaseException as error:
            self.close_after(handle, error)
            raise
        return handle

    def _create_and_mark(self, path: str, access: int) -> Open:
        # For a server that grants a single credit.
        handle = self.open(path, access, share=0, disposition=CreateDisposition.FILE_CREATE)
        try:
            self.change(handle, deletion(deleted=True))
        except BaseException as error:
            self.close_after(handle, error)
            raise
        return handle

    def send(self, message: Any, credit_request: int | None = None) -> Any:
        """Send a request on this share, and return it without waiting for the answer."""
        return self.wire.send(
            message,
            sid=self.session.session_id,
            tid=self.tree.tree_connect_id,
            credit_request=credit_request,
        )


def deletion(*, deleted: bool) -> FileDispositionInformation:
    """Return the structure that says whether an open file or folder is removed when its handle closes.

    MS-FSCC section 2.4.11; the handle needs :data:`DELETE` access.
    """
    info = FileDispositionInformation()
    info["delete_pending"] = deleted
    return info


def change_message(handle: Open, info: Any) -> SMB2SetInfoRequest:
    """Return the request that sets an information structure (MS-SMB2 section 2.2.39)."""
    message = SMB2SetInfoRequest()
    message["info_type"] = info.INFO_TYPE
    message["file_info_class"] = info.INFO_CLASS
    message["file_id"] = handle.file_id
    message["buffer"] = info
    return message
