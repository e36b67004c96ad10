"""The root of the command line. Groups are imported when they are used, so that ``--help`` is fast."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import click

from jenkins_release.base.text import did_you_mean
from jenkins_release.base.version import __version__
from jenkins_release.cli.command import Exemplified
from jenkins_release.cli.output import tell

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_GROUPS = {
    "doctor": "Check that this machine has all that it needs, in the order in which a release needs it.",
    "candidate": "Export, list, check and load release candidates.",
    "qa": "Record QA's signed verdict on a candidate.",
    "promote": "Bring a validated candidate to the registry that customers pull from.",
    "release": "Publish a version, show its history, withdraw or retire it.",
    "customer": "Give customers access to the images, or take it back.",
    "saas": "Bring a released version onto the SaaS stack, show what runs there, or roll back.",
    "bundle": "Build the setup zip that customers deploy with, or prove one.",
    "verify": "Prove without the share that images and files are those that QA validated, and were promoted.",
    "ledger": "Compare the share with the ledger outside it, or enter candidates from before it.",
    "notify": "Test the notifications by mail and webhook.",
    "keys": "Create and show signing keys.",
    "trust": "Sign policy and trusted keys with root keys, outside the workspace.",
    "jobs": "Create and update the Jenkins jobs of the product.",
    "sandbox": "Rehearse on loopback: Docker, Samba, registry, ECR and AWS.",
}


class Carried(BaseException):
    """Carries an error past click, which would print an empty line and treat it as an interrupt.

    Args:
        error: An interrupt, or an EOFError, which is not one.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


@contextlib.contextmanager
def _carried() -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, EOFError) as error:
        raise Carried(error) from error


class LazyGroup(Exemplified, click.Group):
    """A group whose commands stand in modules that are imported on first use."""

    def make_context(self, *given: Any, **named: Any) -> click.Context:
        """Read the arguments; see :meth:`click.Command.make_context`."""
        with _carried():
            return super().make_context(*given, **named)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; see :meth:`click.Command.invoke`."""
        with _carried():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the groups."""
        return list(_GROUPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a group."""
        if cmd_name not in _GROUPS:
            return None
        return cast(click.Command, getattr(import_module(f"jenkins_release.cli.{cmd_name}"), cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a group, or say which ones have a name like it; see :meth:`click.Group.resolve_command`."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.UsageError as error:
            if args[0].startswith("-") or args[0] in _GROUPS:
                raise
            question = _question(ctx, args[0])
            more = f" {question[0].upper()}{question[1:]}" if question else ""
            raise click.UsageError(f"No such command {args[0]!r}.{more}", ctx) from error

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Return the groups that begin so, without importing them."""
        from click.shell_completion import CompletionItem

        groups = [
            CompletionItem(name, help=text) for name, text in _GROUPS.items() if name.startswith(incomplete)
        ]
        return groups + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the groups without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_GROUPS.items()))


def _question(ctx: click.Context, word: str) -> str:
    """Return which command was meant: a verb alone is one of each group that has it."""
    groups = {name: cli.get_command(ctx, name) for name in _GROUPS}
    found = [f"{name} {word}" for name, group in groups.items() if word in getattr(group, "commands", ())]
    return f"did you mean {' or '.join(map(repr, found))}?" if found else did_you_mean(word, _GROUPS)


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        tell(f"jenkins-release, version {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    example="jenkins-release candidate list",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=(
        "Exit status: 0 done or nothing to do, 2 usage or configuration, 3 refused by the gate, "
        "4 an integrity check failed, 5 a remote service failed after the retries, "
        "6 someone else holds the lease, 70 a bug, 130 interrupted, 143 terminated."
    ),
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Promote exactly what QA validated, from Jenkins to Amazon ECR."""
