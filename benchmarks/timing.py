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
