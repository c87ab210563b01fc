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

    if init_from is not None:
        overrides = (*overrides, f"init.model={json.dumps(init_from)}")
    config, _ = load_config(files, overrides, local_copy)
    from rankcli.verbs.train import train

    directory = out or Path("runs") / Path(files[-1]).stem
    print_result(train(config, out=directory, overwrite=overwrite, dry_run=dry_run), as_json)
