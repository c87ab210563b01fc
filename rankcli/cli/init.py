"""`rankcli init`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rankcli.cli._command import Command
from rankcli.cli._options import (
    FILE,
    OUTPUT,
    common_options,
    json_option,
    print_result,
    source,
    sources,
    topics_option,
)


@click.command(cls=Command)
@click.argument("place", callback=source, metavar="[FOLDER]", required=False)
@click.option("--docs", callback=sources, multiple=True, metavar="PATH", help="Documents. May repeat.")
@click.option("--queries", callback=sources, multiple=True, metavar="PATH", help="Queries. May repeat.")
@click.option("--qrels", callback=sources, multiple=True, metavar="PATH", help="Judgments. May repeat.")
@topics_option
@click.option(
    "--features", callback=source, metavar="FILE", help="Features in LibSVM's format or ELWC, in place of these."
)
@click.option("--run", type=FILE, help="Candidates, as a TREC run.  [default: BM25]")
@click.option("-o", "--output", type=OUTPUT, default=Path("config.yaml"), show_default=True, help="The file to write.")
@click.option("--force", is_flag=True, help="Overwrite the output.")
@click.option("--dry-run", is_flag=True, help="Print the configuration and write nothing.")
@json_option
@common_options
def command(
    place: str | None,
    features: str | None,
    output: Path | str,
    dry_run: bool,
    force: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Look at a collection and write a configuration for it.

    FOLDER holds a collection as it is published (BEIR, MS MARCO, TREC, Pyserini, Hugging Face), may be a zip archive,
    or `ir_datasets:ID`. The options replace what is found there.

    \b
    Example:
      rankcli init scifact
      rankcli init --docs corpus.jsonl --queries queries.jsonl --qrels qrels.txt --output config.yaml
      rankcli init --features rank.train --output ltr.yaml
    """
    from rankcli.verbs.init import init

    said = {key: str(value) if key == "run" else value for key, value in given.items() if value}
    print_result(init(place, said, output, features=features, dry_run=dry_run, force=force), as_json)
