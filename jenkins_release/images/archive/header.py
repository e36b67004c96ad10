"""One tar header block, and the records of a pax header.

Field positions and the checksum follow POSIX.1-2001 (``pax``, ustar Interchange Format); base-256
numbers follow the GNU tar manual, "Basic Tar Format". Docker and skopeo read archives with Go's
``archive/tar``, whose ``reader.go`` tells four formats apart by magic, version and trailer. A header that it
could take for a different format than we do is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jenkins_release.base.errors import IntegrityError
from jenkins_release.images.archive.zstd_frames import MAGIC, is_skippable

BLOCK = 512
"""Bytes of a header, and of the unit that data is padded to."""

_MAX_SIZE = 1 << 62
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_TIME = re.compile(r"[0-9]{1,12}(\.[0-9]{0,9})?")
_HARMLESS = re.compile(r"comment|[ug]name|(LIBARCHIVE|SCHILY)\.(dev|ino|nlink|creationtime)")
_USTAR, _GNU, _OLD = b"ustar\x0000", b"ustar  \0", bytes(8)
_RECORD_LENGTH = re.compile(rb"[1-9][0-9]{0,6}")
_COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}

_DOCKER = {b"\x1f\x8b\x08": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", MAGIC: "zstd"}


class CompressedArchive(IntegrityError):
    """The file begins with compressed data instead of a tar archive."""


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a header block that matter for an image archive.

    Attributes:
        name: Name with its prefix, as written.
        type: The type flag, one byte.
        size: Bytes of data that follow.
        target: Name that a link points to, as written.
    """

    name: str
    type: bytes
    size: int
    target: str


def compressed_with(head: bytes) -> str:
    """Return a file's compression by its first bytes; empty for a tar archive and anything else.

    The magic numbers are those of RFC 1952 (gzip), RFC 8878 (zstd), the xz format and Info-ZIP's notes. A
    name in a tar archive may begin with them: a header with ``ustar`` in its place is a tar archive.
    """
    if head[257:262] == _USTAR[:5] or is_header(head):
        return ""
    return next((name for magic, name in _COMPRESSIONS.items() if head.startswith(magic)), "")


def docker_takes_for(head: bytes) -> str:
    """Return which compression Docker sees in a file's first bytes, whatever it is; empty for none.

    The numbers of moby's ``archive.DetectCompression``. From version 23 on, Docker knows zstd, and looks for
    data after a skippable frame.
    """
    if is_skippable(head[:4]):
        return "zstd"
    return next((name for magic, name in _DOCKER.items() if head.startswith(magic)), "")


def is_header(block: bytes) -> bool:
    """Whether a block is a tar header by its checksum."""
    expected, found = _checksums(block)
    return len(block) == BLOCK and expected == found


def _checksums(block: bytes) -> tuple[int | None, int]:
    """Return the checksum in a header, and that of its bytes."""
    match = _OCTAL.fullmatch(block[148:156])
    expected = int(match[1], 8) if match and match[1] else None
    return expected, sum(block) - sum(block[148:156]) + 8 * 0x20


def parse_header(block: bytes, offset: int) -> Header:
    """Read a header block.

    Args:
        block: 512 bytes, not all zero.
        offset: Where the block begins in the archive, for the message.

    Raises:
        CompressedArchive: It is the first one, and is compressed data instead of a header.
        IntegrityError: The checksum is wrong or a field cannot be understood.
    """
    where = f"in the header at byte {offset}"
    expected, found = _checksums(block)
    if expected != found:
        compression = "" if offset else compressed_with(block)
        if compression:
            raise CompressedArchive(
                f"the archive is compressed with {compression}, expected a plain tar archive",
                hint="decompress it first, as 'gunzip' does, or remove 'gzip' after 'docker save'",
            )
        raise IntegrityError(
            f"the archive has no valid tar header at byte {offset}: its checksum is {expected}, but its "
            f"bytes add up to {found}; it begins with {block[:60].rstrip(bytes(1))!r}",
            hint="the archive is damaged, or is not an image archive",
        )
    if not offset and (compression := docker_takes_for(block)):
        raise IntegrityError(
            f"the name of the archive's first member begins like {compression} data: Docker takes the "
            "archive for that",
            hint="`docker save` does not write such archives: save the images again",
        )
    name = text(block[:100].split(b"\0", 1)[0], where)
    magic = block[257:265]
    if magic == _USTAR:
        if block[500:512].strip(b"\0"):
            # With "tar\0" at its end it is STAR's, and readers that know that format see a shorter prefix.
            raise _ambiguous(where, f"it ends with {block[500:512]!r}, as a STAR header may")
        prefix = text(block[345:500].split(b"\0", 1)[0], where)
        name = f"{prefix}/{name}" if prefix else name
    elif magic == _GNU:
        if block[345:512].strip(b"\0"):
            # Go takes invalid times for a prefix of the name, because its own old writer put one there.
            raise _ambiguous(where, "GNU's format has no prefix, but there is something in its place")
    elif magic != _OLD or block[257:512].strip(b"\0"):
        raise _ambiguous(where, f"{magic!r} is neither POSIX's nor GNU's mark")
    for start, end, what in ((100, 108, "mode"), (329, 337, "device"), (337, 345, "device")):
        _octal(block[start:end], what, where)
    for start, end, what in ((108, 116, "owner"), (116, 124, "group"), (136, 148, "time")):
        _number(block[start:end], what, where)
    return Header(
        name=name,
        type=block[156:157],
        size=_number(block[124:136], "size", where),
        target=text(block[157:257].split(b"\0", 1)[0], where),
    )


