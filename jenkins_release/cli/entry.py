"""The command line as a function: the only place that decides on an exit status."""

from __future__ import annotations

import errno
import logging
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import click

from jenkins_release.base.environment import is_text
from jenkins_release.base.errors import EXIT_STATUS, Category, ConfigurationError, Interrupted, ReleaseError
from jenkins_release.base.signals import (
    INTERRUPTED,
    TERMINATED,
    Terminated,
    conclude,
    first_signal,
    fresh_line,
    last_words,
    speaking,
)
from jenkins_release.cli.main import Carried, cli
from jenkins_release.cli.output import tell
from jenkins_release.cli.terminal import BOTTOM

if TYPE_CHECKING:
    from jenkins_release.cli.runtime import Runtime
    from jenkins_release.steps.context.trust_root import PinFile

_UNUSABLE = frozenset({errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR})


def main(
    arguments: Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    pin_file: PinFile | None = None,
) -> int:
    """Run the command line.

    Args:
        arguments: Arguments after the program's name; those of the process by default.
        environ: The environment; the process's own by default.
        pin_file: The file that pins the trust root; that of the machine by default.

    Returns:
        The exit status: see :data:`jenkins_release.base.errors.EXIT_STATUS`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if wrong := next((word for word in words if not is_text(word)), None):
        tell(f"error: the argument {wrong!a} is not UTF-8", err=True)
        return EXIT_STATUS[Category.CONFIGURATION]
    runtime: Runtime | None = None
    with ExitStack() as teller:
        try:
            try:
                # In case nothing gets configured: help and version import only click.
                if words and words not in (["--version"], ["-h"], ["--help"]):
                    from jenkins_release.cli.progress import WaitTeller
                    from jenkins_release.cli.runtime import Runtime

                    runtime = Runtime(environ, pin_file)
                    teller.enter_context(WaitTeller(sys.stderr))
                    BOTTOM.open()
                    last_words(lambda number: _speak(number == signal.SIGTERM, runtime))
                ended = _run(words, runtime)
                status = ended if isinstance(ended, int) else 0
            except Exception as error:  # noqa: BLE001 - only its status and text remain
                status = _failed(error, runtime)
        except KeyboardInterrupt as error:
            # Also a signal that comes while a failure is being written.
            status = _ended_by_signal(error, runtime)
        if runtime is not None:
            conclude(status)
            _write_board(runtime)
            _close(runtime)
    return status


def _failed(error: Exception, runtime: Runtime | None) -> int:
    """Report how a command failed, and return its status."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        _show(error)
        return EXIT_STATUS[Category.CONFIGURATION]
    if isinstance(error, click.UsageError):
        _show(error)
        if runtime is not None:
            runtime.result_only(ConfigurationError(error.format_message()))
        return EXIT_STATUS[Category.CONFIGURATION]
    if isinstance(error, click.Abort):
        return _ended_by_signal(error, runtime)
    if isinstance(error, ReleaseError):
        return runtime.fail(error) if runtime else error.exit_status
    logging.getLogger(__name__).error("unexpected failure", exc_info=error)
    found = _unusable(error) or ReleaseError(
        f"unexpected {type(error).__name__}: a bug in jenkins-release",
        hint="please report it with the log above",
    )
    return runtime.fail(found) if runtime else found.exit_status


def _show(error: click.ClickException) -> None:
    """Let click say what is wrong. Its status says it too, if stderr takes nothing."""
    with suppress(OSError, ValueError):
        error.show()


def _write_board(runtime: Runtime) -> None:
    """Bring the release board up to date if the command changed a release. Changes nothing of its result."""
    try:
        runtime.write_board()
    except KeyboardInterrupt:
        return


def _close(runtime: Runtime) -> None:
    """Close what the command had open. Its result is already reported: no failure or signal changes it."""
    try:
        runtime.close()
    except KeyboardInterrupt:
        return
    except Exception as error:  # noqa: BLE001 - in any case, the command has ended
        logging.getLogger(__name__).warning("a connection was not closed: %s", type(error).__name__)


def _run(words: list[str], runtime: Runtime | None) -> object:
    try:
        # Outside standalone mode, click returns the status of an Exit instead of raising it.
        return cli.main(words, prog_name="jenkins-release", standalone_mode=False, obj=runtime)
    except Carried as carried:
        error = carried.error
    # Here it keeps its own cause.
    raise error


def _unusable(error: Exception) -> ConfigurationError | None:
    """Return what is wrong with a local path of the command; None for any other failure."""
    # The SMB client has its own subclasses.
    if not isinstance(error, OSError) or type(error).__module__ != "builtins":
        return None
    if error.errno not in _UNUSABLE or not isinstance(error.filename, str):
        return None
    return ConfigurationError(
        f"{error.filename[:200]} cannot be used: {error.strerror}",
        hint="give a path that this user may use",
    )


def _ended_by_signal(error: BaseException, runtime: Runtime | None) -> int:
    # An ended wait's error does not say which signal it was.
    terminated = first_signal() == signal.SIGTERM or any(
        isinstance(found, Terminated) for found in (error, error.__cause__)
    )
    with speaking() as first:
        if first:
            _speak(terminated, runtime)
    return TERMINATED if terminated else INTERRUPTED


def _speak(terminated: bool, runtime: Runtime | None) -> None:
    word = "terminated" if terminated else "interrupted"
    BOTTOM.close()
    tell(fresh_line(sys.stderr.isatty()) + word, err=True)
    if runtime is not None:
        runtime.result_only(Interrupted(word, hint="Run the same command again to continue."))
