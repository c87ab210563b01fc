"""`rankcli completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from rankcli.cli._command import Command
from rankcli.cli._options import common_options

SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
@common_options
def command(shell: str) -> None:
    """Print a script that completes commands, options, KEY=VALUE, components and metrics in your shell.

    \b
    Example:
      rankcli completion bash > rankcli-completion.bash    # then: source rankcli-completion.bash
    """
    from rankcli.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None, f"click completes in {shell}"
    click.echo(kind(cli, {}, "rankcli", "_RANKCLI_COMPLETE").source())
