"""Operations on names on a share: list, describe, create, rename, remove, and free space."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from smbprotocol.exceptions import (
    AccessDenied,
    CannotDelete,
    DirectoryNotEmpty,
    FileIsADirectory,
    NoMoreFiles,
    NoSuchFile,
    NotSupported,
    ObjectNameNotFound,
    ObjectPathNotFound,
    SharingViolation,
    SMBResponseException,
)
from smbprotocol.file_info import (
    FileAttributes,
    FileBasicInformation,
    FileFsFullSizeInformation,
    FileInformationClass,
    FileRenameInformation,
)
from smbprotocol.header import NtStatus
from smbprotocol.open import CreateDisposition, CreateOptions, FilePipePrinterAccessMask

from jenkins_release.share.checks import check_listed
from jenkins_release.share.protocol import AccessRefused, Entry, HiddenEntries, PathNotFound
from jenkins_release.share.smb.connection import (
    A_FILE,
    A_FOLDER,
    DELETE,
    OPEN,
    READ_ATTRIBUTES,
    READ_DATA,
    SmbConnection,
    deletion,
)
from jenkins_release.share.smb.errors import connection_survives, refused_name, status_text
from jenkins_release.share.smb.packed.messages import listing

_LISTING = 1024 * 1024
"""Size of an answer with folder entries, so that a typical folder takes one query."""
_ENTRY = struct.Struct("<II8x8xQ8xQ8xII")
"""MS-FSCC section 2.4.10 up to the name: next, index, last write, end of file, attributes, name length."""
_EPOCH_US = 11_644_473_600_000_000
"""Microseconds from 1601, where the server's times begin (MS-DTYP section 2.3.3), to 1970."""
_CREDIT_SIZE = 65536
_MOST_HELD = 5
_MOST_ASKED = 1000
"""Maximum files and folders that are asked for in :func:`held_files`."""
_ITSELF = CreateOptions.FILE_OPEN_REPARSE_POINT
"""Open a link itself, not its target."""


def list_folder(connection: SmbConnection, path: str, *, bounded: bool = True) -> Sequence[Entry]:
    """Return the entries of a folder, sorted by name.

    Raises:
        IntegrityError: ``bounded``, and it has more entries than any folder of a release.
    """
    found: list[Entry] = []
    with connection.doing("list", path), connection.opened(path, READ_DATA, options=A_FOLDER) as handle:
        wire = connection.wire
        room = min(_LISTING, wire.max_transact_size, max(1, wire.available_credits() - 1) * _CREDIT_SIZE)
        while True:
            query, _ = handle.query_directory(
                "*", FileInformationClass.FILE_DIRECTORY_INFORMATION, max_output=room, send=False
            )
            try:
                answer = wire.receive(connection.send(query))
            except (NoMoreFiles, NoSuchFile):
                break
            rows = [*entries_of(listing(answer["data"].get_value(), room))]
            if found and not rows:
                raise ValueError("another answer to a listing has no entry")
            found += rows
            if bounded:
                check_listed(connection.shown.path(path), len(found))
    return sorted(found, key=lambda each: each.name)


def describe(connection: SmbConnection, path: str) -> Entry:
    """Return what the server says about one file or folder."""
    # An open for attributes only is never refused because of another exclusive open.
    with connection.doing("find", path), connection.opened(path, READ_ATTRIBUTES) as handle:
        name = path.rpartition("/")[2]
        written = handle.last_write_time.timestamp()
        return entry_of(name, handle.file_attributes, handle.end_of_file, written)


def make_folder(connection: SmbConnection, names: Sequence[str]) -> None:
    """Create a folder and its missing parents."""
    path = "/".join(names)
    with connection.doing("make the folder", path):
        try:
            _make_one(connection, path)
        except ObjectPathNotFound:
            for depth in range(1, len(names) + 1):
                _make_one(connection, "/".join(names[:depth]))


