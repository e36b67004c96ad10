"""Our commands with smbprotocol's own calls: ``python -m benchmarks.smb_calls PARTS PROGRAM [WORD]...``.

The peer of ``share/smb/packed``: what a user of smbprotocol would write who knows it well. It has the same
files, sizes, window of requests, compounds and checks; only who makes the messages differs.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any

from smbprotocol.exceptions import SMBResponseException
from smbprotocol.file_info import FileAttributes
from smbprotocol.open import ImpersonationLevel, Open

from jenkins_release.share.smb import batch
from jenkins_release.share.smb.connection import OPEN, READ_DATA, SmbConnection
from jenkins_release.share.smb.errors import connection_survives
from jenkins_release.share.smb.packed.internals import BulkConnection
from jenkins_release.share.smb.packed.related import Answer

PARTS = ("contents", "compounds", "socket")
"""What can be left to smbprotocol: contents of files, related requests of listings, the socket of it all."""


def contents() -> None:
    """READ and WRITE by ``Open.read`` and ``Open.write``, several at a time."""
    SmbConnection.packed = property(lambda _: False, lambda *_: None)  # type: ignore[assignment]


def compounds() -> None:
    """Open, read or list, and close by ``Connection.send_compound``."""
    BulkConnection.body_of = lambda _, message: message  # type: ignore[assignment, method-assign]
    batch._post = _post  # type: ignore[assignment]  # what is measured is private
    batch._answer = _answer


def _post(connection: SmbConnection, messages: list[Any], share: int, options: int, path: str) -> list[Any]:
    handle = Open(connection.tree, connection.wire_path(path, dfs=bool(connection.tree.is_dfs_share)))
    attributes = FileAttributes.FILE_ATTRIBUTE_NORMAL
    how = (ImpersonationLevel.Impersonation, READ_DATA, attributes, share, OPEN, options)
    create, _ = handle.create(*how, send=False)
    session, tree = connection.session.session_id, connection.tree.tree_connect_id
    return list(connection.wire.send_compound([create, *messages], session, tree, related=True))


def _answer(connection: SmbConnection, request: Any) -> Answer | SMBResponseException:
    try:
        header = connection.wire.receive(request)
    except SMBResponseException as error:
        if not connection_survives(error):
            raise
        return error
    return _Unpacked(header)


class _Unpacked(Answer):
    """An answer whose body smbprotocol has unpacked."""

    def __init__(self, header: Any) -> None:
        super().__init__(header["status"].get_value(), b"", header)

    @property
    def body(self) -> bytes:
        return bytes(self.header["data"].get_value())


def socket() -> None:
    """The ``Tcp`` of smbprotocol, which has no time limits; needs the other two."""
    del BulkConnection.transport


def main() -> None:
    """Replace parts of the data path, then run a module with the words that follow."""
    parts, program, *words = sys.argv[1:]
    for part in filter(None, parts.split(",")):
        {"contents": contents, "compounds": compounds, "socket": socket}[part]()
    sys.argv = [program, *words]
    runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
