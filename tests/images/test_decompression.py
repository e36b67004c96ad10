"""Archives of `docker save | gzip`."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Iterator

import pytest
import zstandard

from jenkins_release.base.errors import IntegrityError
from jenkins_release.images.decompression import unpacked
from tests.fixtures.archives import docker_members, join, layer_tar

ARCHIVE = join(docker_members({"skydrm/rms:1": [layer_tar("a"), layer_tar("b")]}))


def pieces(data: bytes, step: int = 1000) -> Iterator[bytes]:
    return (data[at : at + step] for at in range(0, len(data), step))


@pytest.mark.parametrize("step", [16, 1000, 1 << 20])
@pytest.mark.parametrize(
    "stored",
    [
        ARCHIVE,
        gzip.compress(ARCHIVE),
        gzip.compress(ARCHIVE[:5000]) + gzip.compress(b"") + gzip.compress(ARCHIVE[5000:]),
        b"",
    ],
    ids=["plain", "gzip", "members", "empty"],
)
def test_the_bytes_of_the_archive(stored: bytes, step: int):
    """Whatever pieces they come in."""
    assert b"".join(unpacked(pieces(stored, step))) == (ARCHIVE if stored else b"")


def test_a_name_that_begins_like_compressed_data():
    """A tar archive whose first member is called ``BZh`` is none that bzip2 made."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("BZh"))
    assert b"".join(unpacked(pieces(made.getvalue()))) == made.getvalue()


def test_what_grows_comes_in_small_pieces():
    """A file of a few bytes may hold a gigabyte."""
    assert max(map(len, unpacked(pieces(gzip.compress(bytes(50 << 20)))))) <= 1 << 20


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (gzip.compress(ARCHIVE)[:-9], "ends too early"),
        (gzip.compress(ARCHIVE)[:-5] + b"\0\0\0\0\0", "damaged"),
        (gzip.compress(ARCHIVE) + b"garbage", "damaged"),
        (bz2.compress(ARCHIVE), "compressed with bzip2"),
        (lzma.compress(ARCHIVE), "compressed with xz"),
        (zstandard.compress(ARCHIVE), "compressed with zstd"),
    ],
)
def test_what_cannot_be_read(stored: bytes, told: str):
    """Each with its own reason."""
    with pytest.raises(IntegrityError, match=told):
        list(unpacked(pieces(stored)))
