"""CREATE, READ, WRITE and listings of SMB 2 and 3 as bytes, without an object for each field.

The layouts are those of MS-SMB2 sections 2.2.1 (header), 2.2.13 (CREATE request), 2.2.19 to 2.2.22 (READ
and WRITE, request and response), 2.2.34 (QUERY_DIRECTORY response) and 2.2.41 (transform header). Nothing
here uses a socket, a key or smbprotocol.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

HEADER: Final = 64
"""Bytes of a message's header."""
FIXED: Final = 80
"""Bytes of a message up to the data of a READ response: the header and the response's fixed part."""
TRANSFORM: Final = 52
"""Bytes in front of an encrypted message."""
PLAIN_MAGIC: Final = b"\xfeSMB"
SEALED_MAGIC: Final = b"\xfdSMB"
CREATE: Final = 5
READ: Final = 8
WRITE: Final = 9

FLAG_ANSWER: Final = 0x01
FLAG_ASYNC: Final = 0x02
FLAG_RELATED: Final = 0x04
FLAG_SIGNED: Final = 0x08
FLAG_DFS: Final = 0x10000000
SUCCESS: Final = 0
PENDING: Final = 0x103
UNSOLICITED: Final = 0xFFFFFFFFFFFFFFFF
"""Message id of what a server sends unasked (MS-SMB2 section 2.2.23)."""

_HEADER = struct.Struct("<4sHHIHHIIQIIQ16s")
_CREATE = struct.Struct("<HBBIQQIIIIIHHII")
_WRITE = struct.Struct("<HHIQ16sIIHHI")
_READ = struct.Struct("<HBBIQ16sIIIHHB")
_READ_ANSWER = struct.Struct("<HBBI")
_WRITE_ANSWER = struct.Struct("<HHI")
_LISTING = struct.Struct("<HHI")
_TRANSFORM = struct.Struct("<4s16s16sIHHQ")
_HEADER_AND_WRITE = HEADER + _WRITE.size
_CREATE_NAME = HEADER + _CREATE.size
_IMPERSONATION = 2
_NOTHING = bytes(16)
_PADDING = 0x50
"""Where a READ response should put its data: right after its fixed part."""


@dataclass(frozen=True, slots=True)
class MessageHeader:
    """A received header.

    Attributes:
        status: NTSTATUS.
        command: Command code.
        credits: Credits granted.
        flags: Header flags.
        next_command: Offset of a further message in the same packet; 0 for none.
        message_id: Which request it answers.
        session_id: Session it belongs to.
    """

    status: int
    command: int
    credits: int
    flags: int
    next_command: int
    message_id: int
    session_id: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """The transform header of an encrypted message.

    Attributes:
        tag: Authentication tag.
        nonce: 16 bytes, of which the cipher uses the first 11 or 12.
        size: Bytes of the message.
        flags: 1 for encrypted.
        session_id: Session whose key it is encrypted with.
    """

    tag: bytes
    nonce: bytes
    size: int
    flags: int
    session_id: int


def request_header(
    command: int,
    message_id: int,
    session_id: int,
    tree_id: int,
    *,
    charge: int,
    wanted: int,
    signed: bool,
    flags: int = 0,
    following: int = 0,
) -> bytes:
    """Return a request's header, its signature still zero.

    Args:
        command: What is requested, such as :data:`READ`.
        message_id: Number of the request.
        session_id: The session.
        tree_id: The tree connect.
        charge: Credits that it uses; 0 if the server has no multi-credit requests.
        wanted: Credits that the server is asked to grant.
        signed: Whether a signature will be filled in.
        flags: Other flags.
        following: Offset of the next message in the same packet; 0 for none.
    """
    flags |= FLAG_SIGNED if signed else 0
    return _HEADER.pack(
        PLAIN_MAGIC,
        HEADER,
        charge,
        0,
        command,
        wanted,
        flags,
        following,
        message_id,
        0,
        tree_id,
        session_id,
        _NOTHING,
    )


def with_signature(message: bytes, signature: bytes) -> bytes:
    """Return the beginning of a message with ``signature`` in its header."""
    return message[:48] + signature + message[HEADER:]


def create_body(
    path: str, *, access: int, attributes: int, share: int, disposition: int, options: int
) -> bytes:
    """Return the body of a CREATE request, as a user who is impersonated, without a lock or a context.

    Args:
        path: The path below the share; empty for the share itself.
        access: Access mask (MS-SMB2 section 2.2.13.1).
        attributes: File attributes.
        share: What others may do with the file meanwhile.
        disposition: What happens if there is such a file, or none.
        options: Create options.
    """
    name = path.encode("utf-16-le")
    fixed = _CREATE.pack(
        *(57, 0, 0, _IMPERSONATION, 0, 0, access, attributes, share, disposition, options),
        *(_CREATE_NAME, len(name), 0, 0),
    )
    return fixed + (name or bytes(2))


def read_body(file_id: bytes, offset: int, length: int) -> bytes:
    """Return the body of a READ request for ``length`` bytes from ``offset``."""
    return _READ.pack(49, _PADDING, 0, length, offset, file_id, 0, 0, 0, 0, 0, 0)


