"""Runs one of Samba's tools to its end."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from jenkins_release.base.errors import RemoteError

_TOOL_S = 300.0
"""Longest run of a tool, in seconds: a slow machine takes a minute to make a domain."""
_TOLD = 5
"""Lines at the end of what a failed tool said that are told."""


def run_tool(command: Sequence[str], *, environ: Mapping[str, str], told: str = "") -> str:
    """Run a tool to its end, and return what it printed.

    Args:
        command: Program and arguments.
        environ: Its environment.
        told: Its standard input. A password goes this way and never as an argument, which everybody can see;
            Samba's own tools take it from there if ``PASSWD_FD=0`` is in their environment.

    Raises:
        RemoteError: It failed, or did not end in time.
    """
    shown = " ".join(command)
    if len(shown) > 200:
        shown = f"{shown[:200]}..."
    try:
        done = subprocess.run(
            list(command),
            input=told,
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=_TOOL_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RemoteError(f"{shown} did not end within {_TOOL_S:.0f} s") from error
    if done.returncode != 0:
        said = " / ".join((done.stdout + done.stderr).splitlines()[-_TOLD:])
        raise RemoteError(f"{shown} ended with status {done.returncode}: {said}")
    return done.stdout
