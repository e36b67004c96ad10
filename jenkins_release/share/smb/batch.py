"""Read many small files and folders over one connection, without waiting for each before requesting the next.

Open, read and close, or open, list and close, are sent as one compounded message (MS-SMB2 section 3.2.4.1.4),
and several messages are under way at a time: a distant server costs a few round trips for all files, not four
for each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from smbprotocol.exceptions import SMBResponseException
from smbprotocol.file_info import FileAttributes, FileInformationClass
from smbprotocol.header import NtStatus
from smbprotocol.open import Open

from jenkins_release.base.errors import IntegrityError, RemoteError
from jenkins_release.share.protocol import HEAD, Entry
from jenkins_release.share.smb.connection import (
    A_FILE,
    A_FOLDER,
    OPEN,
    READ_DATA,
    SHARE_ALL,
    SHARE_READ,
    SmbConnection,
)
from jenkins_release.share.smb.errors import connection_survives, translate
from jenkins_release.share.smb.files import entries_of, list_folder
from jenkins_release.share.smb.packed.messages import CREATE, create_body, listing, read_data
from jenkins_release.share.smb.packed.related import Answer, Body, RelatedRequest

T = TypeVar("T")

_DEPTH = 48
"""Maximum messages under way."""
_CREDITS = 4
"""Credits that a message uses: one for each request in it."""
_SPARE = 1
"""Credits left unused, for an echo of the receiving thread."""


def read_heads(connection: SmbConnection, paths: Sequence[str]) -> list[bytes | RemoteError]:
    """Return, in the paths' order, the first :data:`HEAD` bytes of files, or why one cannot be read.

    Raises:
        RemoteError: The connection failed.
    """
    # The same for every file: the handle is "of the request before".
    template = Open(connection.tree, "")
    read, _ = template.read(0, HEAD, send=False)
    close, _ = template.close(send=False)

    def take(opened: Any, answers: Sequence[Any]) -> bytes:
        _raise_first(opened)
        if _status(answers[0]) == NtStatus.STATUS_END_OF_FILE:
            return b""
        _raise_first(*answers)
        return read_data(answers[0].body, HEAD)

    bodies = [connection.wire.body_of(each) for each in (read, close)]
    post = partial(_post, connection, bodies, SHARE_READ, A_FILE)
    return _all(connection, "read", paths, post, take, partial(_head, connection))


def list_folders(connection: SmbConnection, paths: Sequence[str]) -> list[list[Entry] | RemoteError]:
    """Return, in the paths' order, the sorted entries of folders, or why one cannot be listed.

    Raises:
        RemoteError: The connection failed.
    """
    template = Open(connection.tree, "")
    kind = FileInformationClass.FILE_DIRECTORY_INFORMATION
    query, _ = template.query_directory("*", kind, max_output=HEAD, send=False)
    close, _ = template.close(send=False)

    def take(opened: Any, answers: Sequence[Any]) -> list[Entry] | None:
        first, second, closed = answers
        _raise_first(opened)
        if _status(first) in _NO_MORE:
            return []
        _raise_first(first, closed)
        if _status(second) not in _NO_MORE:
            _raise_first(second)
            return None
        return sorted(entries_of(listing(first.body, HEAD)), key=lambda entry: entry.name)

    bodies = [connection.wire.body_of(each) for each in (query, query, close)]
    post = partial(_post, connection, bodies, SHARE_ALL, A_FOLDER)
    found: list[list[Entry] | RemoteError] = []
    alone = partial(_listed, connection)
    for path, entries in zip(paths, _all(connection, "list", paths, post, take, alone), strict=True):
        # Two requests were not enough for all of its entries.
        found.append(_listed(connection, path) if entries is None else entries)
    return found


def _listed(connection: SmbConnection, path: str) -> list[Entry] | RemoteError:
    try:
        return [*list_folder(connection, path)]
    except IntegrityError as error:
        return RemoteError(error.message, hint=error.hint)
    except RemoteError as error:
        if not connection.alive:
            raise
        return error


def _head(connection: SmbConnection, path: str) -> bytes | RemoteError:
    try:
        with (
            connection.doing("read", path),
            connection.opened(path, READ_DATA, share=SHARE_READ, options=A_FILE) as handle,
        ):
            return bytes(handle.read(0, HEAD)) if handle.end_of_file else b""
    except RemoteError as error:
        if not connection.alive:
            raise
        return error


_NO_MORE = (NtStatus.STATUS_NO_MORE_FILES, NtStatus.STATUS_NO_SUCH_FILE)


def _all(
    connection: SmbConnection,
    what: str,
    paths: Sequence[str],
    post: Callable[[str], list[RelatedRequest]],
    take: Callable[[Any, Sequence[Any]], T],
    alone: Callable[[str], T | RemoteError],
) -> list[T | RemoteError]:
    found: list[T | RemoteError] = []
    under_way: deque[tuple[str, list[RelatedRequest]]] = deque()

    def settle() -> None:
        path, requests = under_way.popleft()
        with connection.doing(what, path):
            opened, *answers = [_answer(connection, request) for request in requests]
            refused = any(_status(each) == NtStatus.STATUS_ACCESS_DENIED for each in (opened, *answers))
            if refused and connection.wire.may_refuse_altered(connection.session.session_id):
                # A genuine refusal comes again.
                opened, *answers = [_answer(connection, request) for request in post(path)]
            try:
                found.append(take(opened, answers))
            except SMBResponseException as error:
                found.append(translate(error, what, connection.shown.path(path)))

    for path in paths:
        while under_way and not _room(connection, len(under_way)):
            settle()
        if not under_way and not _room(connection, 0, spare=0):
            # A server may grant a single credit, as one under load does: one request after another then.
            found.append(alone(path))
            continue
        with connection.doing(what, path):
            under_way.append((path, post(path)))
    while under_way:
        settle()
    return found


def _room(connection: SmbConnection, under_way: int, spare: int = _SPARE) -> bool:
    return under_way < _DEPTH and connection.wire.available_credits() >= _CREDITS + spare


def _post(
    connection: SmbConnection, bodies: Sequence[Body], share: int, options: int, path: str
) -> list[RelatedRequest]:
    tree = connection.tree
    create = create_body(
        connection.wire_path(path, dfs=bool(tree.is_dfs_share)),
        access=READ_DATA,
        attributes=FileAttributes.FILE_ATTRIBUTE_NORMAL,
        share=share,
        disposition=OPEN,
        options=options,
    )
    opened = Body(CREATE, create, bodies[-1].charge)
    return connection.wire.send_related([opened, *bodies], connection.session, tree)


def _answer(connection: SmbConnection, request: RelatedRequest) -> Answer | SMBResponseException:
    """Return an answer, or its error; raise an error that the connection does not survive."""
    wire = connection.wire
    answer = wire.await_related(request, wire.timeout_s)
    if answer.status == NtStatus.STATUS_SUCCESS:
        return answer
    error = SMBResponseException(answer.header)
    if not connection_survives(error):
        raise error
    return error


def _raise_first(*answers: Any) -> None:
    for answer in answers:
        if isinstance(answer, SMBResponseException):
            raise answer


def _status(answer: Any) -> int:
    return int(answer.status)
