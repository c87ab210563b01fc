"""Options of the commands that compute scores with a model."""

from __future__ import annotations

import click

from rankcli.cli import _complete
from rankcli.cli._options import Decorator

MODEL = "RUN_DIR|HF_DIR"  # the metavar of --model

weights_option: Decorator = click.option(
    "--weights",
    default="best",
    show_default=True,
    metavar="best|last|best:METRIC|iter:N",
    shell_complete=_complete.of_weights,
    help="Which weights of a run directory.",
)
evalbatch_option: Decorator = click.option(
    "--evalbatch",
    type=click.IntRange(min=0),
    default=0,
    help="Pairs per step; texts, of a bi-encoder.  [default: chosen]",
)
amp_option: Decorator = click.option(
    "--amp",
    type=click.Choice(["none", "bf16"]),
    default="none",
    show_default=True,
    help="Number type of the computation.",
)
strategy_option: Decorator = click.option(
    "--strategy",
    type=click.Choice(["auto", "cpu", "mirrored", "multiworker", "tpu"]),
    default="auto",
    show_default=True,
    help="Which devices to use.",
)
