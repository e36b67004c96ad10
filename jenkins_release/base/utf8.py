"""Text of files that people write; errors name the encodings that Windows programs use instead of UTF-8."""

from __future__ import annotations


class NotUtf8(ValueError):
    """The bytes are not UTF-8 text; the message says what to do, and shows none of them."""


def read_utf8(data: bytes) -> str:
    """Return a text, without the byte order mark that an editor may have put before it.

    Raises:
        NotUtf8: It is UTF-16, as ``>`` of Windows PowerShell writes it, or another encoding.
    """
    if b"\0" in data or data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise NotUtf8("it is UTF-16, as Windows programs write it: save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotUtf8(f"line {line} is not UTF-8: save it as UTF-8") from None
