"""A nightly build on warm machines: export by push and load by pull, of which only the change costs.

Warm is a daemon that knows its layers by digest: the exporting one by ``candidate warm``, the loading one
because it pulled the build before. Beside it stands the cold way: ``docker save``, and a daemon that has
nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from benchmarks.bench import Bench, Build, Setup
from benchmarks.child import Usage
from benchmarks.groups.export import FIVE_MIB, SCRIPT, WORDS, ours, script
from benchmarks.images import five_images
from benchmarks.pairs import OURS, Rounds, Side, take_turns
from benchmarks.results import MIB, Row, ratio_row

LARGE_MIB = 2400
GOAL_EXPORT, GOAL_EXPORT_LARGE, GOAL_SAVED, GOAL_LOAD, NOT_SLOWER = 10.0, 25.0, 3.0, 15.0, 1.0
PARTS = {"": 0.05, "-0.1": 0.001}
"""The end of a row's name, and the part of the bytes that changed."""
PARTS_LARGE = {"": 0.01, "-5": 0.05, "-0.1": 0.001}
PARTS_CURVE = {"-0.1": 0.001, "-1": 0.01, "-5": 0.05, "-10": 0.1, "-20": 0.2, "-50": 0.5}
SAVED = "saved"
GET = "smbclient get; docker load"


def export_patch_warm(bench: Bench) -> Iterator[Row]:
    """``export-patch-warm``: five images of which 5 % or 0.1 % changed; ``-saved``: by ``docker save``."""
    yield from _exports(bench, "export-patch-warm", FIVE_MIB, PARTS, GOAL_EXPORT, saved=True)


def export_patch_large(bench: Bench) -> Iterator[Row]:
    """``export-patch-large``: the same with 2.3 GiB, of which 1 %, 5 % or 0.1 % changed."""
    yield from _exports(bench, "export-patch-large", LARGE_MIB, PARTS_LARGE, GOAL_EXPORT_LARGE, saved=True)


def load_patch(bench: Bench) -> Iterator[Row]:
    """``load-patch``: the same for QA; ``-1gbit``: at 1 Gbit/s; ``-cold``: by a daemon that has nothing."""
    yield from _loads(bench, "load-patch", FIVE_MIB, PARTS, GOAL_LOAD, beside=True)


def load_patch_large(bench: Bench) -> Iterator[Row]:
    """``load-patch-large``: the same with 2.3 GiB."""
    yield from _loads(bench, "load-patch-large", LARGE_MIB, PARTS_LARGE, GOAL_LOAD, beside=True)


def curve(bench: Bench) -> Iterator[Row]:
    """``curve-export``, ``curve-load``: from 0.1 % to 50 % changed."""
    yield from _exports(bench, "curve-export", FIVE_MIB, PARTS_CURVE, NOT_SLOWER, saved=False)
    yield from _loads(bench, "curve-load", FIVE_MIB, PARTS_CURVE, NOT_SLOWER, beside=False)


@dataclass(frozen=True)
class _Patch:
    """A build after the one before.

    Attributes:
        build: The build.
        end: The end of its row's name.
        changed: Its new bytes.
        said: How many they are, in words.
    """

    build: Build
    end: str
    changed: int
    said: str


def _exports(
    bench: Bench, name: str, mib: int, parts: Mapping[str, float], goal: float, *, saved: bool
) -> Iterator[Row]:
    with _before(bench, name, mib) as (before, setup):
        bench.prepare(setup, "candidate", "warm", "--version", before.version, "--build", before.build)
        by_save = replace(setup, source="save")
        for patch in _patches(bench, name, mib, parts):
            sides: dict[str, Side] = {
                OURS: lambda _, build=patch.build: ours(bench, build, setup),  # type: ignore[misc]
                SCRIPT: lambda _, build=patch.build: script(bench, build, None),  # type: ignore[misc]
            }
            if saved and not patch.end:
                sides[SAVED] = lambda _, build=patch.build: ours(bench, build, by_save)  # type: ignore[misc]
            rounds = take_turns(bench.scale.repetitions, sides)
            yield _export(f"{name}{patch.end}", patch, goal, rounds, "warm daemon")
            if SAVED in sides:
                yield _export(f"{name}-saved", patch, GOAL_SAVED, rounds.with_ours(SAVED), "by docker save")


def _export(name: str, patch: _Patch, goal: float, rounds: Rounds, note: str) -> Row:
    note = f"{patch.said}, layers = gzip, {note}"
    words = f"{WORDS}, image by image"
    size, changed = patch.build.size, patch.changed
    return ratio_row(name, size, goal, rounds, SCRIPT, words=words, note=note, changed=changed)


def _loads(
    bench: Bench, name: str, mib: int, parts: Mapping[str, float], goal: float, *, beside: bool
) -> Iterator[Row]:
    with _before(bench, name, mib) as (before, setup):
        _forget(bench, before)
        bench.prepare(setup, "candidate", "load", before.ref)
        for patch in _patches(bench, name, mib, parts):
            build, changed = patch.build, patch.changed
            bench.prepare_export(build, setup)
            note = f"{patch.said}, layers = gzip; the daemon pulled the build before"
            yield _load(bench, f"{name}{patch.end}", build, setup, goal, note, changed=changed)
            if beside and not patch.end:
                with bench.gigabit() as (port, line):
                    behind, note = replace(setup, share=bench.location(port)), f"{note}; {line}"
                    yield _load(bench, f"{name}-1gbit", build, behind, goal, note, port=port)
        if beside:
            note = "everything is new to the daemon, layers = gzip"
            yield _load(bench, f"{name}-cold", before, setup, NOT_SLOWER, note)


def _load(
    bench: Bench,
    name: str,
    build: Build,
    setup: Setup,
    goal: float,
    note: str,
    *,
    port: int | None = None,
    changed: int | None = None,
) -> Row:
    def ours(_: int) -> Usage:
        _forget(bench, build)
        return bench.cli(setup, "candidate", "load", build.ref)

    def peer(_: int) -> Usage:
        _forget(bench, build)
        archive = bench.folder / "get.tar"
        total = bench.peers.get(build.archive, archive, encrypt=True, port=port)
        total = total.plus(bench.peers.docker("load", "-i", str(archive)))
        archive.unlink()
        return total

    rounds = take_turns(bench.scale.repetitions, {OURS: ours, GET: peer})
    return ratio_row(name, build.size, goal, rounds, GET, words=GET, note=note, changed=changed)


@contextlib.contextmanager
def _before(bench: Bench, name: str, mib: int) -> Iterator[tuple[Build, Setup]]:
    """The build before, exported."""
    with bench.build(five_images(name, bench.scale.bytes(mib))) as build:
        setup = Setup(build.names, layers="gzip")
        bench.prepare_export(build, setup)
        yield build, setup


def _patches(bench: Bench, name: str, mib: int, parts: Mapping[str, float]) -> Iterator[_Patch]:
    for number, (end, part) in enumerate(parts.items(), 1):
        size = bench.scale.bytes(mib)
        with bench.build(five_images(name, size, patch=number, changed=part)) as build:
            said = f"{100 * part:g} % changed"
            bench.say(f"{name}{end}: {build.size / MIB:.0f} MiB, {said}")
            yield _Patch(build, end, round(part * size), said)


def _forget(bench: Bench, build: Build) -> None:
    """Remove the images of a build from the daemon."""
    for reference in build.references:
        bench.engine.untag(reference)
