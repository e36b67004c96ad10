"""The time of an export and of a load against the bytes that changed, as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import pygal
from pygal.style import Style

from benchmarks.results import MIB, Row

PICTURE = "pictures/cost-of-a-change.svg"
"""Where it stands, seen from the page."""
_LINES = ("curve-export", "curve-load")
_COLOURS = ("#0b5cad", "#7a7f85", "#0f7b43", "#b3b8bd")
_FONT = "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"


def draw_curve(rows: Sequence[Row], path: Path) -> None:
    """Draw the rows of the group ``curve``: a line for each of our commands, and one for its peer.

    Args:
        rows: The rows, in any order.
        path: The SVG file.
    """
    style = Style(
        background="#ffffff",
        plot_background="#ffffff",
        guide_stroke_color="#d9dcdf",
        major_guide_stroke_color="#d9dcdf",
        guide_stroke_dasharray="none",
        major_guide_stroke_dasharray="none",
        colors=_COLOURS,
        font_family=_FONT,
        title_font_size=17,
        legend_font_size=14,
        label_font_size=13,
        major_label_font_size=13,
        stroke_width="2.5",
    )
    chart = pygal.XY(
        style=style,
        width=860,
        height=440,
        title="Five images of 480 MiB, of which a part changed since the last candidate",
        x_title="MiB changed",
        y_title="seconds",
        legend_at_bottom=True,
        legend_at_bottom_columns=2,
        range=(0, None),
        include_x_axis=True,
        js=(),
        disable_xml_declaration=True,
        no_prefix=True,
        pretty_print=True,
    )
    chart.add_xml_filter(_still)
    for begin in _LINES:
        points = sorted(_points(rows, begin), key=lambda row: row.changed or 0)
        for label, line in _lines(points):
            chart.add(label, line)
    path.parent.mkdir(parents=True, exist_ok=True)
    chart.render_to_file(str(path))


def _still(root: Element) -> Element:
    """Take away what makes a picture move, or another one of each day: scripts and comments."""
    for parent in root.iter():
        for child in list(parent):
            if not isinstance(child.tag, str) or child.tag.endswith("script"):
                parent.remove(child)
    return root


def _points(rows: Sequence[Row], begin: str) -> Iterator[Row]:
    return (row for row in rows if row.name.startswith(f"{begin}-") and row.changed is not None)


def _lines(points: Sequence[Row]) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    command = "candidate export" if points and points[0].name.startswith("curve-export") else "candidate load"
    peer = points[0].peer if points else ""
    ours = [(row.changed, row.ours) for row in points]
    theirs = [(row.changed, row.peer_time) for row in points]
    for label, line in ((command, ours), (str(peer), theirs)):
        yield label, [(changed / MIB, time.median) for changed, time in line if changed and time]
