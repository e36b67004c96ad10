"""Where zstd frames begin and end.

``zstandard`` decompresses a stream with bounded output, but does not say whether the last frame is complete.
The frame format is RFC 8878, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable

MAGIC = (0xFD2FB528).to_bytes(4, "little")
"""First bytes of a zstd frame."""

_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_DICTIONARY_BYTES = (0, 1, 2, 4)
_RLE, _RESERVED = 1, 3


def is_skippable(magic: bytes) -> bool:
    """Whether four bytes begin a skippable frame (0x184D2A50 to 0x184D2A5F, little-endian)."""
    return len(magic) == 4 and magic[0] & 0xF0 == 0x50 and magic[1:] == b"\x2a\x4d\x18"


class FrameWalker:
    """Follows frames and blocks by their headers, without decompressing them."""

    def __init__(self) -> None:
        self._field = bytearray()
        self._wanted = 4
        self._parse: Callable[[bytes], None] = self._magic
        self._skip = 0
        self._checksum = 0
        self._broken = False

    @property
    def complete(self) -> bool:
        """Whether the bytes so far end exactly after a frame."""
        boundary = self._parse == self._magic and not self._field and not self._skip
        return boundary and not self._broken

    def feed(self, view: memoryview) -> None:
        """Take the next compressed bytes."""
        position = 0
        while position < len(view) and not self._broken:
            if self._skip:
                taken = min(self._skip, len(view) - position)
                self._skip -= taken
            else:
                taken = min(self._wanted - len(self._field), len(view) - position)
                self._field += view[position : position + taken]
                if len(self._field) == self._wanted:
                    field = bytes(self._field)
                    self._field.clear()
                    self._parse(field)
            position += taken

    def _expect(self, parse: Callable[[bytes], None], wanted: int, skip: int = 0) -> None:
        self._parse, self._wanted, self._skip = parse, wanted, skip

    def _magic(self, field: bytes) -> None:
        if field == MAGIC:
            self._expect(self._descriptor, 1)
        elif is_skippable(field):
            self._expect(self._skippable_size, 4)
        else:
            self._broken = True

    def _skippable_size(self, field: bytes) -> None:
        self._expect(self._magic, 4, int.from_bytes(field, "little"))

    def _descriptor(self, field: bytes) -> None:
        flags = field[0]
        single_segment = flags >> 5 & 1
        content_size = _CONTENT_SIZE_BYTES[flags >> 6] or single_segment
        self._checksum = 4 if flags & 4 else 0
        rest = (1 - single_segment) + _DICTIONARY_BYTES[flags & 3] + content_size
        self._expect(self._block, 3, rest)

    def _block(self, field: bytes) -> None:
        header = int.from_bytes(field, "little")
        kind, size = header >> 1 & 3, header >> 3
        self._broken = kind == _RESERVED
        stored = 1 if kind == _RLE else size
        if header & 1:
            self._expect(self._magic, 4, stored + self._checksum)
        else:
            self._expect(self._block, 3, stored)
