"""Whether a file is signed, according to a configured command: Authenticode, RPM, a detached signature."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from jenkins_release.base.child_process import run_child
from jenkins_release.base.dataclass import dataclass
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.base.waits import waiting

_FILE = "{file}"
_OURS = ("JENKINS_RELEASE_", "AWS_")
_SHOWN = 2000
"""Characters of the output that are kept."""
_MOST_PRINTED = 8 * 1024 * 1024


@dataclass(frozen=True)
class CheckResult:
    """The result of a command for one file.

    Attributes:
        signed: Whether it ended with status 0 and its output matches.
        output: The end of its output, with stderr, at most 2000 characters.
        problem: Why the file does not count as signed; empty if it does.
    """

    signed: bool
    output: str
    problem: str


class SignatureCheck:
    """A command that checks whether a file is signed; no shell is involved.

    It does not get this program's secrets: variables whose names begin with ``JENKINS_RELEASE_`` or ``AWS_``
    are removed from its environment.

    Args:
        command: Program and arguments; ``{file}`` is replaced by the file's absolute path.
        expects: Regular expression that must match in the output; empty for none.
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
            with waiting(f"{words[0]} to check {path.name}", self._timeout_s):
                ran = run_child(
                    words,
                    limit_s=self._timeout_s,
                    most=_MOST_PRINTED,
                    stderr=subprocess.STDOUT,
                    env=self._environ,
                )
        except OSError as error:
            raise ConfigurationError(
                f"the command {words[0]!r} of installers.check cannot be run: {error.strerror}",
                hint="install it on the build machine, or name it by its full path",
            ) from error
        output = _text(ran.output)
        if ran.late:
            return CheckResult(False, output, f"{words[0]} did not end within {self._timeout_s:g} s")
        if ran.status is None:
            return CheckResult(False, output, f"{words[0]} prints more than {_MOST_PRINTED} bytes")
        if ran.status:
            return CheckResult(False, output, f"{words[0]} ended with status {ran.status}")
        whole = ran.output.decode(errors="replace")
        if self._expects and re.search(self._expects, whole) is None:
            return CheckResult(False, output, f"{words[0]} did not print {self._expects!r}")
        return CheckResult(True, output, "")


def _text(data: bytes) -> str:
    text = data.decode(errors="replace").strip()
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)[-_SHOWN:]
