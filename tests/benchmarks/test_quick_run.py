"""The benchmarks run from one end to the other; how fast is not asked here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from benchmarks.__main__ import main
from benchmarks.child import Usage, run_child
from benchmarks.groups import GROUPS, group_of
from benchmarks.pairs import Rounds, take_turns
from benchmarks.record import read_record
from benchmarks.results import MIB, ratio_row
from benchmarks.timing import busy_share, processor_times
from jenkins_release.base.errors import RemoteError
from jenkins_release.sandbox.stack import Sandbox

ROOT = Path(__file__).parents[2]
KEYS = ["name", "ours_s", "peer", "peer_s", "ratio", "goal", "limit_s", "peak_rss_mib"]
CURVE = ("0.1", "1", "5", "10", "20", "50")
COMMANDS = ("export", "verify", "load", "promote")
ALL = os.environ.get("BENCH") == "all"
"""Whether every group is run: ``BENCH=all make test PYTEST_ARGS=tests/benchmarks``."""
CHOSEN = ("start", "board-500-10ms", "smb-get", "load-patch", "promote-again", "platforms")
"""Run each time: of groups that measure the same on another line, or of other images or commands, one.

Rows that there are for plain and for gzip layers are measured with gzip, the default of ``release.toml``.
"""


def rows_of(group: str, ways: list[str]) -> list[str]:
    """Return the rows of a group, but for those of local disks."""
    gzip = "gzip" in ways
    releases = [f"release-{way}" for way in ("plain-docker", "plain-registry", "gzip-registry") if gzip]
    return {
        "start": ["start-help", "start-version"],
        "smb-put": ["smb-put-signed", "smb-put-encrypted"],
        "smb-get": ["smb-get-signed", "smb-get-encrypted"],
        "export-one": [f"export-one-{way}" for way in ways],
        "export-five": [f"export-five-{way}" for way in ways],
        "promote-plain": _promotions("promote-plain"),
        "promote-gzip": _promotions("promote-gzip") if gzip else [],
        "promote-patch": [f"promote-patch-{peer}" for peer in ("docker", "skopeo")],
        "platforms": ["platforms-export-script", "platforms-promote-skopeo"],
        "export-patch-warm": [f"export-patch-warm{end}" for end in ("", "-0.1", "-saved")],
        "export-patch-large": [f"export-patch-large{end}" for end in ("", "-5", "-0.1", "-saved")],
        "load-patch": [f"load-patch{end}" for end in ("", "-0.1", "-1gbit", "-cold")],
        "load-patch-large": [f"load-patch-large{end}" for end in ("", "-5", "-0.1", "-1gbit", "-cold")],
        "curve": [f"curve-{way}-{part}" for way in ("export", "load") for part in CURVE],
        **{
            f"packed{line}": [f"packed{line}-{what}" for what in ("export", "promote", "list")]
            for line in ("", "-10gbit", "-1gbit", "-slow")
        },
        "promote-again": [f"promote-again-{peer}" for peer in ("docker", "skopeo")],
        "release": [f"{name}{line}" for name in releases for line in ("", "-1gbit")],
        "peak-memory": [
            f"peak-memory-{command}-{way}-{image}"
            for command in COMMANDS
            for way in ways
            for image in ("small", "large", "growth")
        ],
    }.get(group, [group])


def _promotions(group: str) -> list[str]:
    return [f"{group}-{peer}-{what}" for what in ("one", "five") for peer in ("docker", "skopeo")]


@pytest.mark.timeout(1500)
def test_quick_run_measures_every_row(tmp_path: Path, sandbox: Sandbox) -> None:
    """``--quick`` ends with status 0, a table on stdout, and every row in JSON and document."""
    output, document = tmp_path / "bench.json", tmp_path / "performance.md"
    shutil.copyfile(ROOT / "docs" / "performance.md", document)
    groups = tuple(GROUPS) if ALL else CHOSEN
    command = [sys.executable, "-m", "benchmarks", *groups, "--quick", "--sandbox", str(sandbox.folder)]
    command += ["--folder", str(tmp_path / "work"), "--output", str(output), "--docs", str(document)]
    ways = ["plain", "gzip"]
    if not ALL:
        ways = ["gzip"]
        command += ["--layers", *ways]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = json.loads(output.read_text())
    assert list(written) == ["results"]
    rows = {row["name"]: row for row in written["results"]}
    assert all(list(row) == KEYS for row in rows.values())
    details = {
        r["name"]: r for r in json.loads(output.with_name("bench-details.json").read_text())["results"]
    }
    disks = [f"local-disk-{command}-{way}" for command in COMMANDS for way in ways if "peak-memory" in groups]
    assert {*rows} == {*disks, *(name for group in groups for name in rows_of(group, ways))}
    for name, row in rows.items():
        if name.startswith(("smb-", "export-", "load-", "curve-", "promote-", "platforms-", "packed")):
            _check_pair(row)
        elif name.endswith("-growth"):
            assert "MiB from the small" in details[name]["note"]
        elif name.startswith("peak-memory-"):
            assert 10 < row["peak_rss_mib"] < 1000
        elif name.startswith("local-disk-"):
            assert details[name]["met"]
        else:
            assert row["ours_s"] > 0
            assert name.startswith("release-") or row["goal"].startswith("<= ")
        assert f"\n{name}  " in f"\n{done.stdout}"
        assert f"\n{name}  " in document.read_text()
        assert group_of(name) in groups or name.startswith("local-disk-")
    assert {*read_record(document.with_suffix(".json"))} == {*groups}
    assert not list((tmp_path / "work").iterdir())
    assert all(sandbox.servers().values())


def test_one_group_of_each_kind_is_run_each_time() -> None:
    """Those left out differ from one of them in the line, the images or the command; all run on demand."""
    assert {*CHOSEN} < {*GROUPS}
    measured = {GROUPS[name].__module__ for name in CHOSEN}
    rest = {group.__module__.rpartition(".")[2] for group in GROUPS.values()}
    assert rest - {module.rpartition(".")[2] for module in measured} == {"export", "memory", "packed", "ways"}


def _check_pair(row: dict[str, Any]) -> None:
    assert row["ours_s"] > 0
    assert row["peer_s"] > 0
    assert row["ratio"] == pytest.approx(row["peer_s"] / row["ours_s"], rel=0.02)
    assert row["peer"]
    assert row["goal"] >= 1


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["promote-again"], "promote-again"),
        (["promote-again-skopeo"], "promote-again"),
        (["smb-put-10ms"], "smb-put-10ms"),
        (["smb-put-signed"], "smb-put"),
        (["packed-export"], "packed"),
        (["packed-slow-export"], "packed-slow"),
        (["promote"], None),
        (["nothing"], None),
    ],
)
def test_a_row_is_asked_for_by_its_name(words: list[str], found: str | None) -> None:
    """Or by the beginning that it shares with the rows measured along with it."""
    assert group_of(words[0]) == found


def test_an_unknown_row_is_refused_with_the_names_there_are() -> None:
    """Before any server is started, with status 2."""
    with pytest.raises(click.BadParameter, match="promote-again") as caught:
        main(["promote-gain"], standalone_mode=False)
    assert caught.value.exit_code == 2


def test_memory_of_a_child_is_its_own_and_its_writes_are_counted(tmp_path: Path) -> None:
    """Neither a larger parent nor a smaller one changes the peak; bytes written to disk are seen."""
    ballast = bytearray(os.urandom(1) * (200 * MIB))
    size = 64 * MIB
    code = f"import os; f = open('out', 'wb'); f.write(os.urandom({size})); f.flush(); os.fsync(f)"
    idle = run_child([sys.executable, "-c", "pass"], os.environ, tmp_path)
    busy = run_child([sys.executable, "-c", code], os.environ, tmp_path)
    assert idle.peak_rss < 100 * MIB < len(ballast)
    assert size < busy.peak_rss < size + 100 * MIB
    assert idle.scratch == 0
    if busy.written is not None and _counts_writes(tmp_path):
        assert busy.written >= size


def _counts_writes(folder: Path) -> bool:
    """A tmpfs has no disk to write to."""
    done = subprocess.run(["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=True)
    return done.stdout.strip() not in {"tmpfs", "ramfs"}


def test_scratch_files_are_seen_while_the_child_runs(tmp_path: Path) -> None:
    """A file in the temporary folder counts, although it is gone at the end."""
    code = (
        "import os, tempfile, time\n"
        "with tempfile.NamedTemporaryFile() as f:\n"
        f"    f.write(os.urandom({MIB})); f.flush(); os.fsync(f); time.sleep(0.5)"
    )
    assert run_child([sys.executable, "-c", code], os.environ, tmp_path).scratch >= MIB


def test_failed_child_says_why(tmp_path: Path) -> None:
    """A command that fails is an error with what it printed, never a time."""
    with pytest.raises(RemoteError, match="ended with status 3: went wrong"):
        run_child(["sh", "-c", "echo went wrong; exit 3"], os.environ, tmp_path)


def test_unknown_command_is_an_error(tmp_path: Path) -> None:
    """A peer that is not installed stops the row."""
    with pytest.raises(RemoteError, match="ended with status 127"):
        run_child(["no-such-program"], os.environ, tmp_path)


def _rounds(**sides: tuple[float, ...]) -> Rounds:
    used = {name: tuple(Usage(seconds) for seconds in runs) for name, runs in sides.items()}
    return Rounds(used, {name: (0.5,) * len(runs) for name, runs in sides.items()})


def test_ratio_is_times_as_fast_as_the_peer() -> None:
    """Medians are compared, and a missed goal is said."""
    rounds = _rounds(ours=(1.0, 9.0, 2.0), them=(3.0, 2.9, 99.0))
    row = ratio_row("x", MIB, 2.0, rounds, "them", words="p")
    assert row.ratio == 1.5
    assert not row.met
    assert row.document()["ours_s"] == 2.0


def test_nearness_to_the_limit_is_a_goal_of_its_own() -> None:
    """Faster than the peer, and still far from what the servers allow: not met."""
    rounds = _rounds(ours=(2.0,), them=(8.0,), limit=(1.0,))
    assert ratio_row("x", MIB, 2.0, rounds, "them", words="p", limit="l", near_limit=2.0).met
    far = ratio_row("x", MIB, 2.0, rounds, "them", words="p", limit="l", near_limit=1.9)
    assert not far.met
    assert "2.00 x the limit" in far.note


def test_the_floor_and_the_load_are_told() -> None:
    """What bounds a row stands beside it."""
    rounds = _rounds(ours=(2.0,), them=(8.0,), floor=(1.6,))
    note = ratio_row("x", MIB, 2.0, rounds, "them", words="p", floor="save and write", note="first").note
    assert note.startswith("first; 1.25 x the floor of 1.60")
    assert note.endswith("save and write; processors 50% busy during ours, servers included")


def test_how_busy_the_processors_were_is_a_share_of_all_of_them() -> None:
    """From the kernel's own count: one process that computes keeps at least one of them busy."""
    before = processor_times()
    cores = os.cpu_count() or 1
    subprocess.run([sys.executable, "-c", "sum(range(20_000_000))"], check=True)
    assert 0.3 / cores < busy_share(before, processor_times()) <= 1.0
    assert busy_share((10, 100), (40, 140)) == 0.75
    assert busy_share((10, 100), (10, 100)) == 0.0


def test_sides_take_turns_and_another_one_begins_each_round() -> None:
    """Nobody is always first, and nobody is left out."""
    order: list[str] = []
    sides = {
        name: lambda _, name=name: (order.append(name), Usage(1.0))[1]  # type: ignore[misc]
        for name in ("ours", "docker", "skopeo")
    }
    take_turns(3, sides)
    assert order == ["ours", "docker", "skopeo", "docker", "skopeo", "ours", "skopeo", "ours", "docker"]
