"""The framing of a tar archive, parsed as a stream.

Follows POSIX.1-2001 pax interchange format (ustar and pax headers) and the GNU extensions that
Go's ``archive/tar`` writes: long names and base-256 numbers. Anything that ``docker save`` does not write, or
that two readers could understand differently, is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from jenkins_release.base.errors import IntegrityError
from jenkins_release.images.archive.header import BLOCK, Header, parse_header, parse_pax, text
from jenkins_release.images.archive.limits import ArchiveLimits


class Kind(StrEnum):
    """The accepted kinds of members; everything else is refused."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symbolic link"


_KINDS = {b"0": Kind.FILE, b"\0": Kind.FILE, b"2": Kind.SYMLINK, b"5": Kind.DIRECTORY}
_REFUSED = {
    b"1": "a hard link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a fifo",
    b"7": "a contiguous file",
    b"S": "a sparse file",
    b"g": "a global pax header",
}
_EXTENSIONS = {b"L": "GNU long name", b"K": "GNU long link", b"x": "pax header"}
_IDENTITY_RECORDS = {"path", "linkpath", "size"}


@dataclass(frozen=True, slots=True)
class TarMember:
    """One member, as described by its header.

    Attributes:
        name: Name as written, not yet checked.
        kind: What it is.
        size: Bytes of its data.
        offset: Bytes from the beginning of the archive to its data.
        target: What a link points to, as written.
    """

    name: str
    kind: Kind
    size: int
    offset: int
    target: str


class MemberSink(Protocol):
    """Receives the members as they come."""

    def begin(self, member: TarMember) -> None:
        """A member begins; its data follows, if it has any."""

    def data(self, piece: memoryview) -> None:
        """More bytes of the member's data; the piece is valid only during the call."""

    def end(self) -> None:
        """The member is complete."""


