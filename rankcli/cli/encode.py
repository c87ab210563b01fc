"""`rankcli encode`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rankcli.cli import _complete
from rankcli.cli._command import Command
from rankcli.cli._options import (
    ARRAYS,
    common_options,
    force_option,
    json_option,
    print_result,
    source,
    topics_option,
)
from rankcli.cli.cache import storage_option


@click.command(cls=Command)
@click.option("--model", required=True, metavar="RUN_DIR|HF_DIR", help="A bi-encoder; or gs://..., or a hub id.")
@click.option(
    "--weights",
    default="best",
    show_default=True,
    metavar="best|last|best:METRIC|iter:N",
    shell_complete=_complete.of_weights,
    help="Which weights of a run directory.",
)
@click.option("--docs", callback=source, metavar="PATH", help="Documents: JSONL, TSV or TREC.")
@click.option("--queries", callback=source, metavar="PATH", help="Queries: JSONL, TSV or TREC topics.")
@topics_option
@click.option(
    "-o",
    "--output",
    type=ARRAYS,
    help="NAME.npy, with NAME.ids.txt beside it; or a folder for docs.npy and queries.npy.  [default: only the cache]",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Number type of the vectors, in the cache and in the output.",
)
@click.option("--evalbatch", type=click.IntRange(min=0), default=0, help="Texts per step.  [default: chosen]")
@click.option(
    "--amp",
    type=click.Choice(["none", "bf16"]),
    default="none",
    show_default=True,
    help="Number type of the computation.",
)
@click.option(
    "--strategy",
    type=click.Choice(["auto", "cpu", "mirrored", "tpu"]),
    default="auto",
    show_default=True,
    help="Which devices to use.",
)
@storage_option
@force_option
@json_option
@common_options
def command(output: Path | str | None, as_json: bool, **options: Any) -> None:
    """Encode documents and queries with a bi-encoder, and keep the vectors.

    Each text is encoded once: what the cache has is taken from there, also by trainings with `caches` and by other
    models over the same frozen encoder. The vectors that are written are those that scores compare: a search by inner
    product, as FAISS does, ranks as `rerank` does.

    \b
    Example:
      rankcli encode --model runs/config --docs corpus.jsonl --output docs.npy
      rankcli encode --model runs/config --queries queries.jsonl --output queries.npy --dtype float16
    """
    from rankcli.verbs.encode import encode

    print_result(encode(output=output, **options), as_json)
