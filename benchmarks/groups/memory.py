"""``peak-memory``: memory and local disk of each command that moves images, from 0.25 to 4 GiB."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench, Build, Setup
from benchmarks.child import Usage
from benchmarks.images import one_image
from benchmarks.results import MIB, Row, Timing

SMALL_MIB, LARGE_MIB = 256, 4096
BOUND = 150 * MIB
GROWTH = 10 * MIB
"""What a process may need more for the large image than for the small one and still be called flat."""
WRITTEN = MIB
"""What a process may write on this machine: result files and the like, never an image."""
WAYS = (("plain", "docker"), ("gzip", "registry"))


def peak_memory(bench: Bench) -> Iterator[Row]:
    """Run a whole release with a small and a large image, both ways, and watch each command."""
    small, large = bench.scale.bytes(SMALL_MIB), bench.scale.bytes(LARGE_MIB)
    ways = [
        (layers, engine)
        for layers, engine in WAYS
        if layers in bench.scale.layers and not Setup((), layers, engine).missing
    ]
    first, second = _releases(bench, small, ways), _releases(bench, large, ways)
    for command in first:
        name = f"peak-memory-{command}"
        yield _memory(f"{name}-small", small, first[command])
        yield _memory(f"{name}-large", large, second[command])
        growth = second[command].peak_rss - first[command].peak_rss
        yield Row(
            f"{name}-growth",
            large,
            f"<= {GROWTH // MIB} MiB",
            growth <= GROWTH,
            note=f"{growth / MIB:+.1f} MiB from the small to the large image",
        )
    for command, usage in second.items():
        yield _disk(f"local-disk-{command}", large, usage)


def _releases(bench: Bench, size: int, ways: list[tuple[str, str]]) -> dict[str, Usage]:
    found: dict[str, Usage] = {}
    for layers, engine in ways:
        with bench.build(one_image(f"memory {layers} {size}", size)) as build:
            setup = Setup(build.names, layers, engine, bench.new_prefix())
            bench.say(f"peak-memory: {layers} layers, one image of {size / MIB:.0f} MiB")
            found |= {f"{name}-{layers}": usage for name, usage in _commands(bench, build, setup)}
    return found


def _commands(bench: Bench, build: Build, setup: Setup) -> Iterator[tuple[str, Usage]]:
    yield "export", bench.export(build, setup)
    bench.forget(build)
    yield "verify", bench.cli(setup, "candidate", "verify", build.ref)
    yield "load", bench.cli(setup, "candidate", "load", build.ref)
    bench.forget(build)
    bench.sign_off(build, setup)
    yield "promote", bench.cli(setup, "promote", "run", build.ref)


def _memory(name: str, size: int, usage: Usage) -> Row:
    return Row(
        name,
        size,
        f"<= {BOUND // MIB} MiB",
        usage.peak_rss <= BOUND,
        ours=Timing((usage.seconds,)),
        peak_rss=usage.peak_rss,
        cpu_s=usage.cpu_s,
    )


def _disk(name: str, size: int, usage: Usage) -> Row:
    """Judge by the kernel's count; where there is none, by what stood in the folders."""
    used = max(usage.written or 0, usage.scratch)
    written = "not counted by this kernel" if usage.written is None else f"{usage.written} bytes"
    return Row(
        name,
        size,
        f"<= {WRITTEN // MIB} MiB",
        used <= WRITTEN,
        note=f"written to disk by the process: {written}; most in its working and temporary folder: "
        f"{usage.scratch} bytes",
    )
