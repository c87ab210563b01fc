"""`rankcli train`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from rankcli.cli._command import Command
from rankcli.cli._options import DIRECTORY, common_options, config_options, json_option, print_result, verify_option


@click.command(cls=Command)
@config_options
@click.option(
    "-o",
    "--out",
    type=DIRECTORY,
    metavar="DIR|gs://...",
    help="Run directory.  [default: runs/<stem of the last config>]",
)
@click.option(
    "--init-from",
    metavar="RUN_DIR|HF_DIR",
    help="Start from these weights; or gs://..., or a hub id. Short for init.model=...; init.weights, init.only, "
    "init.map and init.strict say which of them.",
)
@click.option("--overwrite", is_flag=True, help="Move an existing run directory to DIR.old-N and train anew.")
@click.option("--dry-run", is_flag=True, help="Show the options, the data and the steps; train nothing.")
@click.option(
    "--for",
    "chip",
    metavar="TPU",
    help="With --dry-run: compile the steps for a TPU such as v5e-8 and show if they fit, and how fast they can be.",
)
@click.option("--largest-batch", is_flag=True, help="With --for: find the largest batch that fits; takes minutes.")
@verify_option
@json_option
@common_options
def command(
    files: tuple[str, ...],
    overrides: tuple[str, ...],
    out: Path | str | None,
    init_from: str | None,
    overwrite: bool,
    dry_run: bool,
    chip: str | None,
    largest_batch: bool,
    as_json: bool,
) -> None:
    """Train a reranker and measure it on the test queries.

    The same command goes on where an interrupted run stopped, and prints the result of a finished one.

    \b
    Example:
      rankcli train --config config.yaml trainer.niters=2 sampler=triplet --out runs/try
      rankcli train --config other.yaml --init-from runs/config init.weights=last --out runs/transferred
    """
    from rankcli.config.load import load_config
    from rankcli.storage.inputs import local_copy

    if chip and not dry_run:
        raise click.UsageError("--for compiles without a TPU and trains nothing: give --dry-run too")
    if largest_batch and not chip:
        raise click.UsageError("--largest-batch needs --for")
    if init_from is not None:
        overrides = (*overrides, f"init.model={json.dumps(init_from)}")
    config, _ = load_config(files, overrides, local_copy)
    from rankcli.verbs.train import train

    directory = out or Path("runs") / Path(files[-1]).stem
    found = train(config, out=directory, overwrite=overwrite, dry_run=dry_run, chip=chip, largest_batch=largest_batch)
    print_result(found, as_json)
