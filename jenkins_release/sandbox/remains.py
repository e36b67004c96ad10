"""Takes away what is left of a temporary sandbox when the process that made it is ended on the way.

``python -m jenkins_release.sandbox.remains FOLDER`` waits until its standard input ends, a pipe whose other
end only that process has. A command that is interrupted has no time for it: stopping Docker and removing
what belongs to root takes longer than Ctrl-C may.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from jenkins_release.base.errors import ReleaseError
from jenkins_release.sandbox.stack import Sandbox

_DONE = b"done"
_LEAVE_S = 60.0
"""Time that the other process has to notice that there is nothing left to remove."""


@contextlib.contextmanager
def removed_in_any_case(prefix: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """Make a temporary folder for sandboxes, and remove it afterwards, even after SIGKILL.

    Args:
        prefix: How its name begins.
        environ: The environment of the sandboxes.
    """
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        watched, lifeline = os.pipe()
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "jenkins_release.sandbox.remains", name],
                stdin=watched,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **environ},
                start_new_session=True,
            )
        finally:
            os.close(watched)
        try:
            yield Path(name)
            with contextlib.suppress(BrokenPipeError):  # it was ended, and there is nothing to remove
                os.write(lifeline, _DONE)
        finally:
            os.close(lifeline)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVE_S)


def main(folder: Path) -> int:
    """Wait, and remove the sandboxes in the folder and the folder itself, unless told that it is done."""
    if sys.stdin.buffer.read() == _DONE:
        return 0
    os.chdir("/")
    for sandbox in folder.glob("*"):
        with contextlib.suppress(ReleaseError):  # nothing is there to tell it to
            Sandbox(sandbox).remove()
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
