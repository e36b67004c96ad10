"""The benchmarks run from one end to the other; how fast is not asked here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.child import run_child
from benchmarks.report import BEGIN, END, update_document
from benchmarks.results import MIB, Row, Timing, ratio_row
from jenkins_release.errors import ConfigurationError, RemoteError
from jenkins_release.sandbox.stack import Sandbox

ROOT = Path(__file__).parents[2]
COMMANDS = ("candidate export", "candidate verify", "candidate load", "promote run")
PAIRS = (
    "smb put, signed",
    "smb get, signed",
    "smb put, encrypted",
    "smb get, encrypted",
    "export, one image",
    "export, five images on one base",
    "promote, two images",
)
KEYS = {"name", "ours_s", "peer", "peer_s", "ratio", "goal", "limit_s", "peak_rss_mib"}


def test_quick_run_measures_every_row(tmp_path: Path, sandbox: Sandbox) -> None:
    """``--quick`` ends with status 0, a table on stdout, and every row in JSON and document."""
    output, document = tmp_path / "bench.json", tmp_path / "performance.md"
    shutil.copyfile(ROOT / "docs" / "performance.md", document)
    command = [sys.executable, "-m", "benchmarks", "--quick", "--sandbox", str(sandbox.folder)]
    command += ["--folder", str(tmp_path / "work"), "--output", str(output), "--docs", str(document)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(output.read_text())["results"]}
    for name in PAIRS:
        _check_pair(rows[name])
    for name in COMMANDS:
        for image in ("small", "large"):
            assert 10 < rows[f"{name}, {image} image: memory"]["peak_rss_mib"] < 1000
        assert "MiB from the small" in rows[f"{name}: growth of memory"]["note"]
        assert "0 bytes" in rows[f"{name}: local disk"]["note"]
    assert len(rows) == len(PAIRS) + 4 * len(COMMANDS)
    for name in rows:
        assert f"\n{name}  " in f"\n{done.stdout}"
        assert f"\n{name}  " in document.read_text()
    assert not list((tmp_path / "work").iterdir())
    assert all(sandbox.servers().values())


def _check_pair(row: dict[str, Any]) -> None:
    assert row.keys() >= KEYS
    assert row["ours_s"] > 0
    assert row["peer_s"] > 0
    assert row["ratio"] == pytest.approx(row["peer_s"] / row["ours_s"], rel=0.02)
    assert row["peer"]
    assert row["goal"].startswith("ratio >= ")


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


def test_ratio_is_times_as_fast_as_the_peer() -> None:
    """Medians are compared, and a missed goal is said."""
    row = ratio_row("x", MIB, 2.0, ours=Timing((1.0, 9.0, 2.0)), peer="p", peer_time=Timing((3.0, 2.9, 99.0)))
    assert row.ratio == 1.5
    assert not row.met
    assert row.document()["ours_s"] == 2.0


def test_document_without_marks_is_left_alone(tmp_path: Path) -> None:
    """The table is only written where it belongs."""
    document = tmp_path / "page.md"
    document.write_text(f"# Performance\n{END}\n{BEGIN}\n")
    with pytest.raises(ConfigurationError, match="has no lines"):
        update_document(document, [Row("x", 1, "g", True)], {}, "make bench")
    assert document.read_text() == f"# Performance\n{END}\n{BEGIN}\n"
