"""The table for people, the machine it was measured on, and ``docs/performance.md``."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import datetime
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path

import jenkins_release
from benchmarks.curve import PICTURE, draw_curve
from benchmarks.groups import SLOW, USUAL
from benchmarks.network import own_network
from benchmarks.record import Record, runs_of
from benchmarks.results import MIB, Row
from jenkins_release.base.errors import ConfigurationError

MARKS = {"measured": USUAL, "measured slowly": SLOW}
"""What is written stands between two such lines of the document for each table: see :func:`marks`."""

_HEADERS = ("what", "size", "ours s", "peer s", "ratio", "limit s", "peak MiB", "cpu s", "goal", "")


def table(rows: Sequence[Row]) -> str:
    """Return the rows as an aligned table, and below it what peers, limits and notes mean."""
    cells = [_HEADERS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADERS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    notes: dict[str, list[str]] = {}
    for row in rows:
        for text in _legend(row):
            notes.setdefault(text, []).append(row.name)
    told = [f"{', '.join(names)}: {text}" for text, names in notes.items()]
    return "\n".join(line.rstrip() for line in [*lines, "", *told]).rstrip()


def machine(now: datetime) -> dict[str, str]:
    """Return what the figures depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    load = os.getloadavg()[0]
    return {
        "date": f"{now:%Y-%m-%d %H:%M} UTC",
        "cores": str(os.cpu_count()),
        "processor": _processor(),
        "memory": f"{memory / (1 << 30):.1f} GiB",
        "load before": f"{load:.1f}",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "bytecode": bytecode(Path(jenkins_release.__file__).parent),
        "dockerd": _version("dockerd", "--version"),
        "docker": _version("docker", "--version"),
        "smbclient": _version("smbclient", "--version"),
        "skopeo": _version("skopeo", "--version"),
        "network": "a namespace of its own" if own_network() else "that of the machine",
    }


def marks(name: str) -> tuple[str, str]:
    """Return the lines of a document between which a table stands."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def update_document(path: Path, record: Record) -> None:
    """Put both tables, and the runs that they are from, between their marks, and draw the picture.

    Raises:
        ConfigurationError: The document has no such marks.
    """
    text = path.read_text(encoding="utf-8")
    for name, groups in MARKS.items():
        begin, end = marks(name)
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ConfigurationError(f"{path} has no lines {begin} and {end} to write a table between")
        text = f"{before}{begin}\n{_block({key: record[key] for key in groups if key in record})}{end}{after}"
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    if "curve" in record:
        draw_curve(record["curve"].rows, path.parent / PICTURE)


def _block(record: Record) -> str:
    runs = runs_of(record)
    told = []
    for number, run in enumerate(runs, 1):
        names = [name for name, measured in record.items() if measured.run == run]
        what = "" if len(runs) == 1 else f" ({', '.join(f'`{name}`' for name in names)})"
        told.append(
            f"{number}. `{run.command}`{what}: {', '.join(f'{k} {v}' for k, v in run.machine.items())}"
        )
    rows = [row for measured in record.values() for row in measured.rows]
    return "\n".join([*told, "", "```text", table(rows), "```", ""]) if rows else ""


def _cells(row: Row) -> tuple[str, ...]:
    over = "over the bound" if row.ratio is None else "below the goal"
    return (
        row.name,
        _size(row.size),
        "-" if row.ours is None else str(row.ours),
        "-" if row.peer_time is None else str(row.peer_time),
        "-" if row.ratio is None else f"{row.ratio:.2f}",
        "-" if row.limit_time is None else str(row.limit_time),
        "-" if row.peak_rss is None else f"{row.peak_rss / MIB:.1f}",
        "-" if row.cpu_s is None else f"{row.cpu_s:.1f}",
        row.goal if isinstance(row.goal, str) else f"ratio >= {row.goal:g}",
        "met" if row.met else over,
    )


def _legend(row: Row) -> list[str]:
    lines = []
    if row.peer:
        lines.append(f"peer = {row.peer}")
    if row.limit:
        lines.append(f"limit = {row.limit}")
    if row.note:
        lines.append(row.note)
    return lines


def _size(count: int) -> str:
    if not count:
        return "-"
    return f"{count / MIB:.0f} MiB" if count >= 10 * MIB else f"{count / MIB:.1f} MiB"


def bytecode(package: Path) -> str:
    """Say whether a command finds a package compiled; if not, it compiles all that it imports."""
    sources = [*package.rglob("*.py")]
    missing = sum(not _is_compiled(source) for source in sources)
    return f"{missing} of {len(sources)} modules are not compiled" if missing else "compiled"


def _is_compiled(source: Path) -> bool:
    """Whether the compiled module belongs to this Python and to the source as it is (PEP 552)."""
    try:
        head = Path(cache_from_source(str(source))).read_bytes()[:16]
    except OSError:
        return False
    flags, modified, size = (int.from_bytes(head[at : at + 4], "little") for at in (4, 8, 12))
    found = source.stat()
    fresh = (modified, size) == (int(found.st_mtime) & 0xFFFFFFFF, found.st_size & 0xFFFFFFFF)
    return head[:4] == MAGIC_NUMBER and (flags != 0 or fresh)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _version(program: str, option: str) -> str:
    path = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
    try:
        done = subprocess.run(
            [program, option], capture_output=True, text=True, check=False, env={"PATH": path}
        )
    except OSError as error:
        return f"not found ({error.strerror})"
    return done.stdout.strip() or done.stderr.strip()
