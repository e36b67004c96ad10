"""Memory and local disk of each command that moves images: bounded, and the same for a large image."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench, Build
from benchmarks.child import Usage
from benchmarks.results import MIB, Row, Timing

SMALL_MIB, LARGE_MIB = 100, 2048
BOUND = 150 * MIB
GROWTH = 10 * MIB
"""What a process may need more for the large image than for the small one and still be called flat."""
WRITTEN = MIB
"""What a process may write on this machine: result files and the like, never an image."""


def measure_memory(bench: Bench) -> Iterator[Row]:
    """Run a whole release with a small and a large image, and watch each command."""
    small, large = bench.scale.bytes(SMALL_MIB), bench.scale.bytes(LARGE_MIB)
    first, second = _release(bench, small), _release(bench, large)
    for command in first:
        yield _memory(f"{command}, small image: memory", small, first[command])
        yield _memory(f"{command}, large image: memory", large, second[command])
        growth = second[command].peak_rss - first[command].peak_rss
        yield Row(
            f"{command}: growth of memory",
            large,
            f"<= {GROWTH // MIB} MiB",
            growth <= GROWTH,
            note=f"{growth / MIB:+.1f} MiB from the small to the large image",
        )
    for command, usage in second.items():
        yield _disk(f"{command}: local disk", large, usage)


def _release(bench: Bench, size: int) -> dict[str, Usage]:
    with bench.build(["rms"], own_size=size) as build:
        bench.say(f"memory: a release with one image of {size / MIB:.0f} MiB")
        return dict(_commands(bench, build))


def _commands(bench: Bench, build: Build) -> Iterator[tuple[str, Usage]]:
    yield "candidate export", bench.export(build)
    bench.forget(build)
    yield "candidate verify", bench.cli(build, "candidate", "verify", build.ref)
    yield "candidate load", bench.cli(build, "candidate", "load", build.ref)
    bench.forget(build)
    bench.sign_off(build)
    yield "promote run", bench.cli(build, "promote", "run", build.ref)


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
