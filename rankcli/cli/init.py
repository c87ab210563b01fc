"""`rankcli init`."""

from __future__ import annotations

from pathlib import Path

import click

from rankcli.cli._command import Command
from rankcli.cli._options import FILE, OUTPUT, debug_option


@click.command(cls=Command)
@click.option("--docs", type=FILE, required=True, help="Documents: JSONL, TSV or TREC.")
@click.option("--queries", type=FILE, required=True, help="Queries: JSONL, TSV or TREC topics.")
@click.option("--qrels", type=FILE, required=True, help="Judgments.")
@click.option("--run", type=FILE, help="Candidates, as a TREC run.  [default: BM25]")
@click.option("--output", type=OUTPUT, default=Path("config.yaml"), show_default=True, help="The file to write.")
@debug_option
def command(
    docs: Path | str, queries: Path | str, qrels: Path | str, run: Path | str | None, output: Path | str
) -> None:
    """Look at a collection and write a configuration for it.

    \b
    Example:
      rankcli init --docs corpus.jsonl --queries queries.jsonl --qrels qrels.txt --output config.yaml
    """
    from rankcli.verbs.init import init

    click.echo(init(docs=docs, queries=queries, qrels=qrels, run=run, output=output))
