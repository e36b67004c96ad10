"""The program: from the start of the process to its exit status."""

from __future__ import annotations

import gc
import io
import os
import sys
from pathlib import Path
from typing import TextIO

from jenkins_release.base.signals import end_at_once, interrupt_commands

_COLLECTED = 10_000
"""New objects after which the garbage collector looks for cycles. With Python's 700 it takes a tenth of a
command's time: what is imported stays."""


def run() -> None:
    """Run the command line and end the process with its status.

    File names, arguments and variables are UTF-8, whatever the locale says: in another locale, Python starts
    again in its UTF-8 mode (PEP 540).
    """
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - no shell
    # Before everything that takes time: Ctrl-C during an import would print a traceback.
    end_at_once()
    gc.set_threshold(_COLLECTED)
    # pydantic would search every installed package for plugins, which could change how records are checked.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from jenkins_release.cli.entry import main

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names on a share and text from servers may contain what the terminal's encoding cannot show.
            stream.reconfigure(errors="backslashreplace")
    interrupt_commands()
    status = main()
    for stream in (sys.stdout, sys.stderr):
        _drop_what_cannot_be_written(stream)
    gc.freeze()  # the memory goes to the system at once: no need to look for cycles in it
    sys.exit(status)


def _drop_what_cannot_be_written(stream: TextIO | None) -> None:
    """Keep the interpreter from trying again at exit: it would then exit with status 120."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), stream.fileno())
    except ValueError:
        return  # it is closed
