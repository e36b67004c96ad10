"""One row of the table, and how rows are written down."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class Row:
    """What one benchmark found.

    Attributes:
        name: What was measured; the same in every run, whatever the sizes.
        size: Bytes that were moved.
        goal: What was hoped for.
        met: Whether it was reached.
        ours: Our command.
        peer: The peer's words.
        peer_time: The peer.
        limit: What no tool on these servers can do without, in words.
        limit_time: The time that this takes alone, measured in the same run.
        peak_rss: Highest resident memory of our process, in bytes.
        cpu_s: Processor time of our process, median, in seconds.
        note: What else there is to say.
    """

    name: str
    size: int
    goal: str
    met: bool
    ours: Timing | None = None
    peer: str | None = None
    peer_time: Timing | None = None
    limit: str | None = None
    limit_time: Timing | None = None
    peak_rss: int | None = None
    cpu_s: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the peer: above 1, ours is faster."""
        if self.ours is None or self.peer_time is None:
            return None
        return self.peer_time.median / self.ours.median

    def document(self) -> dict[str, Any]:
        """Return the row as JSON has it; seconds and MiB, null where nothing applies."""
        return {
            "name": self.name,
            "bytes": self.size,
            "ours_s": _median(self.ours),
            "ours_runs_s": _runs(self.ours),
            "peer": self.peer,
            "peer_s": _median(self.peer_time),
            "peer_runs_s": _runs(self.peer_time),
            "ratio": None if self.ratio is None else round(self.ratio, 3),
            "goal": self.goal,
            "met": self.met,
            "limit": self.limit,
            "limit_s": _median(self.limit_time),
            "cpu_s": None if self.cpu_s is None else round(self.cpu_s, 3),
            "peak_rss_mib": None if self.peak_rss is None else round(self.peak_rss / MIB, 1),
            "note": self.note,
        }


def ratio_row(
    name: str,
    size: int,
    goal: float,
    *,
    ours: Timing,
    peer: str,
    peer_time: Timing,
    limit: str | None = None,
    limit_time: Timing | None = None,
    peak_rss: int | None = None,
    cpu_s: float | None = None,
    note: str = "",
) -> Row:
    """Return a row that compares us with a peer.

    Args:
        name: As in :class:`Row`, like the rest.
        size: Bytes.
        goal: Least ratio that was hoped for.
        ours: Our times.
        peer: The peer's words.
        peer_time: Its times.
        limit: See :class:`Row`.
        limit_time: See :class:`Row`.
        peak_rss: Bytes.
        cpu_s: Seconds.
        note: See :class:`Row`.
    """
    met = peer_time.median >= goal * ours.median
    shown = f"ratio >= {goal:g}"
    return Row(name, size, shown, met, ours, peer, peer_time, limit, limit_time, peak_rss, cpu_s, note)


def write_results(path: Path, rows: Sequence[Row], facts: Mapping[str, str]) -> None:
    """Write ``{"machine": ..., "results": [...]}``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": dict(facts), "results": [row.document() for row in rows]}
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def _median(timing: Timing | None) -> float | None:
    return None if timing is None else round(timing.median, 3)


def _runs(timing: Timing | None) -> list[float] | None:
    return None if timing is None else [round(run, 3) for run in timing.runs]
