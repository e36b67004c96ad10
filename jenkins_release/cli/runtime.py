"""What all commands have in common: options, services, the result, the failure."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from jenkins_release.base.environment import require_text
from jenkins_release.base.errors import ConfigurationError, ReleaseError, without_logins
from jenkins_release.cli.notices import notified_json, notified_text
from jenkins_release.cli.output import Style, bullets, plain, shown_on_terminal, styled, tell
from jenkins_release.cli.progress import progress_for
from jenkins_release.cli.terminal import BOTTOM
from jenkins_release.share.candidates import CandidateRef
from jenkins_release.steps.context.local_files import remove_file, write_file

if TYPE_CHECKING:
    from jenkins_release.notify.protocol import Delivery
    from jenkins_release.steps.context.services import Services
    from jenkins_release.steps.context.trust_root import PinFile

F = TypeVar("F", bound=Callable[..., Any])
_QUIET = ("botocore", "boto3", "urllib3", "docker", "smbprotocol", "spnego", "smbclient")


class Runtime:
    """One run of a command: where its services come from and where its result goes.

    Args:
        environ: The environment; the process's own by default.
        pin_file: The file that pins the trust root; that of the machine by default.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, pin_file: PinFile | None = None) -> None:
        self.pin_file = pin_file
        self._environ = os.environ if environ is None else environ
        self.config: Path | None = None
        self.overrides: dict[str, Any] = {}
        self.as_json = False
        self.result_file: Path | None = None

    @functools.cached_property
    def environ(self) -> Mapping[str, str]:
        """The environment. Raises ConfigurationError if variables that are read are not text."""
        require_text(self._environ)
        return self._environ

    @property
    def unchecked_environ(self) -> Mapping[str, str]:
        """The unchecked environment, to remove its secrets from messages."""
        return self._environ

    @functools.cached_property
    def services(self) -> Services:
        """The services of the configured product."""
        # Only when a command needs them, so that help is fast.
        from jenkins_release.config import load_configuration
        from jenkins_release.steps.context.services import Services

        configuration = load_configuration(self.config, environ=self.environ, options=self.overrides)
        made = Services(configuration, environ=self.environ, progress=progress_for(sys.stderr))
        if self.pin_file is not None:
            made.pin_file = self.pin_file
        return made

    def write_board(self) -> None:
        """Write the release board again if the command changed a release and ``[board]`` names a place."""
        if "services" not in self.__dict__:
            return
        # Its pages take a third of a second to import.
        if self.services.changed and self.services.configuration.board.kept:
            from jenkins_release.steps.overview.board import refresh_board

            refresh_board(self.services)

    def close(self) -> None:
        """Close the services if a command used them."""
        if "services" in self.__dict__:
            self.services.close()

    def succeed(self, result: Mapping[str, Any], text: str) -> None:
        """Write the result: JSON to the result file, and text or JSON to stdout."""
        shown = _without_logins({**result, **self._notified()})
        document = json.dumps(shown, indent=2, ensure_ascii=False)
        self._write_result(document)
        text = without_logins(text) + notified_text(self._deliveries())
        tell(document if self.as_json else shown_on_terminal(text))

    def conclude(
        self,
        result: Mapping[str, Any],
        text: str,
        error: ReleaseError | None,
        *,
        reasons: Sequence[str] = (),
    ) -> None:
        """Write a complete result even if it is bad news, then end with the error's exit status.

        The JSON document has the error next to the result, under the same key as a failure.

        Args:
            result: The result.
            text: The result for people.
            error: The bad news.
            reasons: Reasons for the error that the text does not show.
        """
        if error is None:
            self.succeed(result, text)
            return
        self.succeed({**result, "error": self._diagnostics(error)}, text)
        self._tell(error, reasons)
        raise click.exceptions.Exit(error.exit_status)

    def fail(self, error: ReleaseError) -> int:
        """Write the failure: for people to stderr, as JSON to stdout and the result file."""
        self._tell(error, error.reasons)
        self.result_only(error)
        return error.exit_status

    def _tell(self, error: ReleaseError, reasons: Sequence[str] = ()) -> None:
        tell(f"{_word('error:', 'bad')} {_shown(self._redacted(error.message))}", err=True)
        if reasons:
            tell(_shown(self._redacted(bullets(reasons))), err=True)
        if error.hint:
            tell(f"{_word('hint:', 'strong')} {_shown(self._redacted(error.hint))}", err=True)

    def result_only(self, error: ReleaseError) -> None:
        """Write the failure as JSON to the result file and stdout, if requested."""
        failure = {"error": self._diagnostics(error), **self._notified()}
        document = json.dumps(failure, indent=2, ensure_ascii=False)
        self._write_result(document)
        if self.as_json:
            tell(document)

    @functools.cached_property
    def _redacted(self) -> Callable[[str], str]:
        from jenkins_release.config.redaction import Redaction, kept_secrets

        return Redaction(kept_secrets(self._environ))

    def _diagnostics(self, error: ReleaseError) -> dict[str, Any]:
        found = error.diagnostics()
        reasons = [self._redacted(reason) for reason in found["reasons"]]
        shown = {name: self._redacted(found[name]) for name in ("message", "hint")}
        return {**found, **shown, "reasons": reasons}

    def _deliveries(self) -> list[Delivery]:
        return self.services.notified if "services" in self.__dict__ else []

    def _notified(self) -> dict[str, Any]:
        """Return who was notified, under its own key; empty if there are no notifiers."""
        deliveries = self._deliveries()
        return {"notified": notified_json(deliveries)} if deliveries else {}

    def _write_result(self, document: str) -> None:
        if self.result_file is None:
            return
        try:
            # It may contain a presigned download link.
            write_file(
                self.result_file,
                f"{document}\n".encode(errors="backslashreplace"),
                "the result",
                private=True,
            )
        except ConfigurationError as error:
            tell(f"{_word('warning:', 'open')} {_shown(error.message)}", err=True)


