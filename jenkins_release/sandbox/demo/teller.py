"""Shows a demo: commands as typed and their output, and checks how they end."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jenkins_release.base.errors import RemoteError

_DIGEST = re.compile(r"(\b(?:sha256:)?[0-9a-f]{12})[0-9a-f]{52}\b")
_WIDE = re.compile(r"(?<= ) {52}")
_LONG = 118
_LONGEST_S = 900.0
"""Longest time of a command; on a slow machine one takes a minute."""


class Teller:
    """Runs commands and shows them.

    Args:
        say: Takes each line.
        environ: The environment of the commands.
        folder: Where ``jenkins-release`` runs.

    Attributes:
        steps: How many commands ended as expected.
    """

    def __init__(self, say: Callable[[str], None], environ: Mapping[str, str], folder: Path) -> None:
        self._say = say
        self._environ = environ
        self._folder = folder
        self.steps = 0

    def title(self, text: str) -> None:
        """Begin a chapter."""
        self._say(f"\n== {text}")

    def line(self, text: str) -> None:
        """Show one line, with its digests shortened."""
        self._say(self._short(f"    {text}"))

    def command(
        self,
        *words: str,
        status: int = 0,
        lines: slice | None = None,
        only: str = "",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Run ``jenkins-release``.

        Args:
            words: Its arguments.
            status: Expected exit status.
            lines: Which lines of its output to show; all by default.
            only: Regular expression for the lines to show.
            environ: Variables to add.
        """
        command = [sys.executable, "-m", "jenkins_release", *words]
        shown = shlex.join(["jenkins-release", *(Path(w).name if w.startswith("/") else w for w in words)])
        self._run(command, shown, status, lines, only, self._folder, environ or {})

    def shell(self, command: Sequence[str], folder: Path, lines: slice | None = None) -> None:
        """Run another program in a folder."""
        self._run(list(command), " ".join(command), 0, lines, "", folder, {})

    def _run(
        self,
        command: Sequence[str],
        shown: str,
        status: int,
        lines: slice | None,
        only: str,
        folder: Path,
        environ: Mapping[str, str],
    ) -> None:
        self._say(f"$ {shown}")
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env={**self._environ, **environ},
                capture_output=True,
                text=True,
                timeout=_LONGEST_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RemoteError(f"{shown}: did not end within {_LONGEST_S:.0f} s") from error
        if done.returncode != status:
            raise RemoteError(
                f"{shown}: expected exit status {status}, found {done.returncode}: "
                f"{done.stdout.strip()} {done.stderr.strip()}"
            )
        text = done.stdout if status == 0 else f"{done.stderr.rstrip()}\nexit status {done.returncode}"
        for line in text.rstrip().splitlines()[lines or slice(None)]:
            if re.search(only, line):
                self.line(line)
        self.steps += 1

    @staticmethod
    def _short(line: str) -> str:
        """Shorten digests to twelve digits, and the titles above them by the same amount."""
        cut = _DIGEST.sub(r"\1", line) if _DIGEST.search(line) else _WIDE.sub("", line, count=1)
        return cut if len(cut) <= _LONG else f"{cut[: _LONG - 3]}..."
