"""``release-*``: export and promotion together, in each way that they can be configured.

What docs/adr/0012 decides the defaults from: on loopback, where processors and disk bound everything, and
at 1 Gbit/s to share and registry, where the wire does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from benchmarks.bench import Bench, Build, Setup
from benchmarks.child import Usage
from benchmarks.images import Image, five_images, image_archive
from benchmarks.pairs import Rounds, Side, take_turns
from benchmarks.results import MIB, Row

FIVE_MIB = 480
WAYS = (("plain", "docker"), ("plain", "registry"), ("gzip", "registry"))
DEFAULT = "gzip-registry"


def release(bench: Bench) -> Iterator[Row]:
    """``release-LAYERS-ENGINE``: a first release of five images in each way; ``-1gbit``: at 1 Gbit/s."""
    ways = {f"{layers}-{engine}": (layers, engine) for layers, engine in WAYS}
    if any(Setup((), layers, engine).missing for layers, engine in WAYS):
        bench.say("release: left out, this release has no choice of layers and engine")
        return
    images = five_images("release", bench.scale.bytes(FIVE_MIB))
    with bench.build(images) as build:
        for suffix, shaped in (("", False), ("-1gbit", True)):
            with bench.gigabit() if shaped else contextlib.nullcontext((0, "on loopback")) as (port, line):
                bench.say(f"release{suffix}: {build.size / MIB:.0f} MiB, {line}")
                sides: dict[str, Side] = {
                    name: lambda _, way=way: _released(bench, images, build, *way, port)  # type: ignore[misc]
                    for name, way in ways.items()
                }
                rounds = take_turns(bench.scale.repetitions, sides)
            yield from _rows(build, rounds, suffix, line)


def _released(
    bench: Bench, images: Sequence[Image], build: Build, layers: str, engine: str, port: int
) -> Usage:
    """Export, and promote as another agent would: into repositories, and with a daemon, that have nothing."""
    prefix = bench.new_prefix()
    bench.peers.make_repositories(prefix, build.names)
    share = bench.location(port) if port else ""
    setup = Setup(build.names, layers, engine, prefix, share)
    exported = bench.export(build, setup)
    bench.sign_off(build, setup)
    if engine == "docker":
        bench.forget(build)
    promoted = bench.cli(setup, "promote", "run", build.ref)
    if engine == "docker":
        bench.engine.load(image_archive(images, build.version, build.build))
    bench.remove_candidate(build)
    return exported.plus(promoted)


def _rows(build: Build, rounds: Rounds, suffix: str, line: str) -> Iterator[Row]:
    fastest = min(rounds.runs, key=lambda name: _median(rounds, name))
    for name, usages in rounds.runs.items():
        yield Row(
            f"release-{name}{suffix}",
            build.size,
            "the default is the fastest",
            fastest == DEFAULT,
            ours=rounds.timing(name),
            peak_rss=max(usage.peak_rss for usage in usages),
            note=f"export and promotion, {line}" + (", the default" if name == DEFAULT else ""),
        )


def _median(rounds: Rounds, name: str) -> float:
    timing = rounds.timing(name)
    return float("inf") if timing is None else timing.median
