"""The class of all commands: an option that takes one value may be given once."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import ClassVar

import click


class Command(click.Command):
    """A command that refuses an option with one value that is given twice; click would take the last one silently."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; usage error for a repeated option."""
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        for param, count in Counter(order).items():
            if count > 1 and isinstance(param, click.Option) and not (param.multiple or param.is_flag):
                ctx.fail(f"{param.opts[-1]} takes one value, but is given {count} times")
        return super().parse_args(ctx, args)

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return the whole first sentence, on as many lines as it takes; click would cut it off."""
        return summary(self)


class Group(click.Group):
    """A group of such commands."""

    command_class: ClassVar[type[click.Command]] = Command  # type: ignore[misc]

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return the whole first sentence."""
        return summary(self)


def summary(command: click.Command) -> str:
    """Return the first sentence of a command's help."""
    return inspect.cleandoc(command.help or "").split("\n\n")[0].replace("\n", " ")
