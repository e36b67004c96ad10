"""Two ways to do the same, measured in turns."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.child import Usage
from benchmarks.results import MIB, Timing


@dataclass(frozen=True)
class Pairs:
    """What the repetitions of a pair gave.

    Attributes:
        ours: Our times.
        peer: The peer's times.
        limit: Times of what bounds both; None when that was not measured.
        peak_rss: Highest memory of all our runs, in bytes.
        cpu_s: Processor time of our process, median, in seconds.
        disk: What each side wrote to this machine's disk, as a note.
    """

    ours: Timing
    peer: Timing
    limit: Timing | None
    peak_rss: int
    cpu_s: float
    disk: str


def alternate(
    repetitions: int,
    ours: Callable[[int], Usage],
    peer: Callable[[int], Usage],
    limit: Callable[[int], Usage] | None = None,
) -> Pairs:
    """Measure both sides in turns, the other one first each time, with nothing left to write back.

    Args:
        repetitions: How many pairs.
        ours: Runs our command; told the number of the repetition, from 0. Preparing and clearing
            away is its own affair and must not be part of the usage that it returns.
        peer: The peer's, likewise.
        limit: What bounds both, likewise.
    """
    found: dict[str, list[Usage]] = {"ours": [], "peer": [], "limit": []}
    for number in range(repetitions):
        turn = [("ours", ours), ("peer", peer)]
        if number % 2:
            turn.reverse()
        if limit is not None:
            turn.append(("limit", limit))
        for name, action in turn:
            os.sync()
            found[name].append(action(number))
    return Pairs(
        _timing(found["ours"]),
        _timing(found["peer"]),
        _timing(found["limit"]) if limit is not None else None,
        max(usage.peak_rss for usage in found["ours"]),
        statistics.median(usage.cpu_s for usage in found["ours"]),
        f"written to local disk: ours {_written(found['ours'])}, peer {_written(found['peer'])}",
    )


def _written(runs: list[Usage]) -> str:
    counts = [usage.written for usage in runs if usage.written is not None]
    return f"{max(counts) / MIB:.1f} MiB" if counts else "not counted by this kernel"


def _timing(runs: list[Usage]) -> Timing:
    return Timing(tuple(usage.seconds for usage in runs))