def write_body(file_id: bytes, offset: int, length: int) -> bytes:
    """Return the body of a WRITE request, the ``length`` bytes for ``offset`` follow it."""
    return _WRITE.pack(49, _HEADER_AND_WRITE, length, offset, file_id, 0, 0, 0, 0, 0)


def parse_header(message: bytes) -> MessageHeader:
    """Read a received header.

    Raises:
        ValueError: It is not a header.
    """
    if len(message) < HEADER:
        raise ValueError(f"a message of {len(message)} bytes has no header")
    magic, size, _, status, command, credit, flags, following, number, _, _, session_id, _ = (
        _HEADER.unpack_from(message)
    )
    if magic != PLAIN_MAGIC or size != HEADER:
        raise ValueError("a message does not begin with an SMB 2 header")
    return MessageHeader(status, command, credit, flags, following, number, session_id)


def parse_compound(packet: bytes) -> list[tuple[MessageHeader, bytes]]:
    """Read a packet of one or more messages: each with its header, and with whatever fills it up.

    Raises:
        ValueError: It is none.
    """
    found, start = [], 0
    while True:
        header = parse_header(packet[start : start + HEADER])
        following = header.next_command
        if not following:
            found.append((header, packet[start:]))
            return found
        if following < HEADER or following % 8:
            raise ValueError(f"the next message is {following} bytes further")
        found.append((header, packet[start : start + following]))
        start += following


def signature_of(message: bytes) -> bytes:
    """Return the signature in a received header."""
    return message[48:HEADER]


def read_answer(message: bytes) -> tuple[int, int]:
    """Return offset (from the beginning of the message) and length of a READ response's data.

    Raises:
        ValueError: It is not a READ response.
    """
    if len(message) < FIXED:
        raise ValueError(f"a READ response has {len(message)} bytes")
    size, offset, _, length = _READ_ANSWER.unpack_from(message, HEADER)
    if size != 17 or (length and offset < FIXED):
        raise ValueError("a READ response is malformed")
    return offset, length


def read_data(body: bytes, most: int) -> bytes:
    """Return the data of a READ response.

    Args:
        body: The response, after its header.
        most: Bytes that were requested.

    Raises:
        ValueError: It is not a READ response, or has not the bytes that it announces, or more than requested.
    """
    if len(body) < FIXED - HEADER:
        raise ValueError(f"a READ response has {len(body)} bytes")
    size, offset, _, length = _READ_ANSWER.unpack_from(body)
    return _data("READ", size == 17, body, offset, length, FIXED, most)


def listing(body: bytes, most: int) -> bytes:
    """Return the entries in a QUERY_DIRECTORY response; arguments and errors as of :func:`read_data`."""
    if len(body) < _LISTING.size:
        raise ValueError(f"a listing has {len(body)} bytes")
    size, offset, length = _LISTING.unpack_from(body)
    if not length:
        raise ValueError("a listing succeeded without an entry")
    return _data("QUERY_DIRECTORY", size == 9, body, offset, length, HEADER + _LISTING.size, most)


def _data(what: str, right: bool, body: bytes, offset: int, length: int, least: int, most: int) -> bytes:
    if not right or (length and offset < least):
        raise ValueError(f"a {what} response is malformed")
    if length > most:
        raise ValueError(f"a {what} response has {length} bytes, expected at most {most}")
    start = offset - HEADER if length else 0
    if start + length > len(body):
        raise ValueError(f"a {what} response announces {length} bytes at {offset}, but ends before")
    return body[start : start + length]


def write_answer(message: bytes) -> int:
    """Return how many bytes a WRITE response says were written.

    Raises:
        ValueError: It is not a WRITE response.
    """
    if len(message) < FIXED:
        raise ValueError(f"a WRITE response has {len(message)} bytes")
    size, _, count = _WRITE_ANSWER.unpack_from(message, HEADER)
    if size != 17:
        raise ValueError("a WRITE response is malformed")
    return int(count)


def transform_header(nonce: bytes, size: int, session_id: int) -> bytes:
    """Return the transform header of an encrypted message of ``size`` bytes, its tag still zero."""
    return _TRANSFORM.pack(SEALED_MAGIC, _NOTHING, nonce.ljust(16, b"\0"), size, 0, 1, session_id)


def with_tag(transform: bytes, tag: bytes) -> bytes:
    """Return a transform header with the authentication tag in it."""
    return transform[:4] + tag + transform[20:]


def authenticated(transform: bytes) -> bytes:
    """Return the part of a transform header that the tag covers in addition to the message."""
    return transform[20:TRANSFORM]


def parse_transform(packet: bytes) -> Sealed:
    """Read a received transform header.

    Raises:
        ValueError: It is not a header.
    """
    if len(packet) < TRANSFORM:
        raise ValueError(f"an encrypted message of {len(packet)} bytes has no header")
    magic, tag, nonce, size, _, flags, session_id = _TRANSFORM.unpack_from(packet)
    if magic != SEALED_MAGIC:
        raise ValueError("a message does not begin with a transform header")
    return Sealed(tag, nonce, size, flags, session_id)
