"""Commands that take an option with one value once, and whose help is output like any other."""

from __future__ import annotations

from typing import Any

import click

from jenkins_release.cli.output import tell


class Helped(click.Command):
    """A command that ends with 0 after its help, also if that cannot be written; click would end with 1."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Return the option that shows the help."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _show_help
        return option


class Command(Helped):
    """A command that refuses an option which is given twice, instead of dropping the first value."""

    def make_parser(self, ctx: click.Context) -> Any:
        """Return the parser, which checks the options in the given order."""
        parser = super().make_parser(ctx)
        parse = parser.parse_args

        def parse_args(args: list[str]) -> tuple[Any, list[str], list[click.Parameter]]:
            values, rest, given = parse(args=args)
            for option in given:
                # A line that is being completed may be wrong by then.
                if not ctx.resilient_parsing and given.count(option) > 1 and _takes_one(option):
                    raise click.UsageError(
                        f"Option '{option.opts[0]}' was given {given.count(option)} times, expected once.",
                        ctx,
                    )
            return values, rest, given

        parser.parse_args = parse_args  # type: ignore[method-assign]
        return parser


class Exemplified(Helped):
    """A command whose help begins with an example.

    Args:
        example: A command line.
    """

    def __init__(self, *given: Any, example: str = "", **named: Any) -> None:
        super().__init__(*given, **named)
        self.example = example

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example, then what the command does."""
        if self.example:
            formatter.write_paragraph()
            # Not as a paragraph: a command line that is copied has no line breaks.
            formatter.write(f"  Example: {self.example}\n")
        super().format_help_text(ctx, formatter)


class Group(Exemplified, click.Group):
    """A group of such commands."""

    command_class = Command


def _show_help(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        tell(ctx.get_help())
        ctx.exit()


def _takes_one(option: click.Parameter) -> bool:
    if not isinstance(option, click.Option) or option.multiple or option.count:
        return False
    return not option.is_flag or bool(option.secondary_opts)
