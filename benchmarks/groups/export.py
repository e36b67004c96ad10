"""The export beside the script that it replaces: ``docker save``, ``sha256sum``, ``smbclient put``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.bench import Bench, Build
from benchmarks.child import Usage
from benchmarks.pairs import alternate
from benchmarks.results import MIB, Row, ratio_row

ONE_MIB = 512
BASE_MIB, OWN_MIB = 192, 16
FIVE = ("rms", "viewer", "router", "dbmigrate", "sync")
GOAL_ONE, GOAL_FIVE = 1.5, 3.0


def measure_export(bench: Bench) -> Iterator[Row]:
    """Export one image, and five on one base."""
    one = bench.scale.bytes(ONE_MIB)
    yield _compare(bench, "export, one image", ["rms"], 0, one, GOAL_ONE)
    base, own = bench.scale.bytes(BASE_MIB), bench.scale.bytes(OWN_MIB)
    yield _compare(bench, "export, five images on one base", FIVE, base, own, GOAL_FIVE)


def _compare(bench: Bench, name: str, names: Sequence[str], base: int, own: int, goal: float) -> Row:
    size = base + len(names) * own
    bench.say(f"{name}: {size / MIB:.0f} MiB")
    with bench.build(names, base_size=base, own_size=own) as build:

        def ours(_: int) -> Usage:
            usage = bench.export(build)
            bench.remove_candidate(build)
            return usage

        def limit(_: int) -> Usage:
            return bench.peers.docker("save", *build.references, discard=True)

        found = alternate(bench.scale.repetitions, ours, lambda _: _script(bench, build), limit)
    each = "" if len(names) == 1 else ", image by image"
    return ratio_row(
        name,
        size,
        goal,
        ours=found.ours,
        peer=f"docker save -o; sha256sum; smbclient put, encrypted, then fsync on the server{each}",
        peer_time=found.peer,
        limit="docker save to /dev/null, all images in one call: the daemon alone",
        limit_time=found.limit,
        peak_rss=found.peak_rss,
        cpu_s=found.cpu_s,
        note=found.disk,
    )


def _script(bench: Bench, build: Build) -> Usage:
    total = Usage(0.0, written=0)
    for number, reference in enumerate(build.references):
        archive = bench.folder / f"script-{number}.tar"
        total = total.plus(bench.peers.docker("save", "-o", str(archive), reference))
        total = total.plus(bench.peers.sha256sum(archive))
        total = total.plus(bench.peers.put(archive, archive.name, encrypt=True))
        archive.unlink()
        (bench.stack.share_folder / archive.name).unlink()
    return total
