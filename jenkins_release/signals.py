"""SIGINT and SIGTERM: what a person sends with Ctrl-C, and Jenkins when a build is aborted.

Both end a command in the same way: cleaned up, with one line and the result file. Only the status tells
them apart, as shells count it: 128 and the number of the signal.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
_WORDS = {signal.SIGINT: b"interrupted\n", signal.SIGTERM: b"terminated\n"}


class Terminated(KeyboardInterrupt):
    """SIGTERM; who cleans up after Ctrl-C cleans up after it."""


def end_at_once() -> None:
    """Let both signals end the process without a traceback, while nothing is there to clean up.

    A signal that is ignored stays so: a shell ignores SIGINT for what it starts in the background.
    """
    for number in _WORDS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)


def interrupt_commands() -> None:
    """Let both signals interrupt a command, SIGTERM as :class:`Terminated`, where they are not ignored."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGTERM) != signal.SIG_IGN:
        signal.signal(signal.SIGTERM, _terminate)


def _end(number: int, _: FrameType | None) -> None:
    os.write(2, _WORDS[signal.Signals(number)])
    os._exit(128 + number)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    # Once: a second one would interrupt the cleaning up. Who cannot wait sends SIGKILL.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated
