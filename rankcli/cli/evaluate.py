"""`rankcli evaluate`."""

from __future__ import annotations

from typing import Any

import click

from rankcli.cli._options import FILE, OUTPUT, debug_option, json_option, to_json


@click.command()
@click.option("--qrels", type=FILE, required=True, help="Judgments.")
@click.option("--run", type=FILE, required=True, help="The TREC run to evaluate.")
@click.option("--baseline", type=FILE, help="A run to compare it with.")
@click.option("--metric", "metrics", multiple=True, help="May repeat.  [default: ndcg_cut_10, map, RR@10]")
@click.option(
    "--relevance-level", type=click.IntRange(min=1), default=1, show_default=True, help="Lowest relevant grade."
)
@click.option("--per-query", type=OUTPUT, metavar="FILE", help="Write each query's values there.")
@json_option
@debug_option
def command(metrics: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Evaluate a run with trec_eval's measures, alone or against a baseline.

    \b
    Example:
      rankcli evaluate --qrels qrels.txt --run reranked.run --baseline bm25.run --metric ndcg_cut_10 --metric RR@10
    """
    from rankcli.verbs.evaluate import METRICS, evaluate

    found = evaluate(metrics=metrics or METRICS, **options)
    click.echo(to_json(found.to_json()) if as_json else found.table())