def parse_pax(data: bytes, what: str) -> dict[str, str]:
    r"""Read the records of a pax header: ``<length> <key>=<value>\n`` each.

    Args:
        data: The header's data.
        what: The header, for the message.

    Returns:
        The records with the member's name or size, and harmless ones such as times.

    Raises:
        IntegrityError: A record is malformed, occurs twice, describes a sparse file, or is unknown.
    """
    records: dict[str, str] = {}
    while data:
        digits, _, _ = data[:8].partition(b" ")
        length = int(digits) if _RECORD_LENGTH.fullmatch(digits) else 0
        record = data[len(digits) + 1 : length]
        if not length or length > len(data) or not record.endswith(b"\n") or b"=" not in record:
            raise IntegrityError(f"the {what} contains a malformed record: {data[:60]!r}")
        raw_key, _, raw_value = record[:-1].partition(b"=")
        data = data[length:]
        key, value = text(raw_key, what), text(raw_value, what)
        if key.startswith(("GNU.sparse.", "SCHILY.realsize")):
            raise IntegrityError(f"the {what} describes a sparse file, which saved images do not have")
        if key in records or not value:
            raise IntegrityError(f"the {what} sets {key!r} twice or to an empty value")
        if key == "size" and (not _DECIMAL.fullmatch(value) or int(value) > _MAX_SIZE):
            raise IntegrityError(f"the {what} gives the size {value!r}, expected a number of bytes")
        if not (key in {"path", "linkpath", "size"} or _is_harmless(key, value)):
            raise IntegrityError(
                f"the {what} sets {key[:60]!r} to {value[:60]!r}, which saved images do not have"
            )
        records[key] = value
    return records


def _is_harmless(key: str, value: str) -> bool:
    if key in {"mtime", "atime", "ctime"}:
        return _TIME.fullmatch(value) is not None
    if key in {"uid", "gid"}:
        return _DECIMAL.fullmatch(value) is not None
    return _HARMLESS.fullmatch(key) is not None


def text(raw: bytes, what: str) -> str:
    """Decode a name. Raises IntegrityError if it is not UTF-8 or contains a zero byte."""
    try:
        decoded = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise IntegrityError(f"the name {raw[:100]!r} {what} is not UTF-8") from error
    if "\0" in decoded:
        raise IntegrityError(f"the name {raw[:100]!r} {what} contains a zero byte")
    return decoded


def _octal(field: bytes, what: str, where: str) -> int:
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise IntegrityError(f"the {what} {where} is {field!r}, expected an octal number")
    return int(match[1] or b"0", 8)


def _number(field: bytes, what: str, where: str) -> int:
    if not field[0] & 0x80:
        return _octal(field, what, where)
    # 0x80 marks base-256, a two's complement number; a negative one is never valid here.
    value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    if value > _MAX_SIZE:
        raise IntegrityError(f"the {what} {where} is negative or invalid: {field!r}")
    return value


def _ambiguous(where: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"programs read different names {where}: {why}",
        hint="`docker save` does not write such archives: do not load it, and find out who created it",
    )
