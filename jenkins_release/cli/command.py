"""Commands that take an option with one value once."""

from __future__ import annotations

from typing import Any

import click


class Command(click.Command):
    """A command that refuses an option which is given twice, instead of dropping the first value."""

    def make_parser(self, ctx: click.Context) -> Any:
        """Return the parser; it looks at the options in the order in which they were given."""
        parser = super().make_parser(ctx)
        parse = parser.parse_args

        def parse_args(args: list[str]) -> tuple[Any, list[str], list[click.Parameter]]:
            values, rest, given = parse(args=args)
            for option in given:
                if given.count(option) > 1 and _takes_one(option):
                    raise click.UsageError(
                        f"Option '{option.opts[0]}' was given {given.count(option)} times, expected once.",
                        ctx,
                    )
            return values, rest, given

        parser.parse_args = parse_args  # type: ignore[method-assign]
        return parser


class Group(click.Group):
    """A group of such commands."""

    command_class = Command


def _takes_one(option: click.Parameter) -> bool:
    if not isinstance(option, click.Option) or option.multiple or option.count:
        return False
    return not option.is_flag or bool(option.secondary_opts)