pass_runtime = click.make_pass_decorator(Runtime)


def common_options(command: F) -> F:
    """Add the options of every command with a configuration: configuration, result, log."""
    config = click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Configuration file  [default: $JENKINS_RELEASE_CONFIG, or ./release.toml]",
        expose_value=False,
        callback=_keep("config"),
    )
    return config(result_options(command))


def result_options(command: F) -> F:
    """Add the options of every command: result, log."""
    as_json = click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Write one JSON document to stdout instead of text.",
        expose_value=False,
        callback=_keep("as_json"),
        is_eager=True,
    )
    result = click.option(
        "--result",
        "result_file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Also write the JSON document to this file, even if the command fails.",
        expose_value=False,
        callback=_keep_result_file,
        is_eager=True,
    )
    verbose = click.option(
        "-v",
        "--verbose",
        is_flag=True,
        help="Log every step to stderr.",
        expose_value=False,
        callback=_set_verbosity,
    )
    return as_json(result(verbose(command)))


def override_option(*names: str, key: str, help: str) -> Callable[[F], F]:  # noqa: A002 - click's word
    """Make an option that overrides one key of ``release.toml``."""

    def keep(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value is not None and not context.resilient_parsing:
            context.find_object(Runtime).overrides[key] = value  # type: ignore[union-attr]

    return click.option(*names, help=f"{help}  [overrides {key}]", expose_value=False, callback=keep)


class CandidateType(click.ParamType[CandidateRef]):
    """``version/build``, such as ``8.1.0/42``."""

    name = "VERSION/BUILD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> CandidateRef:  # noqa: ARG002
        """Read the argument. Raises ConfigurationError, which the main function shows."""
        return value if isinstance(value, CandidateRef) else CandidateRef.parse(str(value))


candidate_argument = click.argument("ref", metavar="VERSION/BUILD", type=CandidateType())
share_option = override_option(
    "--share", key="share.release_candidate", help="Share or folder of the candidates."
)
releases_option = override_option("--releases", key="share.releases", help="Release area.")
docker_option = override_option(
    "--docker-host", key="docker.host", help="Docker daemon, such as unix:///run/d.sock."
)
jenkins_option = override_option("--jenkins-url", key="jenkins.url", help="Root of the Jenkins controller.")
region_option = override_option("--region", key="ecr.region", help="AWS region of the registry.")


def _keep(attribute: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(context: click.Context, _: click.Parameter, value: Any) -> None:
        runtime = context.find_object(Runtime)
        if runtime is not None and value is not None:
            setattr(runtime, attribute, value)

    return keep


def _keep_result_file(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    # Not for a line that is only completed in the shell.
    if value is not None and not context.resilient_parsing:
        remove_file(value, "the result")
    _keep("result_file")(context, parameter, value)


def _without_logins(value: Any) -> Any:
    if isinstance(value, str):
        return without_logins(value)
    if isinstance(value, Mapping):
        return {name: _without_logins(each) for name, each in value.items()}
    return [_without_logins(each) for each in value] if isinstance(value, list | tuple) else value


def _set_verbosity(context: click.Context, _: click.Parameter, value: bool) -> None:
    if context.resilient_parsing:
        return
    runtime = context.find_object(Runtime)
    environ = runtime.unchecked_environ if runtime else os.environ
    configure_logging(logging.INFO if value else logging.WARNING, environ)


def _word(text: str, style: Style) -> str:
    return styled(text, style, sys.stderr)


def _shown(text: str) -> str:
    """Return text without anything that could move the cursor or clear the screen."""
    return "\n".join(plain(line) for line in text.split("\n"))


class _AboveTheBars(logging.StreamHandler[Any]):
    """Writes lines of the log above the rows of running transfers."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        BOTTOM.above(lambda: super(_AboveTheBars, self).emit(record))


class _Redacting(logging.Formatter):
    """Removes secrets from whole lines: messages, their values, and tracebacks of libraries' exceptions."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
        self._environ = environ

    @functools.cached_property
    def _redacted(self) -> Callable[[str], str]:
        # Only when there is something to log, so that help is fast.
        from jenkins_release.config.redaction import Redaction, kept_secrets

        return Redaction(kept_secrets(self._environ))

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without secrets."""
        return _shown(self._redacted(super().format(record)))


def configure_logging(level: int, environ: Mapping[str, str]) -> None:
    """Send the log to stderr; libraries stay at WARNING, where they log no packets or headers.

    Args:
        level: Lowest level of this program's log.
        environ: The environment, whose secrets are never shown.
    """
    handler = _AboveTheBars(sys.stderr)
    handler.setFormatter(_Redacting(environ))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("jenkins_release").setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # For malformed headers, it logs a traceback and the URL, and continues.
    logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
    # It logs the traceback of its own errors.
    logging.getLogger("paramiko.transport").setLevel(logging.CRITICAL)
