"""A new file on an SMB share."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from isal import isal_zlib
from smbprotocol.exceptions import DeletePending, ObjectNameCollision, SMBException
from smbprotocol.file_info import FileStandardInformation
from smbprotocol.open import CreateDisposition, Open

from jenkins_release.base.errors import IntegrityError, ReleaseError
from jenkins_release.share.protocol import Finished, PathExists, ShareFull
from jenkins_release.share.smb.address import SmbAddress
from jenkins_release.share.smb.connection import (
    A_FILE,
    DELETE,
    READ_ATTRIBUTES,
    READ_DATA,
    WRITE_DATA,
    SmbConnection,
    deletion,
)
from jenkins_release.share.smb.copy import ServerCopy
from jenkins_release.share.smb.errors import (
    FOREIGN,
    AnswerLost,
    connection_survives,
    status_text,
    translate,
)
from jenkins_release.share.smb.files import describe, free_space, remove
from jenkins_release.share.smb.lanes import open_lane
from jenkins_release.share.smb.pool import Slot
from jenkins_release.share.smb.resume import Resumption
from jenkins_release.share.smb.transfer import PIECE, Confirmed, FileUpload, Lane, download

_log = logging.getLogger(__name__)
_COPIED = 256 * 1024 * 1024
"""Bytes that the server copies at a time into a resumable file: at most these are copied again."""
_ACCESS = WRITE_DATA | READ_ATTRIBUTES | DELETE


class SmbWriter(Finished):
    """A file that is being written to the share, as :class:`~jenkins_release.share.protocol.Writer` promises.

    The file is created exclusively, and no one else can open it meanwhile. Without a resumption, it is marked
    for removal until it is complete: whatever ends this process or its connection, the server leaves no
    partial file behind. With a resumption it is not, or a break would remove what has to continue.

    Args:
        slot: A separate connection for this file.
        path: Where the file goes, below the root.
        resumption: Continues after a break; None to raise it.
    """

    def __init__(self, slot: Slot, path: str, resumption: Resumption | None = None) -> None:
        self._slot = slot
        self._path = path
        self._resumption = resumption
        self._count = 0
        try:
            with self._connection.doing("create", path):
                handle = self._create()
        except AnswerLost as error:
            if resumption is None:
                # Whether or not it exists: it is marked, and goes with its session.
                raise
            handle = resumption.go_on(error, -1, self._create_again)
        recover = self._recover if resumption is not None else None
        self._upload = FileUpload(open_lane(self._connection), handle, recover)

    @property
    def _connection(self) -> SmbConnection:
        return self._slot.connection

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append ``data``; the buffer may be reused when the call returns."""
        view = memoryview(data).cast("B")
        with self._doing("write"):
            self._upload.write(view)
        self._count += len(view)

    def copy(self, source: SmbAddress, shown: SmbAddress, path: str, offset: int, length: int | None) -> bool:
        """Append a range of another file, which the server copies without transferring it.

        Args:
            source: Root of the share that the other file is on.
            shown: The configured location of that share, for messages.
            path: The file below it.
            offset: First byte.
            length: Bytes; None for the rest of the file.

        Returns:
            False if the server is a different one or does not support it; then nothing was appended.

        Raises:
            PathNotFound: There is no such file.
            IntegrityError: It has fewer bytes.
        """
        here = self._connection.target
        if (source.server.lower(), source.port) != (here.server.lower(), here.port):
            return False
        begun, version = self._count, ""
        while True:
            with self._doing("copy into"):
                try:
                    self._upload.settle()
                    with ServerCopy(self._connection, source, shown, path) as copy:
                        if version and copy.version != version:
                            raise IntegrityError(
                                f"{shown.path(path)} was changed while it was copied: it had {version}, now "
                                f"{copy.version}",
                                hint="find out who writes to the share; what was copied is discarded",
                            )
                        version = copy.version
                        return self._copy(copy, begun, offset, copy.length(offset, length))
                except FOREIGN as error:
                    # Again from the last part that is on the server's disk.
                    self._upload.restore(error)

    def _copy(self, copy: ServerCopy, begun: int, offset: int, length: int) -> bool:
        """Append what is missing of a range; what is copied is counted.

        Args:
            copy: The source.
            begun: How many bytes were written before the first of the range.
            offset: The first byte of the range in the source.
            length: Its bytes.
        """
        step = _COPIED if self._resumption is not None else length
        while (done := self._count - begun) < length:
            part = min(step, length - done)
            copied = copy.append_to(self._upload.handle, self._upload.offset, offset + done, part)
            if copied is None:
                if not done:
                    return False
                raise SMBException(f"the server copied {done} bytes, and copies no more")
            if self._resumption is not None:
                self._flush()
            self._upload.skip(copied)
            self._count += copied
        return True

    @contextlib.contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        """Translate failures in the block; if there is no room, say how much was written."""
        try:
            with self._connection.doing(what, self._path):
                yield
        except ShareFull as error:
            raise self._full(error) from error.__cause__

    def _full(self, error: ShareFull) -> ShareFull:
        free: int | None = None
        try:
            # Requests that are under way would mix with the question, and some of them may be done.
            self._upload.abandon()
            free = free_space(self._connection)
        except (ReleaseError, *FOREIGN) as another:
            _log.debug("asking how much is free: %s", another)
        message = f"{error.message}, after {self._upload.confirmed().size} bytes of it"
        hint = error.hint
        if free is None:
            return ShareFull(message, hint=hint)
        if free >= PIECE:
            hint = (
                f"that leaves room, so it is a quota that is used up, of a folder or of the account: {hint}"
            )
        return ShareFull(f"{message}; the server says that {free} bytes are free for this account", hint=hint)

    def _create(self) -> Open:
        connection, path = self._connection, self._path
        try:
            if self._resumption is None:
                return connection.create_marked(path, _ACCESS)
            new = CreateDisposition.FILE_CREATE
            return connection.open(path, _ACCESS | READ_DATA, share=0, disposition=new, options=A_FILE)
        except ObjectNameCollision as error:
            try:
                with connection.opened(path, READ_ATTRIBUTES):
                    raise
            except DeletePending:
                raise self._unfinished(error) from error
        except DeletePending as error:
            raise self._unfinished(error) from error

    def _create_again(self) -> Open:
        """Create the file after a lost answer, or open it: an empty one is ours."""
        connection = self._slot.renew()
        with connection.doing("create", self._path):
            try:
                return self._create()
            except ObjectNameCollision:
                handle = connection.open(self._path, _ACCESS | READ_DATA, share=0, options=A_FILE)
                if handle.end_of_file:
                    handle.close()
                    raise
                return handle

    def _unfinished(self, error: ObjectNameCollision | DeletePending) -> PathExists:
        return PathExists(
            f"cannot create {self._connection.shown.path(self._path)}: another session is writing it, "
            f"or has just lost its connection: {status_text(error.status)}",
            hint="the server removes the unfinished file when it notices: try again",
            retryable=True,
        )

    def _finish(self) -> None:
        whole = False
        if self._resumption is not None:
            self._resumption.at_end()
        while True:
            with self._doing("finish"):
                try:
                    acknowledged = self._upload.settle()
                    self._flush()
                    handle = self._upload.handle
                    connection = self._connection
                    size = connection.query(handle, FileStandardInformation)["end_of_file"].get_value()
                    if not size == acknowledged == self._count:
                        raise IntegrityError(
                            f"{connection.shown.path(self._path)}: {self._count} bytes were written, the "
                            f"server acknowledged {acknowledged} and shows a file of {size}"
                        )
                    whole = True
                    if self._resumption is None:
                        connection.change(handle, deletion(deleted=False))
                    handle.close()
                    return
                except FOREIGN as error:
                    if whole and self._resumption is None and self._stayed(error):
                        return
                    self._upload.restore(error)

    def _stayed(self, error: BaseException) -> bool:
        """Whether a complete file lost its mark although the answer to that was lost."""
        if connection_survives(error):
            return False
        try:
            found = describe(self._slot.renew(), self._path)
        except ReleaseError as another:
            _log.debug("looking whether it was done: %s", another)
            return False
        if found.size == self._count:
            _log.warning("%s is complete; only the last answer was lost: %s", self._path, error)
            return True
        return False

    def _flush(self) -> None:
        # CLOSE alone leaves the bytes in the server's memory; FLUSH puts them on its disk.
        message, _ = self._upload.handle.flush(send=False)
        self._connection.wire.receive_slow(self._connection.send(message))

    def _recover(self, error: BaseException, confirmed: Confirmed) -> tuple[Lane, Open]:
        if self._resumption is None or connection_survives(error):
            raise error
        broken = translate(error, "write", self._connection.shown.path(self._path))
        return self._resumption.go_on(broken, confirmed.size, lambda: self._reopen(confirmed), self._count)

    def _reopen(self, confirmed: Confirmed) -> tuple[Lane, Open]:
        connection = self._slot.renew()
        with connection.doing("go on with", self._path):
            handle = connection.open(self._path, _ACCESS | READ_DATA, share=0, options=A_FILE)
            lane = open_lane(connection)
            checksum = 0
            if handle.end_of_file >= confirmed.size:
                length = confirmed.size - confirmed.since
                for piece in download(connection, lane, handle, confirmed.since, length):
                    checksum = isal_zlib.crc32(piece, checksum)
            if handle.end_of_file < confirmed.size or checksum != confirmed.checksum:
                # After a power loss, a server has lost what it acknowledged but had not yet written to disk.
                connection.change(handle, deletion(deleted=True))
                handle.close()
                raise IntegrityError(
                    f"{connection.shown.path(self._path)} lost bytes that the server had acknowledged, "
                    f"{confirmed.size} of them before the connection broke",
                    hint="run it again from the beginning; check the server's disk and power",
                )
            return lane, handle

    def _abandon(self) -> None:
        where = self._connection.shown.path(self._path)
        try:
            if self._upload.handle.connection is self._connection.wire and self._connection.alive:
                self._upload.abandon()
                if self._resumption is not None:
                    self._connection.change(self._upload.handle, deletion(deleted=True))
                self._upload.handle.close()
                return
        except FOREIGN as error:
            _log.debug("abandoning %s: %s", where, error)
            # When the connection ends, the server closes the file, and removes it if it is marked.
            self._connection.drop(silent=isinstance(error, TimeoutError))
        if self._resumption is not None:
            try:
                remove(self._slot.renew(), self._path)
            except ReleaseError as error:
                _log.warning("the unfinished file %s was not removed: %s", where, error)
