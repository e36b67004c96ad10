"""``smb-put``, ``smb-get``: one file to and from the share, beside smbclient."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.child import Usage, run_child
from benchmarks.line import slow_line
from benchmarks.pairs import LIMIT, OURS, take_turns
from benchmarks.results import MIB, Row, ratio_row

SIZE_MIB = 1024
GOAL = 1.0
ROUND_TRIP_S = 0.010
PEER = "smbclient"


def smb_put(bench: Bench) -> Iterator[Row]:
    """``smb-put``: signed, and encrypted."""
    with _source(bench) as source:
        for encrypt in (False, True):
            yield _put(bench, source, "smb-put-encrypted" if encrypt else "smb-put-signed", encrypt, None)


def smb_get(bench: Bench) -> Iterator[Row]:
    """``smb-get``: signed, and encrypted."""
    with _source(bench) as source:
        for encrypt in (False, True):
            yield _get(bench, source, "smb-get-encrypted" if encrypt else "smb-get-signed", encrypt, None)


def smb_put_10ms(bench: Bench) -> Iterator[Row]:
    """``smb-put-10ms``: over a line with a round trip of 10 ms, encrypted as by default."""
    with _source(bench) as source, slow_line(bench.stack.samba.port, round_trip_s=ROUND_TRIP_S) as port:
        yield _put(bench, source, "smb-put-10ms", True, port)


def smb_get_10ms(bench: Bench) -> Iterator[Row]:
    """``smb-get-10ms``: over the same line."""
    with _source(bench) as source, slow_line(bench.stack.samba.port, round_trip_s=ROUND_TRIP_S) as port:
        yield _get(bench, source, "smb-get-10ms", True, port)


@contextmanager
def _source(bench: Bench) -> Iterator[Path]:
    """A file of random bytes that the page cache holds, for both sides."""
    size, source = bench.scale.bytes(SIZE_MIB), bench.folder / "transfer.bin"
    with source.open("wb") as file:
        for begin in range(0, size, MIB):
            file.write(os.urandom(min(size - begin, MIB)))
    try:
        yield source
    finally:
        source.unlink()


def _put(bench: Bench, source: Path, name: str, encrypt: bool, port: int | None) -> Row:
    size, way = source.stat().st_size, "encrypted" if encrypt else "signed"
    bench.say(f"{name}: {size / MIB:.0f} MiB")

    def ours(_: int) -> Usage:
        usage = _copy(bench, "put", source, "ours.bin", encrypt, port)
        (bench.stack.share_folder / "ours.bin").unlink()
        return usage

    def peer(_: int) -> Usage:
        usage = bench.peers.put(source, "peer.bin", encrypt=encrypt, port=port)
        (bench.stack.share_folder / "peer.bin").unlink()
        return usage

    def limit(_: int) -> Usage:
        usage = bench.peers.plain_copy(source, "limit.bin")
        (bench.stack.share_folder / "limit.bin").unlink()
        return usage

    return ratio_row(
        name,
        size,
        GOAL,
        take_turns(bench.scale.repetitions, {OURS: ours, PEER: peer, LIMIT: limit}),
        PEER,
        words=f"smbclient put, {way}, then fsync on the server",
        limit="dd with fsync into the folder behind the share",
    )


def _get(bench: Bench, source: Path, name: str, encrypt: bool, port: int | None) -> Row:
    size, way = source.stat().st_size, "encrypted" if encrypt else "signed"
    bench.say(f"{name}: {size / MIB:.0f} MiB")
    # Not through any of the two sides, and so in the page cache for both.
    bench.peers.plain_copy(source, "get.bin")
    null = Path(os.devnull)
    rounds = take_turns(
        bench.scale.repetitions,
        {
            OURS: lambda _: _copy(bench, "get", null, "get.bin", encrypt, port),
            PEER: lambda _: bench.peers.get("get.bin", null, encrypt=encrypt, port=port),
        },
    )
    (bench.stack.share_folder / "get.bin").unlink()
    return ratio_row(name, size, GOAL, rounds, PEER, words=f"smbclient get to /dev/null, {way}")


def _copy(bench: Bench, direction: str, local: Path, path: str, encrypt: bool, port: int | None) -> Usage:
    location = bench.location(port or bench.stack.samba.port)
    words = [sys.executable, "-m", "benchmarks.share_copy", direction, str(local)]
    words += [location, path, "--encrypt" if encrypt else "--sign"]
    root = str(Path(__file__).parents[2])
    return run_child(words, {**bench.environ, "PYTHONPATH": root}, bench.folder)
