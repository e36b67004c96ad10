"""gzip in blocks: one stream, the same bytes however the input comes."""

from __future__ import annotations

import gzip
import hashlib
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from jenkins_release.images.gzip_blocks import BLOCK, BlockGzip, compression_pool

DATA = random.Random(1).randbytes(BLOCK) * 2 + b"text " * BLOCK  # noqa: S311


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with compression_pool(2) as threads:
        yield threads


def packed(data: bytes, pool: ThreadPoolExecutor, piece: int = 1 << 20, depth: int = 4) -> bytes:
    stream, out = BlockGzip(pool, depth), []
    for start in range(0, len(data), piece):
        out += stream.update(data[start : start + piece])
    out += stream.finish()
    whole = b"".join(out)
    assert stream.digest == f"sha256:{hashlib.sha256(whole).hexdigest()}"
    assert (stream.size, stream.taken) == (len(whole), len(data))
    return whole


@pytest.mark.parametrize("size", [0, 1, 777, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, len(DATA)])
def test_every_gzip_reads_it(pool: ThreadPoolExecutor, size: int):
    """One member with a right CRC and length (RFC 1952)."""
    assert gzip.decompress(packed(DATA[:size], pool)) == DATA[:size]


@pytest.mark.parametrize("piece", [1, 333, BLOCK - 1, BLOCK + 1, len(DATA)])
def test_the_output_does_not_depend_on_how_the_input_comes(pool: ThreadPoolExecutor, piece: int):
    """Nor on the number of threads and of blocks under way."""
    data = DATA[: 2 * BLOCK + 5] if piece > 1 else DATA[:5000]
    with compression_pool(1) as alone:
        assert packed(data, pool, piece) == packed(data, alone, depth=1)


def test_nothing_of_the_machine_or_the_time_is_in_it(pool: ThreadPoolExecutor):
    """No name, no time, no system in the header (RFC 1952 section 2.3)."""
    assert packed(b"x", pool)[:10] == bytes.fromhex("1f8b08000000000000ff")


def test_no_more_than_the_depth_is_under_way(pool: ThreadPoolExecutor):
    """Output comes as soon as so many blocks were taken, so memory is bounded."""
    stream = BlockGzip(pool, depth=2)
    assert list(stream.update(bytes(BLOCK))) == []
    assert len(list(stream.update(bytes(BLOCK)))) == 1
    stream.abandon()
