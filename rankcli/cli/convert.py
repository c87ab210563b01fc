"""`rankcli convert`."""

from __future__ import annotations

import click

from rankcli.cli._options import config_options, debug_option, json_option, print_result


@click.command()
@config_options
@click.option(
    "--split", type=click.Choice(["train", "dev", "test", "all"]), default="all", show_default=True, help="Which."
)
@json_option
@debug_option
def command(files: tuple[str, ...], overrides: tuple[str, ...], split: str, as_json: bool) -> None:
    """Convert samples to cached TFRecords ahead of training.

    \b
    Example:
      rankcli convert --config config.yaml --split train
    """
    from rankcli.config.load import load_config

    config, _ = load_config(files, overrides)
    from rankcli.pipelines.convert import convert

    print_result(convert(config, split=split), as_json)
