"""`rankcli schema`."""

from __future__ import annotations

import click

from rankcli.cli._command import Command
from rankcli.cli._options import common_options, to_json


@click.command(cls=Command)
@common_options
def command() -> None:
    """Print JSON Schema of a configuration, for editors and other tools.

    \b
    Example:
      rankcli schema > rankcli.schema.json
    """
    from rankcli.config.json_schema import json_schema

    click.echo(to_json(json_schema()))
