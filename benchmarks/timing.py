"""Times of several runs of the same thing, and the unit of sizes."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Timing:
    """Several measurements of the same thing, in seconds."""

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """The one in the middle."""
        return statistics.median(self.runs)

    def __str__(self) -> str:
        if len(self.runs) == 1:
            return f"{self.median:.2f}"
        return f"{self.median:.2f} ({min(self.runs):.2f}-{max(self.runs):.2f})"


def processor_times() -> tuple[int, int]:
    """Return the time of all processors so far, busy and in all, in ticks (proc_stat(5))."""
    with open("/proc/stat", encoding="ascii") as file:  # noqa: PTH123 - one line of it
        times = [int(word) for word in file.readline().split()[1:9]]
    idle = times[3] + times[4]  # idle and iowait
    return sum(times) - idle, sum(times)


def busy_share(before: tuple[int, int], after: tuple[int, int]) -> float:
    """Return how much of the time between two readings the processors were busy, from 0 to 1."""
    passed = after[1] - before[1]
    return (after[0] - before[0]) / passed if passed else 0.0
