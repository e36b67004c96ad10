"""Text of files that people write."""

from __future__ import annotations

import pytest

from jenkins_release.base.utf8 import NotUtf8, read_utf8

TEXT = "[product]\r\nname = 'Skyé'\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf_8_is_read_with_and_without_a_byte_order_mark(encoding: str):
    """Notepad writes one."""
    assert read_utf8(TEXT.encode(encoding)) == TEXT


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (TEXT.encode("utf-16"), "it is UTF-16"),
        (TEXT.encode("utf-16-be"), "it is UTF-16"),
        (TEXT.encode("utf-16-le"), "it is UTF-16"),
        (b"\xff\xfe", "it is UTF-16"),
        (TEXT.encode("latin-1"), "line 2 is not UTF-8"),
        (b"hunter2\xff", "line 1 is not UTF-8"),
    ],
)
def test_another_encoding_is_told_and_nothing_is_shown(data: bytes, told: str):
    """What it is and what to do; the file may hold a password."""
    with pytest.raises(NotUtf8, match=told) as caught:
        read_utf8(data)
    assert str(caught.value).endswith(": save it as UTF-8")
    assert "hunter2" not in str(caught.value)
