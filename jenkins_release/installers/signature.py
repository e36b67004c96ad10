"""Whether a file is signed, as a configured command says: Authenticode, RPM, a detached signature."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jenkins_release.errors import ConfigurationError
from jenkins_release.waits import check, waiting

_FILE = "{file}"
_OURS = ("JENKINS_RELEASE_", "AWS_")
_SHOWN = 2000
"""Characters of the output that are kept."""
_MOST_PRINTED = 8 * 1024 * 1024
_LOOK_S = 0.2
"""How often a command that prints nothing is looked at, in seconds."""


@dataclass(frozen=True)
class CheckResult:
    """What a command said of one file.

    Attributes:
        signed: Whether it ended with status 0, and its output has what was expected.
        output: The end of what it printed, one stream, at most 2000 characters.
        problem: Why the file does not count as signed; empty where it does.
    """

    signed: bool
    output: str
    problem: str


class SignatureCheck:
    """A command that tells whether a file is signed; no shell is involved.

    It does not see this program's own secrets: variables whose names begin with ``JENKINS_RELEASE_`` or
    ``AWS_`` are taken out of its environment.

    Args:
        command: Program and arguments; ``{file}`` in one stands for the file's absolute path.
        expects: Regular expression that has to be found in the output; empty for none.
        timeout_s: Longest time for one file, in seconds.
        environ: The environment.
    """

    def __init__(
        self, command: Sequence[str], expects: str, timeout_s: float, environ: Mapping[str, str]
    ) -> None:
        self._command = command
        self._expects = expects
        self._timeout_s = timeout_s
        self._environ = {name: value for name, value in environ.items() if not name.startswith(_OURS)}

    def check(self, path: Path) -> CheckResult:
        """Run the command for a file.

        Raises:
            ConfigurationError: The command cannot be run at all.
        """
        words = [word.replace(_FILE, str(path.absolute())) for word in self._command]
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environ,
            )
        except OSError as error:
            raise ConfigurationError(
                f"the command {words[0]!r} of installers.check cannot be run: {error.strerror}",
                hint="install it on the build machine, or name it by its full path",
            ) from error
        printed = bytearray()
        try:
            with waiting(f"{words[0]} to check {path.name}", self._timeout_s):
                problem = self._follow(process, printed)
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        output = _text(bytes(printed))
        if problem:
            return CheckResult(False, output, f"{words[0]} {problem}")
        if process.returncode:
            return CheckResult(False, output, f"{words[0]} ended with status {process.returncode}")
        whole = printed.decode(errors="replace")
        if self._expects and re.search(self._expects, whole) is None:
            return CheckResult(False, output, f"{words[0]} did not print {self._expects!r}")
        return CheckResult(True, output, "")

    def _follow(self, process: subprocess.Popen[bytes], printed: bytearray) -> str:
        """Read what a program prints until it ends; return why it has to be ended, or an empty string."""
        assert process.stdout is not None
        end = time.monotonic() + self._timeout_s
        open_still = True
        with selectors.DefaultSelector() as speech:
            speech.register(process.stdout, selectors.EVENT_READ)
            while open_still or process.poll() is None:
                check()
                if time.monotonic() >= end:
                    return f"did not end within {self._timeout_s:g} s"
                if not open_still:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(_LOOK_S)
                elif speech.select(_LOOK_S):
                    data = os.read(process.stdout.fileno(), 65536)
                    printed += data
                    open_still = bool(data)
                    if len(printed) > _MOST_PRINTED:
                        return f"prints more than {_MOST_PRINTED} bytes"
                elif process.poll() is not None:
                    return ""  # what it has started may keep the pipe open
        return ""


def _text(data: bytes) -> str:
    text = data.decode(errors="replace").strip()
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)[-_SHOWN:]