class TarStream:
    """Splits a stream of bytes into members.

    Args:
        sink: Receives the members.
        limits: Limits on members and extension headers.
    """

    def __init__(self, sink: MemberSink, limits: ArchiveLimits) -> None:
        self._sink = sink
        self._limits = limits
        self._offset = 0
        self._block = bytearray()
        self._member: TarMember | None = None
        self._data_left = 0
        self._padding_left = 0
        self._extension: bytearray | None = None
        self._extension_kind = b""
        self._overrides: dict[str, str] = {}
        self._extensions: set[bytes] = set()
        self._members = 0
        self._zero_blocks = 0

    @property
    def offset(self) -> int:
        """Bytes seen so far."""
        return self._offset

    def feed(self, view: memoryview) -> None:
        """Take the next bytes.

        Raises:
            IntegrityError: The bytes are not a tar archive that this reader accepts.
        """
        position, size = 0, len(view)
        while position < size:
            piece = view[position:]
            if self._data_left:
                taken = self._take_data(piece[: self._data_left])
            elif self._padding_left:
                taken = min(self._padding_left, len(piece))
                self._padding_left -= taken
            elif self._zero_blocks == 2:
                taken = self._take_trailer(piece)
            else:
                taken = self._take_header(piece[: BLOCK - len(self._block)])
            position += taken
            self._offset += taken
            if self._block and len(self._block) == BLOCK:
                self._header_complete(bytes(self._block))
                self._block.clear()

    def finish(self) -> None:
        """Check that the archive is complete.

        Go's ``archive/tar``, which writes every ``docker save``, always ends an archive with two
        zero blocks, so their absence means that the end is missing.

        Raises:
            IntegrityError: The archive ends too early; the message says where.
        """
        if self._offset == 0:
            raise IntegrityError("the archive is empty: expected a tar archive, found 0 bytes")
        if self._data_left:
            what = repr(self._member.name) if self._member else f"a {_EXTENSIONS[self._extension_kind]}"
            raise _truncated(self._offset, f"in the data of {what}, {self._data_left} bytes are missing")
        if self._padding_left:
            raise _truncated(
                self._offset, f"after a member's data, {self._padding_left} bytes of padding are missing"
            )
        if self._block:
            raise _truncated(self._offset, f"in a header, {len(self._block)} of {BLOCK} bytes exist")
        if self._zero_blocks < 2:
            raise _truncated(
                self._offset, f"without its end: expected two zero blocks, found {self._zero_blocks}"
            )
        if self._offset % BLOCK:
            raise _truncated(self._offset, f"inside a block: the size is not a multiple of {BLOCK} bytes")

    def _take_data(self, piece: memoryview) -> int:
        if self._extension is not None:
            self._extension += piece
        else:
            self._sink.data(piece)
        self._data_left -= len(piece)
        if not self._data_left:
            self._data_complete()
        return len(piece)

    def _take_header(self, piece: memoryview) -> int:
        self._block += piece
        return len(piece)

    def _take_trailer(self, piece: memoryview) -> int:
        rest = bytes(piece).lstrip(b"\0")
        if rest:
            raise IntegrityError(
                f"the archive goes on after its end, at byte {self._offset + len(piece) - len(rest)}: "
                f"expected only zeros, found {rest[:40]!r}"
            )
        return len(piece)

    def _header_complete(self, block: bytes) -> None:
        start = self._offset - BLOCK
        if not block.strip(b"\0"):
            if self._extensions:
                raise IntegrityError(f"the archive ends at byte {start} where a member was expected")
            self._zero_blocks += 1
            return
        if self._zero_blocks:
            raise IntegrityError(
                f"the archive goes on after its end, at byte {start}: expected a second zero block, "
                f"found {block[:40]!r}"
            )
        self._members += 1
        if self._members > self._limits.members:
            raise IntegrityError(
                f"the archive has more than {self._limits.members} members, which saved images do not have"
            )
        header = parse_header(block, start)
        if header.type in _EXTENSIONS:
            self._begin_extension(header, start)
        else:
            self._begin_member(header, start)

    def _begin_extension(self, header: Header, start: int) -> None:
        what = _EXTENSIONS[header.type]
        if header.type in self._extensions or (self._extensions and b"x" in {*self._extensions, header.type}):
            # In Go, a second pax header replaces the first, and GNU's name takes precedence over a pax
            # header's.
            raise IntegrityError(
                f"the {what} at byte {start} is duplicate: programs differ in which one counts"
            )
        self._extensions.add(header.type)
        if not 0 < header.size <= self._limits.extension_bytes:
            raise IntegrityError(
                f"the {what} at byte {start} has {header.size} bytes, expected 1 to "
                f"{self._limits.extension_bytes}"
            )
        self._extension, self._extension_kind = bytearray(), header.type
        self._expect_data(header.size)

    def _begin_member(self, header: Header, start: int) -> None:
        name = self._overrides.get("path", header.name)
        target = self._overrides.get("linkpath", header.target)
        size = int(self._overrides.get("size", header.size))
        self._overrides, self._extensions = {}, set()
        kind = _KINDS.get(header.type)
        if kind is None:
            what = _REFUSED.get(header.type, f"of the unknown type {header.type!r}")
            raise IntegrityError(f"archive member {name!r} is {what}, expected a file, folder or link")
        if kind is Kind.FILE and name.endswith("/"):
            if header.type != b"\0":
                raise IntegrityError(f"archive member {name!r} is a file with the name of a folder")
            # Before POSIX, a folder was a file whose name ends with a slash.
            kind = Kind.DIRECTORY
        if kind is not Kind.FILE and size:
            raise IntegrityError(
                f"archive member {name!r} is a {kind} of {size} bytes, expected 0 at byte {start}"
            )
        self._member = TarMember(name, kind, size, self._offset, target)
        self._sink.begin(self._member)
        self._expect_data(size)

    def _expect_data(self, size: int) -> None:
        self._data_left = size
        self._padding_left = -size % BLOCK
        if not size:
            self._data_complete()

    def _data_complete(self) -> None:
        if self._extension is None:
            self._sink.end()
            self._member = None
            return
        data, kind = bytes(self._extension), self._extension_kind
        self._extension = None
        what = f"{_EXTENSIONS[kind]} before byte {self._offset}"
        if kind == b"x":
            records = parse_pax(data, what)
            self._overrides = {key: records[key] for key in _IDENTITY_RECORDS & records.keys()}
            return
        name = text(data.removesuffix(b"\0"), what)
        if not name:
            raise IntegrityError(f"the {what} is empty")
        self._overrides["path" if kind == b"L" else "linkpath"] = name


def _truncated(offset: int, where: str) -> IntegrityError:
    return IntegrityError(
        f"the archive is truncated: it ends after {offset} bytes {where}",
        hint="the transfer or the `docker save` was cut short: make the archive again",
    )