def rename(connection: SmbConnection, source: str, target: str) -> None:
    """Rename in one step on the server, never onto an existing name (MS-FSCC section 2.4.42.2)."""
    with (
        connection.doing("rename", source, to=target),
        connection.opened(source, DELETE | READ_ATTRIBUTES, options=_ITSELF) as handle,
    ):
        info = FileRenameInformation()
        info["replace_if_exists"] = False
        info["file_name"] = connection.wire_path(target)
        try:
            connection.change(handle, info)
        except (ObjectPathNotFound, ObjectNameNotFound) as error:
            shown, folder = connection.shown, target.rpartition("/")[0]
            tried = f"cannot rename {shown.path(source)} to {shown.path(target)}"
            if _is_there(connection, folder):
                raise refused_name(error.status, tried) from error
            raise PathNotFound(
                f"{tried}: the folder {shown.path(folder)} does not exist",
                hint="create the target's folder first",
            ) from error


def remove(connection: SmbConnection, path: str) -> None:
    """Remove a file, or a folder with everything in it; it may be missing, or marked read-only.

    Raises:
        HiddenEntries: A folder is not empty, but the server lists nothing in it.
    """
    # Not recursive: a foreign folder may be deeper than Python's stack.
    todo = [(path, False)]
    while todo:
        here, emptied = todo.pop()
        if _removed(connection, here):
            continue
        inside = list_folder(connection, here, bounded=False)
        if emptied:
            if not inside:
                raise _hidden_entries(connection, here)
            with connection.doing("remove", here):
                # Someone added something in between; the server's own error says so.
                raise DirectoryNotEmpty()
        todo.append((here, True))
        todo.extend((f"{here}/{each.name}", False) for each in inside)


def _removed(connection: SmbConnection, path: str) -> bool:
    """Remove one thing; False for a folder that is not empty."""
    with connection.doing("remove", path):
        try:
            return not _delete(connection, path)
        except (CannotDelete, AccessDenied):
            # Read-only protects it from others and from slips, but not from a removal that was asked for.
            if not _is_marked(connection, path):
                raise
        except (ObjectNameNotFound, ObjectPathNotFound):
            return True
        clear_mark(connection, path)
        return not _delete(connection, path)


def _hidden_entries(connection: SmbConnection, path: str) -> HiddenEntries:
    return HiddenEntries(
        f"cannot remove {connection.shown.path(path)}: it is not empty, but the server lists nothing in it "
        f"for this account: {status_text(NtStatus.STATUS_DIRECTORY_NOT_EMPTY)}",
        hint="the server hides what the account may not read (access-based enumeration; 'hide unreadable' "
        "and 'veto files' of Samba): let the account read and delete in that folder, or have someone remove "
        "it who sees everything",
    )


def clear_mark(connection: SmbConnection, path: str) -> None:
    """Clear the attribute ``read-only`` of a file or folder; of a link, not of its target.

    Raises:
        AccessRefused: The account may not.
    """
    try:
        _set_attributes(connection, path, FileAttributes.FILE_ATTRIBUTE_NORMAL, _ITSELF)
    except AccessDenied as error:
        raise AccessRefused(
            f"{connection.shown.path(path)} is marked read-only, and this account may not change that: "
            f"{status_text(error.status)}",
            hint="clear the mark with an account that may, or let this one write attributes",
        ) from error


def protect(connection: SmbConnection, path: str) -> bool:
    """Set a file's attribute ``read-only`` (MS-FSCC section 2.6); False if the server refuses."""
    with connection.doing("protect", path):
        try:
            _set_attributes(connection, path, FileAttributes.FILE_ATTRIBUTE_READONLY, A_FILE)
        except (AccessDenied, NotSupported):
            return False
    return True


def free_space(connection: SmbConnection) -> int:
    """Return the bytes that the caller may still write, with quotas counted (MS-FSCC section 2.5.4)."""
    with connection.doing("ask for the room on", ""), connection.opened("", READ_ATTRIBUTES) as handle:
        info = connection.query(handle, FileFsFullSizeInformation)
        unit = info["sectors_per_unit"].get_value() * info["bytes_per_sector"].get_value()
        return int(info["caller_available_units"].get_value() * unit)


