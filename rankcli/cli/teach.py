"""`rankcli teach`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rankcli.cli._command import Command
from rankcli.cli._model import MODEL, amp_option, evalbatch_option, strategy_option, weights_option
from rankcli.cli._options import (
    FILE,
    NEW_FILE,
    common_options,
    force_option,
    json_option,
    print_result,
    shares,
    source,
    topics_option,
)


@click.command(cls=Command)
@click.option("--model", metavar=MODEL, help="A model that scores the pairs of --run.")
@weights_option
@click.option("--docs", callback=source, metavar="PATH", help="Documents, for --model.")
@click.option("--queries", callback=source, metavar="PATH", help="Queries, for --model.")
@topics_option
@click.option("--run", type=FILE, help="The pairs: a TREC run, or rows of `rankcli mine`.")
@click.option("--scores", type=FILE, multiple=True, help="A teacher's scores: a run, or JSONL. May repeat.")
@click.option(
    "--scale",
    type=click.Choice(["none", "minmax", "zscore"]),
    default="none",
    show_default=True,
    help="How each teacher's scores of a query are scaled: to 0..1, or to mean 0 and deviation 1.",
)
@click.option(
    "--shares",
    callback=shares,
    metavar="A,B,...",
    help="A factor for each teacher, the model's first, then in the order of --scores.  [default: the mean]",
)
@click.option("-o", "--output", type=NEW_FILE, required=True, help="The scores, as a TREC run.")
@evalbatch_option
@amp_option
@strategy_option
@force_option
@json_option
@common_options
def command(run: Path | str | None, scores: tuple[Path | str, ...], as_json: bool, **options: Any) -> None:
    """Write a teacher's scores for the sampler `scored`: of a model, of files, or of several teachers together.

    A model scores as `rerank` does, and goes on with the same command if it was stopped. A pair that one of the
    teachers did not score is left out.

    \b
    Example:
      rankcli teach --scores reranked.run --scores bm25.run --scale minmax --shares 0.8,0.2 --output teacher.run
    """
    from rankcli.verbs.teach import teach

    print_result(teach(run=str(run) if run else None, scores=[str(path) for path in scores], **options), as_json)
