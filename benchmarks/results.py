"""One row of the table, and how rows are written down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pairs import FLOOR, LIMIT, OURS, Rounds
from benchmarks.timing import MIB, Timing

__all__ = ["MIB", "Row", "Timing", "bound_row", "ratio_row", "write_json", "write_results"]


@dataclass(frozen=True)
class Row:
    """What one benchmark found.

    Attributes:
        name: What was measured; the same in every run, whatever the sizes.
        size: Bytes that were moved.
        goal: What was hoped for: the least ratio, or a bound in words.
        met: Whether it was reached.
        ours: Our command.
        peer: The peer's words.
        peer_time: The peer.
        limit: What no tool on these servers can do without, in words.
        limit_time: The time that this takes alone, measured in the same run.
        peak_rss: Highest resident memory of our process, in bytes.
        cpu_s: Processor time of our process, median, in seconds.
        note: What else there is to say.
        changed: Bytes that are new, where the row is a point of a curve.
    """

    name: str
    size: int
    goal: str | float
    met: bool
    ours: Timing | None = None
    peer: str | None = None
    peer_time: Timing | None = None
    limit: str | None = None
    limit_time: Timing | None = None
    peak_rss: int | None = None
    cpu_s: float | None = None
    note: str = ""
    changed: int | None = None

    @classmethod
    def of_details(cls, found: Mapping[str, Any]) -> Row:
        """Return the row that :meth:`details` told of."""
        peak = found["peak_rss_mib"]
        return cls(
            found["name"],
            found["bytes"],
            found["goal"],
            found["met"],
            _timing(found["ours_runs_s"]),
            found["peer"],
            _timing(found["peer_runs_s"]),
            found["limit"],
            _timing(found["limit_runs_s"]),
            None if peak is None else round(peak * MIB),
            found["cpu_s"],
            found["note"],
            found["changed"],
        )

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the peer: above 1, ours is faster."""
        if self.ours is None or self.peer_time is None:
            return None
        return self.peer_time.median / self.ours.median

    def document(self) -> dict[str, Any]:
        """Return the row as the list of results has it: medians in seconds, null where nothing applies.

        The goal is the least ratio, as a number, or the bound in words where there is no peer.
        """
        return {
            "name": self.name,
            "ours_s": _median(self.ours),
            "peer": self.peer,
            "peer_s": _median(self.peer_time),
            "ratio": None if self.ratio is None else round(self.ratio, 3),
            "goal": self.goal,
            "limit_s": _median(self.limit_time),
            "peak_rss_mib": None if self.peak_rss is None else round(self.peak_rss / MIB, 1),
        }

    def details(self) -> dict[str, Any]:
        """Return everything about the row: the document, and sizes, single runs and notes."""
        return {
            **self.document(),
            "bytes": self.size,
            "met": self.met,
            "ours_runs_s": _runs(self.ours),
            "peer_runs_s": _runs(self.peer_time),
            "limit": self.limit,
            "limit_runs_s": _runs(self.limit_time),
            "cpu_s": None if self.cpu_s is None else round(self.cpu_s, 3),
            "note": self.note,
            "changed": self.changed,
        }


def ratio_row(
    name: str,
    size: int,
    goal: float,
    rounds: Rounds,
    peer: str,
    *,
    words: str,
    limit: str | None = None,
    near_limit: float | None = None,
    floor: str = "",
    note: str = "",
    changed: int | None = None,
) -> Row:
    """Return a row that compares us with a peer.

    Args:
        name: As in :class:`Row`.
        size: Bytes.
        goal: Least ratio that was hoped for.
        rounds: What was measured.
        peer: Name of the peer's side in it.
        words: What the peer does.
        limit: See :class:`Row`; the rounds have a side ``limit`` then.
        near_limit: How many times the limit we may take at most, besides; None for no such goal.
        floor: What the side ``floor`` does, where the rounds have one: all that the servers and the disk
            have to do, without what makes it safe.
        note: See :class:`Row`.
        changed: See :class:`Row`.
    """
    ours, peer_time, limit_time = (_needed(rounds, OURS), _needed(rounds, peer), rounds.timing(LIMIT))
    met = peer_time.median >= goal * ours.median
    if near_limit is not None and limit_time is not None:
        times = ours.median / limit_time.median
        met = met and times <= near_limit
        note = "; ".join(
            [f"{times:.2f} x the limit, at most {near_limit:g} is the goal", *filter(None, [note])]
        )
    if (floor_time := rounds.timing(FLOOR)) is not None:
        times = ours.median / floor_time.median
        note = f"{note}; {times:.2f} x the floor of {floor_time} s: {floor}"
    note = "; ".join(filter(None, [note, rounds.load()]))
    return Row(
        name,
        size,
        goal,
        met,
        ours,
        words,
        peer_time,
        limit,
        limit_time,
        rounds.peak_rss,
        rounds.cpu_s,
        note,
        changed,
    )


def bound_row(name: str, size: int, bound_s: float, rounds: Rounds, *, note: str = "") -> Row:
    """Return a row that compares us with a time, in seconds; other arguments as :func:`ratio_row`."""
    ours = _needed(rounds, OURS)
    return Row(
        name,
        size,
        f"<= {bound_s:g} s",
        ours.median <= bound_s,
        ours,
        peak_rss=rounds.peak_rss,
        cpu_s=rounds.cpu_s,
        note=note,
    )


def write_results(path: Path, rows: Sequence[Row], facts: Mapping[str, str]) -> None:
    """Write ``{"results": [...]}``, and beside it ``NAME-details.json`` with the machine and every run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"results": [row.document() for row in rows]})
    details = {"machine": dict(facts), "results": [row.details() for row in rows]}
    write_json(path.with_name(f"{path.stem}-details{path.suffix}"), details)


def write_json(path: Path, document: object) -> None:
    """Write a document; whoever reads the file finds the one before or this one."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def _needed(rounds: Rounds, side: str) -> Timing:
    found = rounds.timing(side)
    if found is None:
        raise LookupError(f"the side {side!r} was not measured")
    return found


def _median(timing: Timing | None) -> float | None:
    return None if timing is None else round(timing.median, 3)


def _timing(runs: Sequence[float] | None) -> Timing | None:
    return None if runs is None else Timing(tuple(runs))


def _runs(timing: Timing | None) -> list[float] | None:
    return None if timing is None else [round(run, 3) for run in timing.runs]
