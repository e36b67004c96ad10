"""A nightly build on warm machines: export by push and load by pull, of which only the change costs.

Warm is a daemon that knows its layers by digest: the exporting one by ``candidate warm``, the loading one
because it pulled the build before.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench, Build, Setup
from benchmarks.child import Usage
from benchmarks.groups.export import FIVE_MIB, SCRIPT, WORDS, ours, script
from benchmarks.images import five_images
from benchmarks.pairs import OURS, take_turns
from benchmarks.results import MIB, Row, ratio_row

LARGE_MIB = 2400
CASES = [("", FIVE_MIB, 0.05, 10.0), ("-0.1", FIVE_MIB, 0.001, 10.0), ("-large", LARGE_MIB, 0.01, 25.0)]
"""Rows: the end of the name, size in MiB, the part of it that changed, and the goal."""
GOAL_LOAD = 15.0
GET = "smbclient get; docker load"


def export_patch_warm(bench: Bench) -> Iterator[Row]:
    """``export-patch-warm``: five images of which 5 % or 0.1 % changed, and five times as large ones."""
    for end, mib, changed, goal in CASES:
        name = f"export-patch-warm{end}"
        size = bench.scale.bytes(mib)
        with bench.build(five_images(name, size, changed=changed)) as before:
            setup = Setup(before.names, layers="gzip")
            bench.prepare_export(before, setup)
            words = ("candidate", "warm", "--version", before.version, "--build", before.build)
            bench.prepare(setup, *words)
            with bench.build(five_images(name, size, patch=1, changed=changed)) as build:
                bench.say(f"{name}: {build.size / MIB:.0f} MiB, {100 * changed:g} % changed")
                rounds = take_turns(
                    bench.scale.repetitions,
                    {
                        OURS: lambda _, build=build, setup=setup: ours(bench, build, setup),  # type: ignore[misc]
                        SCRIPT: lambda _, build=build: script(bench, build, None),  # type: ignore[misc]
                    },
                )
        note = f"{100 * changed:g} % changed, layers = gzip, warm daemon"
        yield ratio_row(name, build.size, goal, rounds, SCRIPT, words=f"{WORDS}, image by image", note=note)


def load_patch(bench: Bench) -> Iterator[Row]:
    """``load-patch``: the same for QA, whose daemon has the build before."""
    for end, mib, changed, _ in CASES:
        name = f"load-patch{end}"
        size = bench.scale.bytes(mib)
        with bench.build(five_images(name, size, changed=changed)) as before:
            setup = Setup(before.names, layers="gzip")
            bench.prepare_export(before, setup)
            _forget(bench, before)
            bench.prepare(setup, "candidate", "load", before.ref)
            with bench.build(five_images(name, size, patch=1, changed=changed)) as build:
                bench.prepare_export(build, setup)
                bench.say(f"{name}: {build.size / MIB:.0f} MiB, {100 * changed:g} % changed")
                rounds = take_turns(
                    bench.scale.repetitions,
                    {
                        OURS: lambda _, build=build, setup=setup: _ours(bench, build, setup),  # type: ignore[misc]
                        GET: lambda _, build=build: _get(bench, build),  # type: ignore[misc]
                    },
                )
        note = f"{100 * changed:g} % changed, layers = gzip; the daemon pulled the build before"
        yield ratio_row(name, build.size, GOAL_LOAD, rounds, GET, words=GET, note=note)


def _ours(bench: Bench, build: Build, setup: Setup) -> Usage:
    _forget(bench, build)
    return bench.cli(setup, "candidate", "load", build.ref)


def _get(bench: Bench, build: Build) -> Usage:
    _forget(bench, build)
    archive = bench.folder / "get.tar"
    total = bench.peers.get(build.archive, archive, encrypt=True)
    total = total.plus(bench.peers.docker("load", "-i", str(archive)))
    archive.unlink()
    return total


def _forget(bench: Bench, build: Build) -> None:
    """Remove the images of a build from the daemon."""
    for reference in build.references:
        bench.engine.untag(reference)
