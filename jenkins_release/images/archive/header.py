"""One tar header block, and the records of a pax header.

Field positions and the checksum follow POSIX.1-2001 (``pax``, ustar Interchange Format); base-256
numbers follow the GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jenkins_release.errors import IntegrityError

BLOCK = 512
"""Bytes of a header, and of the unit that data is padded to."""

_MAX_SIZE = 1 << 62
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_RECORD_LENGTH = re.compile(rb"[1-9][0-9]{0,6}")


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


def parse_header(block: bytes, offset: int) -> Header:
    """Read a header block.

    Args:
        block: 512 bytes, not all zero.
        offset: Where the block begins in the archive, for the message.

    Raises:
        IntegrityError: The checksum is wrong or a field cannot be understood.
    """
    where = f"in the header at byte {offset}"
    found = sum(block) - sum(block[148:156]) + 8 * 0x20
    match = _OCTAL.fullmatch(block[148:156])
    expected = int(match[1], 8) if match and match[1] else None
    if expected != found:
        raise IntegrityError(
            f"the archive has no valid tar header at byte {offset}: its checksum says {expected}, its "
            f"bytes add up to {found}; it begins with {block[:60].rstrip(bytes(1))!r}",
            hint="the archive is damaged, or is not an image archive",
        )
    name = text(block[:100].split(b"\0", 1)[0], where)
    if block[257:263] == b"ustar\0":
        prefix = text(block[345:500].split(b"\0", 1)[0], where)
        name = f"{prefix}/{name}" if prefix else name
    return Header(
        name=name,
        type=block[156:157],
        size=_number(block[124:136], where),
        target=text(block[157:257].split(b"\0", 1)[0], where),
    )


def parse_pax(data: bytes, what: str) -> dict[str, str]:
    r"""Read the records of a pax header: ``<length> <key>=<value>\n`` each.

    Args:
        data: The header's data.
        what: The header, for the message.

    Returns:
        The records; ``size`` is checked to be a decimal number.

    Raises:
        IntegrityError: A record is malformed, comes twice, or describes a sparse file.
    """
    records: dict[str, str] = {}
    while data:
        digits, _, _ = data[:8].partition(b" ")
        length = int(digits) if _RECORD_LENGTH.fullmatch(digits) else 0
        record = data[len(digits) + 1 : length]
        if not length or length > len(data) or not record.endswith(b"\n") or b"=" not in record:
            raise IntegrityError(f"the {what} holds a malformed record: {data[:60]!r}")
        raw_key, _, raw_value = record[:-1].partition(b"=")
        data = data[length:]
        key = text(raw_key, what)
        if key.startswith(("GNU.sparse.", "SCHILY.realsize")):
            raise IntegrityError(f"the {what} describes a sparse file, which no saved image has")
        if key not in {"path", "linkpath", "size"}:
            continue
        value = text(raw_value, what)
        if key in records or not value:
            raise IntegrityError(f"the {what} sets {key!r} twice or to nothing")
        if key == "size" and (not _DECIMAL.fullmatch(value) or int(value) > _MAX_SIZE):
            raise IntegrityError(f"the {what} gives the size {value!r}, expected a number of bytes")
        records[key] = value
    return records


def text(raw: bytes, what: str) -> str:
    """Decode a name. Raises IntegrityError when it is not UTF-8 or has a zero byte inside."""
    try:
        decoded = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise IntegrityError(f"the name {raw[:100]!r} {what} is not UTF-8") from error
    if "\0" in decoded:
        raise IntegrityError(f"the name {raw[:100]!r} {what} has a zero byte inside")
    return decoded


def _number(field: bytes, where: str) -> int:
    if field[0] & 0x80:
        # 0x80 marks base-256, a two's complement number: a negative one is beyond any size here.
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if value > _MAX_SIZE:
            raise IntegrityError(f"the size {where} is negative or impossible: {field!r}")
        return value
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise IntegrityError(f"the size {where} is {field!r}, expected an octal number")
    return int(match[1] or b"0", 8)
