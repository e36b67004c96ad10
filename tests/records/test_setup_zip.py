"""Zips that somebody else may have written: what cannot be read is no zip of ours, and no bug."""

import io
import zipfile

import pytest

from jenkins_release.base.errors import IntegrityError
from jenkins_release.records.setup_zip import read_zip

_VERSION_NEEDED, _COMPRESSION = 6, 10
"""Offsets in an entry of the central directory (APPNOTE.TXT, 4.3.12)."""


def zipped(offset: int, value: int) -> bytes:
    """Return a zip with a byte of its central directory replaced."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("SkyDRM/setup.sh", "exit 0")
    data = bytearray(out.getvalue())
    data[data.index(b"PK\x01\x02") + offset] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (zipped(_VERSION_NEEDED, 200), "x.zip is not a zip that can be read: zip file version 20.0"),
        (zipped(_COMPRESSION, 99), "is compressed or encrypted"),
        (b"PK", "x.zip is not a zip that can be read"),
    ],
    ids=["version", "compression", "cut off"],
)
def test_what_cannot_be_read_is_refused(data: bytes, told: str):
    """The library says NotImplementedError of a version that it does not know."""
    with pytest.raises(IntegrityError) as raised:
        read_zip(data, "x.zip")
    assert told in str(raised.value)
