"""Archives of ``docker save | gzip``, which ``docker load`` accepts."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from jenkins_release.base.errors import IntegrityError
from jenkins_release.images.archive.header import compressed_with

_PIECE = 1 << 20


def unpacked(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Return the bytes of an archive, decompressed if it is gzip (RFC 1952, also with several members).

    Args:
        chunks: The bytes of the file; the first chunk is not shorter than a magic number.

    Raises:
        IntegrityError: It is compressed in another way, or its gzip data is damaged.
    """
    first = next(chunks, b"")
    compression = compressed_with(first)
    if compression not in {"", "gzip"}:
        raise IntegrityError(
            f"it is compressed with {compression}, expected an archive of docker save, plain or gzip",
            hint="decompress it first",
        )
    if not compression:
        yield first
        yield from chunks
        return
    member = zlib.decompressobj(wbits=31)
    data = first
    while True:
        try:
            yield member.decompress(data, _PIECE)
        except zlib.error as error:
            raise IntegrityError(f"its gzip data is damaged: {error}", hint="get the file again") from error
        data = member.unconsumed_tail
        if member.eof:
            data = member.unused_data or next(chunks, b"")
            if not data:
                return
            member = zlib.decompressobj(wbits=31)
        elif not data and not (data := next(chunks, b"")):
            raise IntegrityError("its gzip data ends too early", hint="get the file again")
