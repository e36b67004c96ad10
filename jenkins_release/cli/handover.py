"""Options for where a customer's secret goes: an encrypted file, Secrets Manager, or a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jenkins_release.base.environment import in_build
from jenkins_release.base.errors import ConfigurationError
from jenkins_release.cli.runtime import Runtime
from jenkins_release.config import HANDOVER_PASSPHRASE, secret

if TYPE_CHECKING:
    from jenkins_release.steps.customers.handover import HandedKey, HandOver


class TerminalHandOver:
    """Shows a secret once, and only to a person.

    Args:
        environ: Shows whether this is a build.
        force: Show it wherever stdout goes.
        as_json: Whether stdout must be a single JSON document.

    Raises:
        ConfigurationError: Without force, stdout is not a terminal or this runs in a build; or stdout must be
            JSON.
    """

    def __init__(self, environ: Mapping[str, str], *, force: bool, as_json: bool = False) -> None:
        if as_json:
            raise ConfigurationError(
                "--json and a secret on stdout exclude each other", hint="give --file or --secret"
            )
        build = in_build(environ)
        if not force and (build or not sys.stdout.isatty()):
            raise ConfigurationError(
                f"a secret is not shown {'in a build' if build else 'in a pipe or a file'}",
                hint="give --file or --secret; --force-terminal shows it anyway",
            )

    def require_for(self, user: str) -> None:
        """Do nothing: the terminal shows the user's name."""

    def holds(self, user: str, key_id: str) -> bool:  # noqa: ARG002 - it is unknown what was read
        """Return False: it cannot be shown again."""
        return False

    def give(self, key: HandedKey) -> None:
        """Show the key. Raises ConfigurationError if stdout takes nothing."""
        shown = key.credentials
        lines = [
            "shown once, and stored nowhere:",
            f"  AWS_ACCESS_KEY_ID={shown.key_id}",
            f"  AWS_SECRET_ACCESS_KEY={shown.secret.get_secret_value()}",
        ]
        try:
            click.echo("\n".join(lines))
        except OSError as error:
            raise ConfigurationError(
                f"the key {shown.key_id} cannot be shown: stdout cannot be written: {error.strerror}",
                hint="give --file or --secret",
            ) from error

    def place(self, user: str, key_id: str) -> str:  # noqa: ARG002 - there is only one place
        """Say that it was shown."""
        return "this terminal"


def handover_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for where a secret goes."""
    options = [
        click.option(
            "--file",
            "folder",
            type=click.Path(path_type=Path, file_okay=False),
            help="Write an encrypted hand-over file (age) to this folder.",
        ),
        click.option(
            "--recipient",
            "recipients",
            multiple=True,
            help="Public key that the file is encrypted for: age1..., ssh-ed25519 ...; may be repeated. "
            f"Otherwise a passphrase: ${HANDOVER_PASSPHRASE} or ..._FILE.",
        ),
        click.option("--secret", "secret_name", help="Write the key to this secret in AWS Secrets Manager."),
        click.option("--terminal", is_flag=True, help="Show the key once, on a terminal."),
        click.option("--force-terminal", is_flag=True, help="Show it in a pipe or a build log too."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def handover_of(
    runtime: Runtime,
    folder: Path | None,
    recipients: tuple[str, ...],
    secret_name: str | None,
    terminal: bool,
    force_terminal: bool,
) -> HandOver | None:
    """Return the hand-over that the options select, None if they select none.

    Raises:
        ConfigurationError: They exclude each other, or one cannot be used.
    """
    from jenkins_release.steps.customers.handover import FileHandOver, SecretHandOver

    shown = terminal or force_terminal
    if sum([folder is not None, secret_name is not None, shown]) > 1:
        raise ConfigurationError(
            "--file, --secret and --terminal exclude each other", hint="choose one way for the secret"
        )
    if recipients and folder is None:
        raise ConfigurationError("--recipient needs --file", hint="give --file FOLDER")
    if folder is not None:
        passphrase = None if recipients else secret(HANDOVER_PASSPHRASE, runtime.environ)
        return FileHandOver(folder, recipients=recipients, passphrase=passphrase)
    if secret_name is not None:
        return SecretHandOver(runtime.services.secret_store, secret_name)
    if not shown:
        return None
    return TerminalHandOver(runtime.environ, force=force_terminal, as_json=runtime.as_json)
