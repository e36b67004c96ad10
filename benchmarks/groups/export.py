"""``export-*``: the export beside the script that it replaces, ``docker save; sha256sum; smbclient put``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.bench import Bench, Build, Setup
from benchmarks.child import Usage
from benchmarks.images import Image, five_images, one_image
from benchmarks.pairs import FLOOR, LIMIT, OURS, take_turns
from benchmarks.results import MIB, Row, ratio_row

ONE_MIB, FIVE_MIB = 1024, 480
GOALS = {("one", "plain"): 1.6, ("one", "gzip"): 1.0, ("five", "plain"): 4.0, ("five", "gzip"): 3.0}
NEAR_LIMIT = 1.25
"""How much longer than the bare ``docker save`` the export of one image may take, plain."""
GOAL_PATCH = 5.0
SCRIPT = "script"
WORDS = "docker save -o; sha256sum; smbclient put, encrypted, then fsync on the server"
_FLOOR = "docker save | dd conv=fsync into the folder behind the share, all images in one call"
_LIMIT = "docker save to /dev/null, all images in one call: the daemon alone"


def export_one(bench: Bench) -> Iterator[Row]:
    """``export-one``: one image of 1 GiB; plain, and with gzip layers."""
    yield from _export(bench, "one", one_image("export-one", bench.scale.bytes(ONE_MIB)))


def export_five(bench: Bench) -> Iterator[Row]:
    """``export-five``: five images on one base; plain, and with gzip layers."""
    yield from _export(bench, "five", five_images("export-five", bench.scale.bytes(FIVE_MIB)))


def export_patch(bench: Bench) -> Iterator[Row]:
    """``export-patch``: five images of which 5 % changed since the last candidate, at 1 Gbit/s."""
    size = bench.scale.bytes(FIVE_MIB)
    layers = "plain" if Setup((), layers="gzip").missing else "gzip"
    with bench.build(five_images("export-patch", size)) as before:
        bench.prepare_export(before, Setup(before.names, layers=layers))
        with (
            bench.build(five_images("export-patch", size, patch=1)) as build,
            bench.gigabit() as (port, line),
        ):
            bench.say(f"export-patch: {build.size / MIB:.0f} MiB, 5 % changed")
            setup = Setup(build.names, layers=layers, share=bench.location(port))
            sides = {
                OURS: lambda _: ours(bench, build, setup),
                SCRIPT: lambda _: script(bench, build, port),
            }
            rounds = take_turns(bench.scale.repetitions, sides)
            note = f"layers = {layers}; {line}; {rounds.disk(SCRIPT)}"
    words = f"{WORDS}, image by image"
    yield ratio_row("export-patch", build.size, GOAL_PATCH, rounds, SCRIPT, words=words, note=note)


def _export(bench: Bench, what: str, images: Sequence[Image]) -> Iterator[Row]:
    with bench.build(images) as build:
        for layers in bench.scale.layers:
            setup = Setup(build.names, layers=layers)
            name = f"export-{what}-{layers}"
            if setup.missing:
                bench.say(f"{name}: left out, this release has no {setup.missing}")
                continue
            bench.say(f"{name}: {build.size / MIB:.0f} MiB")
            rounds = take_turns(
                bench.scale.repetitions,
                {
                    OURS: lambda _, setup=setup: ours(bench, build, setup),  # type: ignore[misc]
                    SCRIPT: lambda _: script(bench, build, None),
                    LIMIT: lambda _: bench.peers.docker("save", *build.references, discard=True),
                    FLOOR: lambda _: _floor(bench, build),
                },
            )
            yield ratio_row(
                name,
                build.size,
                GOALS[what, layers],
                rounds,
                SCRIPT,
                words=WORDS if what == "one" else f"{WORDS}, image by image",
                limit=_LIMIT,
                near_limit=NEAR_LIMIT if (what, layers) == ("one", "plain") else None,
                floor=_FLOOR,
                note=rounds.disk(SCRIPT),
            )


def ours(bench: Bench, build: Build, setup: Setup) -> Usage:
    """Export with our command line."""
    usage = bench.export(build, setup)
    bench.remove_candidate(build)
    return usage


def _floor(bench: Bench, build: Build) -> Usage:
    target = bench.stack.share_folder / "floor.tar"
    usage = bench.peers.save_onto_disk(build.references, target)
    target.unlink()
    return usage


def script(bench: Bench, build: Build, port: int | None) -> Usage:
    """Export as the script does that this replaces, image by image."""
    total = Usage(0.0, written=0)
    for number, reference in enumerate(build.references):
        archive = bench.folder / f"script-{number}.tar"
        total = total.plus(bench.peers.docker("save", "-o", str(archive), reference))
        total = total.plus(bench.peers.sha256sum(archive))
        total = total.plus(bench.peers.put(archive, archive.name, encrypt=True, port=port))
        archive.unlink()
        (bench.stack.share_folder / archive.name).unlink()
    return total
