"""A command in a process of its own, and what it used: time, memory, disk."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jenkins_release.base.errors import RemoteError

_LAUNCHER = Path(__file__).with_name("_launcher.py")
_SAMPLE_S = 0.05
_SHOWN = 2000


@dataclass(frozen=True)
class Usage:
    """What one or several commands used.

    Attributes:
        seconds: Time from start to end.
        cpu_s: Processor time of the command itself, user and system.
        peak_rss: Highest resident memory, in bytes.
        written: Bytes that the process caused to be written to a disk (``write_bytes`` of
            proc_pid_io(5)), whatever the folder; None where the kernel does not count them.
        scratch: Most bytes that stood in its working and temporary folder at a time, sampled every
            50 ms; sees a tmpfs too, which ``written`` does not.
    """

    seconds: float
    cpu_s: float = 0.0
    peak_rss: int = 0
    written: int | None = None
    scratch: int = 0

    def plus(self, other: Usage) -> Usage:
        """Return what this and a later command used together."""
        written = None if self.written is None or other.written is None else self.written + other.written
        return Usage(
            self.seconds + other.seconds,
            self.cpu_s + other.cpu_s,
            max(self.peak_rss, other.peak_rss),
            written,
            max(self.scratch, other.scratch),
        )


def run_child(
    command: Sequence[str], environ: Mapping[str, str], folder: Path, *, discard: bool = False
) -> Usage:
    """Run a command in an empty folder, which is its working and temporary folder and its home.

    Args:
        command: Program and arguments.
        environ: Its environment; ``TMPDIR`` and ``HOME`` are replaced.
        folder: Where to make the empty folder.
        discard: Send its output to ``/dev/null`` instead of keeping it for the message of a failure.

    Raises:
        RemoteError: It ended with a status other than 0; the message has the end of its output.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="run-") as name:
        report, scratch = Path(name) / "report", Path(name) / "scratch"
        scratch.mkdir()
        words = [sys.executable, "-I", "-S", str(_LAUNCHER), str(report), *command]
        settings = {**environ, "TMPDIR": str(scratch), "HOME": str(scratch)}
        with _watched(scratch) as watch:
            done = subprocess.run(
                words,
                env=settings,
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if discard else subprocess.PIPE,
                stderr=subprocess.PIPE,
                check=False,
            )
        if done.returncode != 0:
            said = ((done.stdout or b"") + done.stderr).decode(errors="replace").strip()[-_SHOWN:]
            raise RemoteError(f"{' '.join(command)} ended with status {done.returncode}: {said}")
        found = dict(line.split(maxsplit=1) for line in report.read_text().splitlines())
    return Usage(
        float(found["seconds"]),
        float(found["cpu"]),
        int(found["maxrss_kib"]) * 1024,
        _written(found),
        watch.most,
    )


def _written(found: Mapping[str, str]) -> int | None:
    """Bytes for the disk, without those of files that were removed before they got there."""
    if "write_bytes" not in found:
        return None
    return max(0, int(found["write_bytes"]) - int(found.get("cancelled_write_bytes", "0")))


class _Watch(threading.Thread):
    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True, name="scratch-watch")
        self._folder = folder
        self.ended = threading.Event()
        self.most = 0

    def run(self) -> None:
        while not self.ended.wait(_SAMPLE_S):
            self.most = max(self.most, _allocated(self._folder))


@contextlib.contextmanager
def _watched(folder: Path) -> Iterator[_Watch]:
    watch = _Watch(folder)
    watch.start()
    try:
        yield watch
    finally:
        watch.ended.set()
        watch.join()


def _allocated(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(parent) / name).lstat().st_blocks * 512
    return total