def held_files(connection: SmbConnection, path: str) -> list[str]:
    """Return the files at or below a path that another handle keeps from being opened exclusively.

    At most :data:`_MOST_HELD`, of the first files that a walk finds; what cannot be opened for another reason
    is passed over.
    """
    found: list[str] = []
    todo, left = [path], _MOST_ASKED
    while todo and left and len(found) < _MOST_HELD:
        here = todo.pop()
        left -= 1
        with connection.doing("look for who holds", here):
            try:
                with connection.opened(here, READ_DATA, share=0, options=A_FILE):
                    continue
            except FileIsADirectory:
                pass
            except SharingViolation:
                found.append(here)
                continue
            except SMBResponseException as error:
                if not connection_survives(error):
                    raise
                continue
        todo.extend(f"{here}/{each.name}" for each in reversed(list_folder(connection, here)))
    return found


def is_renamed(connection: SmbConnection, source: str, target: str) -> bool:
    """Whether a rename whose answer was lost was done."""
    return not is_there(connection, source) and is_there(connection, target)


def is_protected(connection: SmbConnection, path: str) -> bool:
    """Whether a file or folder has the attribute ``read-only``."""
    with connection.doing("find", path):
        return _is_marked(connection, path)


def is_there(connection: SmbConnection, path: str) -> bool:
    """Whether there is a file or folder of that path."""
    with connection.doing("find", path):
        return _is_there(connection, path)


def is_folder(connection: SmbConnection, path: str) -> bool:
    """Whether there is a folder of that path."""
    try:
        return describe(connection, path).is_folder
    except PathNotFound:
        return False


def _is_marked(connection: SmbConnection, path: str) -> bool:
    with connection.opened(path, READ_ATTRIBUTES, options=_ITSELF) as handle:
        return bool(handle.file_attributes & FileAttributes.FILE_ATTRIBUTE_READONLY)


def _is_there(connection: SmbConnection, path: str) -> bool:
    try:
        with connection.opened(path, READ_ATTRIBUTES):
            return True
    except (ObjectPathNotFound, ObjectNameNotFound):
        return False


def _make_one(connection: SmbConnection, path: str) -> None:
    how = {"disposition": CreateDisposition.FILE_OPEN_IF, "options": A_FOLDER}
    with connection.opened(path, READ_ATTRIBUTES, **how):
        return


def _delete(connection: SmbConnection, path: str) -> bool:
    # True for a folder that is not empty, which stays.
    how = {"disposition": OPEN, "options": _ITSELF}
    with connection.opened(path, DELETE | READ_ATTRIBUTES, **how) as handle:
        try:
            connection.change(handle, deletion(deleted=True))
        except DirectoryNotEmpty:
            return True
    return False


def _set_attributes(connection: SmbConnection, path: str, attributes: int, options: int) -> None:
    # Times of 0 stay as they are (MS-FSCC section 2.4.7).
    info = FileBasicInformation()
    info["file_attributes"] = attributes
    access = FilePipePrinterAccessMask.FILE_WRITE_ATTRIBUTES | READ_ATTRIBUTES
    with connection.opened(path, access, options=options) as handle:
        connection.change(handle, info)


def entries_of(data: bytes) -> Iterator[Entry]:
    """Yield the entries of a folder, but not itself and its parent (MS-FSCC section 2.4.10).

    Raises:
        ValueError: An entry, or its name, is not within the data, or within another entry.
    """
    offset, following = 0, 1
    while data and following:
        left = len(data) - offset
        if left < _ENTRY.size:
            raise ValueError(f"an entry of a folder has {left} bytes")
        following, _, written, size, attributes, length = _ENTRY.unpack_from(data, offset)
        if length % 2 or not _ENTRY.size + length <= (following or left) <= left:
            raise ValueError(
                f"an entry of a folder has a name of {length} bytes in {following or left} of {left}"
            )
        start = offset + _ENTRY.size
        name = data[start : start + length].decode("utf-16-le")
        if name not in {".", ".."}:
            yield entry_of(name, attributes, size, (written // 10 - _EPOCH_US) / 1e6)
        offset += following


def entry_of(name: str, attributes: int, size: int, modified_s: float) -> Entry:
    """Return an entry of a folder from what the server says about it (MS-FSCC section 2.6)."""
    is_folder = bool(attributes & FileAttributes.FILE_ATTRIBUTE_DIRECTORY)
    read_only = bool(attributes & FileAttributes.FILE_ATTRIBUTE_READONLY)
    return Entry(name, is_folder, 0 if is_folder else size, modified_s, read_only)
