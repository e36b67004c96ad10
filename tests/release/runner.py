"""Runs commands in processes of their own that share one start: each is a fork of this one.

:func:`main` reads orders from standard input and answers on standard output, one JSON document on each line,
until its input ends.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        killed: Whether SIGKILL ended it.
        status: Its exit status otherwise.
        calls: Names of its calls to the outside, in order.
        text: What it printed.
        pid: Its process.
    """

    killed: bool
    status: int
    calls: tuple[str, ...]
    text: str
    pid: int


class Runner:
    """The process that the commands are forks of.

    Args:
        python: The fixture ``warm_python``.
    """

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, "-c", "from tests.release.runner import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, environ: Mapping[str, str], kill_after: int = 0) -> Ended:
        """Run a command and wait for its end.

        Args:
            words: The command's arguments.
            environ: Its environment.
            kill_after: Number of the call to the outside after which it is killed; 0 lets it end.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        order = {"words": words, "environ": dict(environ), "kill_after": kill_after}
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()
        answer = json.loads(stdout.readline())
        return Ended(**{**answer, "calls": tuple(answer["calls"])})

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main() -> None:
    """Serve orders until standard input ends."""
    gc.disable()
    gc.freeze()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_serve(json.loads(line))) + "\n")
        sys.stdout.flush()


def _serve(order: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as calls, tempfile.TemporaryFile() as text:
        pid = os.fork()
        if pid == 0:
            _command(order, calls.fileno(), text.fileno())
        _, how = os.waitpid(pid, 0)
        calls.seek(0)
        text.seek(0)
        return {
            "killed": os.WIFSIGNALED(how),
            "status": os.waitstatus_to_exitcode(how),
            "calls": calls.read().decode().splitlines(),
            "text": text.read().decode(errors="replace"),
            "pid": pid,
        }


def _command(order: dict[str, Any], calls: int, text: int) -> None:
    """Be the command; never returns."""
    from jenkins_release.cli.entry import main as command
    from tests.release.boundaries import Boundaries, watch_services

    status = 70
    try:
        os.dup2(text, 1)
        os.dup2(text, 2)
        os.environ.clear()
        os.environ.update(order["environ"])
        watch_services(Boundaries(calls, order["kill_after"]))
        status = command(order["words"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
