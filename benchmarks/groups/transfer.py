"""One file to and from the share, beside smbclient: signed, and encrypted."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.child import Usage, run_child
from benchmarks.pairs import alternate
from benchmarks.results import MIB, Row, ratio_row

SIZE_MIB = 1024
GOAL = 1.0


def measure_transfer(bench: Bench) -> Iterator[Row]:
    """Copy a file that the page cache holds, and read it back into ``/dev/null``."""
    size = bench.scale.bytes(SIZE_MIB)
    source = bench.folder / "transfer.bin"
    with source.open("wb") as file:
        for _ in range(0, size, MIB):
            file.write(os.urandom(min(size, MIB)))
    size = source.stat().st_size
    try:
        for encrypt in (False, True):
            way = "encrypted" if encrypt else "signed"
            bench.say(f"transfer: {size / MIB:.0f} MiB {way}, put and get")
            yield _put(bench, source, size, encrypt, way)
            yield _get(bench, source, size, encrypt, way)
    finally:
        source.unlink()


def _put(bench: Bench, source: Path, size: int, encrypt: bool, way: str) -> Row:
    def ours(_: int) -> Usage:
        usage = _copy(bench, "put", source, "ours.bin", encrypt)
        (bench.stack.share_folder / "ours.bin").unlink()
        return usage

    def peer(_: int) -> Usage:
        usage = bench.peers.put(source, "peer.bin", encrypt=encrypt)
        (bench.stack.share_folder / "peer.bin").unlink()
        return usage

    def limit(_: int) -> Usage:
        usage = bench.peers.plain_copy(source, "limit.bin")
        (bench.stack.share_folder / "limit.bin").unlink()
        return usage

    found = alternate(bench.scale.repetitions, ours, peer, limit)
    return ratio_row(
        f"smb put, {way}",
        size,
        GOAL,
        ours=found.ours,
        peer=f"smbclient put, {way}, then fsync on the server",
        peer_time=found.peer,
        limit="dd with fsync into the folder behind the share",
        limit_time=found.limit,
        peak_rss=found.peak_rss,
        cpu_s=found.cpu_s,
    )


def _get(bench: Bench, source: Path, size: int, encrypt: bool, way: str) -> Row:
    # Not through any of the two sides, and so in the page cache for both.
    bench.peers.plain_copy(source, "get.bin")
    null = Path(os.devnull)
    found = alternate(
        bench.scale.repetitions,
        lambda _: _copy(bench, "get", null, "get.bin", encrypt),
        lambda _: bench.peers.get("get.bin", null, encrypt=encrypt),
    )
    (bench.stack.share_folder / "get.bin").unlink()
    return ratio_row(
        f"smb get, {way}",
        size,
        GOAL,
        ours=found.ours,
        peer=f"smbclient get to /dev/null, {way}",
        peer_time=found.peer,
        peak_rss=found.peak_rss,
        cpu_s=found.cpu_s,
    )


def _copy(bench: Bench, direction: str, local: Path, path: str, encrypt: bool) -> Usage:
    words = [sys.executable, "-m", "benchmarks.share_copy", direction, str(local)]
    words += [bench.stack.share_location, path, "--encrypt" if encrypt else "--sign"]
    root = str(Path(__file__).parents[2])
    return run_child(words, {**bench.environ, "PYTHONPATH": root}, bench.folder)
