"""`rankcli convert`."""

from __future__ import annotations

import re

import click

from rankcli.cli._command import Command
from rankcli.cli._options import common_options, config_options, json_option, print_result, verify_option

_PART = re.compile(r"([1-9][0-9]{0,4})/([1-9][0-9]{0,4})")


def _part(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Return the two numbers of `I/N`."""
    if value is None:
        return None
    match = _PART.fullmatch(value)
    if not match or int(match[1]) > int(match[2]):
        raise click.BadParameter(f"{value!r} is not I/N with I from 1 to N, for example 2/8.")
    return int(match[1]), int(match[2])


@click.command(cls=Command)
@config_options
@click.option(
    "--split",
    default="all",
    show_default=True,
    metavar="train|dev|test|SET|all",
    help="Which: a part of the split, or one set of it, as dev/NAME or train/TASK.",
)
@click.option("--shard", "part", callback=_part, metavar="I/N", help="Write the I-th of N parts, as one of N jobs.")
@click.option("--finalize", is_flag=True, help="Check what the N jobs wrote and publish it.")
@verify_option
@json_option
@common_options
def command(
    files: tuple[str, ...],
    overrides: tuple[str, ...],
    split: str,
    part: tuple[int, int] | None,
    finalize: bool,
    as_json: bool,
) -> None:
    """Convert samples to cached TFRecords ahead of training.

    A conversion that was interrupted goes on where it stopped. Several machines that share the storage convert one
    cache together: each runs one --shard, in any order; then one runs --finalize.

    \b
    Example:
      rankcli convert --config config.yaml --split train
      rankcli convert --config config.yaml --shard 2/8
      rankcli convert --config config.yaml --finalize
    """
    if part and finalize:
        raise click.UsageError("--shard and --finalize are separate steps: give one of them.")
    from rankcli.config.load import load_config
    from rankcli.storage.inputs import local_copy

    config, _ = load_config(files, overrides, local_copy)
    from rankcli.records.convert import JobPart
    from rankcli.verbs.convert import convert

    print_result(convert(config, split=split, part=JobPart(*part) if part else None, finalize=finalize), as_json)
