"""Entry point of the command line: the only place that sets an exit status."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence

import click

from jenkins_release.cli.main import cli
from jenkins_release.errors import EXIT_STATUS, Category, ConfigurationError, ReleaseError

_INTERRUPTED = 130  # 128 + SIGINT, as shells count


def main(arguments: Sequence[str] | None = None, *, environ: Mapping[str, str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Arguments after the program's name; those of the process by default.
        environ: The environment; the process's own by default.

    Returns:
        The exit status: see :data:`jenkins_release.errors.EXIT_STATUS`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words == ["--version"] or words in (["-h"], ["--help"]):
        runtime = None  # nothing will be configured: help and version import no more than click
    else:
        from jenkins_release.cli.runtime import Runtime

        runtime = Runtime(environ)
    try:
        # Outside standalone mode click returns the status of an Exit instead of raising it.
        ended = cli.main(words, prog_name="jenkins-release", standalone_mode=False, obj=runtime)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return EXIT_STATUS[Category.CONFIGURATION]
    except click.UsageError as error:
        error.show()
        if runtime is not None:
            runtime.result_only(ConfigurationError(error.format_message()))
        return EXIT_STATUS[Category.CONFIGURATION]
    except ReleaseError as error:
        return runtime.fail(error) if runtime else error.exit_status
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return _INTERRUPTED
    except Exception as error:
        logging.getLogger(__name__).error("unexpected failure", exc_info=error)
        bug = ReleaseError(
            f"unexpected {type(error).__name__}: a bug in jenkins-release",
            hint="please report it with the log above",
        )
        return runtime.fail(bug) if runtime else bug.exit_status
    finally:
        if runtime is not None:
            runtime.close()
    return ended if isinstance(ended, int) else 0


def run() -> None:
    """Run the command line and end the process with its status."""
    sys.exit(main())


if __name__ == "__main__":
    run()
