"""The promotion beside the script that it replaces: get, ``docker load``, ``docker tag``, ``docker push``."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench, Build
from benchmarks.child import Usage
from benchmarks.pairs import alternate
from benchmarks.results import MIB, Row, Timing, ratio_row

NAMES = ("rms", "viewer")
OWN_MIB = 96
GOAL = 1.0


def measure_promote(bench: Bench) -> Iterator[Row]:
    """Promote a candidate of two images that neither the daemon nor the registry has."""
    size = bench.scale.bytes(OWN_MIB)
    bench.say(f"promote: {len(NAMES)} images of {size / MIB:.0f} MiB")
    bench.peers.log_in()
    for name in NAMES:
        bench.peers.make_repository(f"bench/{name}")
        bench.peers.make_repository(f"script/{name}")
    daemon: list[float] = []

    def ours(_: int) -> Usage:
        with bench.build(NAMES, own_size=size) as build:
            _candidate(bench, build)
            return bench.cli(build, "promote", "run", build.ref)

    def peer(_: int) -> Usage:
        with bench.build(NAMES, own_size=size) as build:
            _candidate(bench, build)
            usage, in_daemon = _script(bench, build)
            daemon.append(in_daemon)
            return usage

    found = alternate(bench.scale.repetitions, ours, peer)
    yield ratio_row(
        "promote, two images",
        len(NAMES) * size,
        GOAL,
        ours=found.ours,
        peer="smbclient get, encrypted; docker load; docker tag and docker push of each image; no checks",
        peer_time=found.peer,
        limit="docker load and docker push of the peer alone: the daemon",
        limit_time=Timing(tuple(daemon)),
        peak_rss=found.peak_rss,
        cpu_s=found.cpu_s,
        note=found.disk,
    )


def _candidate(bench: Bench, build: Build) -> None:
    """Bring a candidate to where a promotion begins: on the share, signed off, in no daemon."""
    bench.export(build)
    bench.sign_off(build)
    bench.forget(build)


def _script(bench: Bench, build: Build) -> tuple[Usage, float]:
    archive = bench.folder / "script.tar"
    total = bench.peers.get(build.archive, archive, encrypt=True)
    load = bench.peers.docker("load", "-i", str(archive))
    total, in_daemon = total.plus(load), load.seconds
    for name, reference in zip(build.names, build.references, strict=True):
        target = f"{bench.stack.ecr.host}/script/{name}:{build.version}"
        total = total.plus(bench.peers.docker("tag", reference, target))
        push = bench.peers.docker("push", target)
        total, in_daemon = total.plus(push), in_daemon + push.seconds
        bench.engine.untag(target)
    archive.unlink()
    return total, in_daemon
