"""Several ways to do the same, measured in turns."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.child import Usage
from benchmarks.timing import MIB, Timing, busy_share, processor_times

Side = Callable[[int], Usage]
"""Does the work once, told the number of the round, from 0.

Preparing and clearing away is its own affair and must not be part of the usage that it returns.
"""
OURS = "ours"
LIMIT = "limit"
FLOOR = "floor"


@dataclass(frozen=True)
class Rounds:
    """What the rounds gave.

    Attributes:
        runs: What each side used, by its name.
        busy: How busy all processors were meanwhile, servers included, from 0 to 1.
    """

    runs: Mapping[str, tuple[Usage, ...]]
    busy: Mapping[str, tuple[float, ...]]

    def with_ours(self, side: str) -> Rounds:
        """Return the same rounds with another side of them as ours."""
        return Rounds({**self.runs, OURS: self.runs[side]}, {**self.busy, OURS: self.busy[side]})

    def timing(self, side: str) -> Timing | None:
        """Return the times of a side; None for one that was not measured."""
        return Timing(tuple(usage.seconds for usage in self.runs[side])) if side in self.runs else None

    @property
    def peak_rss(self) -> int:
        """Highest memory of all our runs, in bytes."""
        return max(usage.peak_rss for usage in self.runs[OURS])

    @property
    def cpu_s(self) -> float:
        """Processor time of our process, median, in seconds."""
        return statistics.median(usage.cpu_s for usage in self.runs[OURS])

    def load(self) -> str:
        """Return how busy the machine was during our runs, as a note."""
        return f"processors {statistics.median(self.busy[OURS]):.0%} busy during ours, servers included"

    def disk(self, peer: str) -> str:
        """Return what we and a peer wrote to this machine's disk, as a note."""
        return f"written to local disk: ours {self._written(OURS)}, peer {self._written(peer)}"

    def _written(self, side: str) -> str:
        counts = [usage.written for usage in self.runs[side] if usage.written is not None]
        return f"{max(counts) / MIB:.1f} MiB" if counts else "not counted by this kernel"


def take_turns(rounds: int, sides: Mapping[str, Side]) -> Rounds:
    """Measure all sides in turns, another one first each time, with nothing left to write back.

    Args:
        rounds: How many times each.
        sides: What is measured, by name.
    """
    found: dict[str, list[Usage]] = {name: [] for name in sides}
    busy: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            os.sync()
            before = processor_times()
            found[name].append(sides[name](number))
            busy[name].append(busy_share(before, processor_times()))
    return Rounds(
        {name: tuple(usages) for name, usages in found.items()},
        {name: tuple(shares) for name, shares in busy.items()},
    )
