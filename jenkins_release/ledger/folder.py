"""A ledger in a folder with separate permissions: local, mounted, or on an SMB server.

The folder is only as safe as its permissions: users who can write to the share must not be able to write to
it, and those who write lines must not be able to delete or change them. A line's arrival time is its file's
modification time; its owner can change that, which an S3 bucket does not allow.
"""

from __future__ import annotations

import re
import secrets

from jenkins_release.base.errors import RemoteError
from jenkins_release.base.moments import moment_of
from jenkins_release.ledger.protocol import (
    MAX_LINE_BYTES,
    MAX_LINES,
    NotInLedger,
    check_count,
    check_line,
    other_line,
)
from jenkins_release.records.ledger_line import Line
from jenkins_release.share.protocol import Entry, PathExists, PathNotFound, Share
from jenkins_release.share.staging import not_listed, rename_whole, shown_path, unlisted

_NUMBERED = re.compile(r"(\d{4,9})\.json")
"""Lines that follow each other; a line with any other name stands alone."""
_DEPTH = 6
"""Maximum folders between the root and a line."""


class FolderLedger:
    """A folder that accepts each line once.

    Args:
        share: The folder.
    """

    def __init__(self, share: Share) -> None:
        self._share = share

    @property
    def name(self) -> str:
        """The readable path of the folder."""
        return self._share.name

    def close(self) -> None:
        """Close the connection to a server."""
        close = getattr(self._share, "close", None)
        if close is not None:
            close()

    def add(self, path: str, data: bytes) -> Line:
        """Write a line once: under a hidden name, flushed, protected, and renamed without replacing one."""
        found = self._line(path)
        if found is None:
            self._write(path, data)
            found = self._line(path)
        if found is None:
            raise NotInLedger(
                f"{self._shown(path)} was just written, but does not exist",
                hint="find out who removes files from the ledger",
                retryable=True,
            )
        if found.data != data:
            raise other_line(self._shown(path), data, found.data)
        return found

    def read(self, folder: str) -> list[Line]:
        """Return every line below a folder."""
        paths = self._paths(folder, _DEPTH)
        check_count(len(paths), self._shown(folder))
        found = [self._line(path) for path in paths]
        return sorted((line for line in found if line is not None), key=lambda line: line.path)

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders directly below a folder; hidden ones are leftovers."""
        found = [entry.name for entry in self._entries(folder) if entry.is_folder]
        return sorted(name for name in found if not name.startswith("."))

    def _write(self, path: str, data: bytes) -> None:
        folder, _, name = path.rpartition("/")
        if folder:
            self._share.make_folder(folder)
        temporary = f"{folder}/.{name}.{secrets.token_hex(4)}".lstrip("/")
        with self._share.create(temporary) as writer:
            writer.write(data)
        self._share.protect(temporary)
        try:
            rename_whole(self._share, temporary, path)
        except PathExists:
            self._discard(temporary)  # another writer was faster; add() compares the two

    def _discard(self, temporary: str) -> None:
        try:
            self._share.remove(temporary)
        except RemoteError:
            return  # an append-only folder keeps it; hidden names are never read

    def _line(self, path: str) -> Line | None:
        try:
            entry = self._share.stat(path)
            data = b"".join(self._share.read(path, length=min(entry.size, MAX_LINE_BYTES + 1)))
        except PathNotFound:
            return None
        arrived = moment_of(entry.modified)
        return Line(path, check_line(data, self._shown(path)), arrived)

    def _paths(self, folder: str, depth: int) -> list[str]:
        found: list[str] = []
        entries = self._entries(folder)
        numbers = [int(match[1]) for entry in entries if (match := _NUMBERED.fullmatch(entry.name))]
        if numbers and (hidden := unlisted(self._share, folder, [f"{max(numbers) + 1:04d}.json"])):
            raise not_listed(self._share, f"{folder}/{hidden[0]}")
        for entry in entries:
            path = f"{folder}/{entry.name}".lstrip("/")
            if entry.name.startswith("."):
                continue
            found += (self._paths(path, depth - 1) if depth else []) if entry.is_folder else [path]
            if len(found) > MAX_LINES:
                break
        return found

    def _entries(self, folder: str) -> list[Entry]:
        try:
            return self._share.list(folder)
        except PathNotFound:
            return []

    def _shown(self, path: str) -> str:
        return shown_path(self._share, path)
