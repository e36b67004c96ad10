"""``packed-*``: export, promotion and listing beside the same with smbprotocol's own calls.

What docs/adr/0039 decides from: what our own SMB messages buy, on loopback, on lines of 10 and of 1 Gbit/s,
and on a slow processor.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.bench import Bench, Setup
from benchmarks.child import Usage
from benchmarks.groups.commands import candidates
from benchmarks.images import one_image
from benchmarks.pairs import OURS, Rounds, Side, take_turns
from benchmarks.quota import QuotaMissing, quota
from benchmarks.results import MIB, Row, ratio_row
from benchmarks.smb_calls import PARTS

ONE_MIB = 1024
GOAL = 1.0
SLOW = 0.25
"""Seconds of processor time that a second of the slow processor has."""
LIBRARY = "smbprotocol"
_WORDS = "the same with READ, WRITE, compounds and socket of smbprotocol, several requests under way"

_Run = Callable[[str, Setup, Sequence[str]], Usage]
"""Runs our command line, with some parts left to smbprotocol."""


def packed(bench: Bench) -> Iterator[Row]:
    """``packed-export``, ``packed-promote``: 1 GiB; ``packed-list``: 500 candidates; all on loopback."""
    yield from _rows(bench, "packed", [], bench.stack.samba.port, "loopback")


def packed_10gbit(bench: Bench) -> Iterator[Row]:
    """``packed-10gbit-*``: the same with a line of 10 Gbit/s to share and registry."""
    with bench.line(10) as (port, said):
        yield from _rows(bench, "packed-10gbit", [], port, said)


def packed_1gbit(bench: Bench) -> Iterator[Row]:
    """``packed-1gbit-*``: the same with a line of 1 Gbit/s."""
    with bench.line(1) as (port, said):
        yield from _rows(bench, "packed-1gbit", [], port, said)


def packed_slow(bench: Bench) -> Iterator[Row]:
    """``packed-slow-*``: the same on loopback, with a quarter of a processor for our process."""
    try:
        with quota(SLOW) as front:
            said = f"loopback; a quota of {SLOW:.0%} of a processor for our process"
            yield from _rows(bench, "packed-slow", front, bench.stack.samba.port, said)
    except QuotaMissing as error:
        bench.say(f"packed-slow: left out, {error}")


def _rows(bench: Bench, name: str, front: Sequence[str], port: int, said: str) -> Iterator[Row]:
    run = _runner(bench, front, bench.location(port))
    yield from _moved(bench, run, name, said)
    yield from _listed(bench, run, name, said)


def _runner(bench: Bench, front: Sequence[str], share: str) -> _Run:
    root = str(Path(__file__).parents[2])

    def run(parts: str, setup: Setup, words: Sequence[str]) -> Usage:
        there = Setup(setup.names, setup.layers, setup.engine, setup.prefix, share)
        command = [sys.executable, "-m", "benchmarks.smb_calls", parts, "jenkins_release", *words]
        return bench.run(there, [*front, *command], {"PYTHONPATH": root})

    return run


def _moved(bench: Bench, run: _Run, name: str, said: str) -> Iterator[Row]:
    with bench.build(one_image(name, bench.scale.bytes(ONE_MIB))) as build:
        bench.say(f"{name}: {build.size / MIB:.0f} MiB, {said}")
        exports: dict[str, list[Usage]] = {}

        def released(parts: str) -> Usage:
            """Export, and promote to repositories that have nothing; return what the promotion used."""
            prefix = bench.new_prefix()
            bench.peers.make_repositories(prefix, build.names)
            setup = Setup(build.names, "gzip", "registry", prefix)
            words = ("candidate", "export", "--version", build.version, "--build", build.build)
            exports.setdefault(parts, []).append(run(parts, setup, words))
            bench.sign_off(build, setup)
            promoted = run(parts, setup, ("promote", "run", build.ref))
            bench.remove_candidate(build)
            return promoted

        rounds = take_turns(bench.scale.repetitions, _sides(released))
    exported = Rounds({OURS: tuple(exports[""]), LIBRARY: tuple(exports[_ALL])}, rounds.busy)
    yield _row(f"{name}-export", build.size, exported, said)
    yield _row(f"{name}-promote", build.size, rounds, said)


def _listed(bench: Bench, run: _Run, name: str, said: str) -> Iterator[Row]:
    with candidates(bench) as (written, names):
        bench.say(f"{name}-list: {written} candidates, {said}")
        setup = Setup(names)
        sides = _sides(lambda parts: run(parts, setup, ("candidate", "list")))
        rounds = take_turns(bench.scale.repetitions, sides)
    yield _row(f"{name}-list", 0, rounds, said)


_ALL = ",".join(PARTS)


def _sides(run: Callable[[str], Usage]) -> dict[str, Side]:
    return {OURS: lambda _: run(""), LIBRARY: lambda _: run(_ALL)}


def _row(name: str, size: int, rounds: Rounds, said: str) -> Row:
    theirs = statistics.median(usage.cpu_s for usage in rounds.runs[LIBRARY])
    note = f"{said}; processor time {rounds.cpu_s:.2f} s, peer {theirs:.2f} s"
    return ratio_row(name, size, GOAL, rounds, LIBRARY, words=_WORDS, note=note)
