"""`rankcli evaluate`."""

from __future__ import annotations

from typing import Any

import click

from rankcli.cli import _complete
from rankcli.cli._command import Command
from rankcli.cli._options import FILE, NEW_FILE, common_options, force_option, json_option, source, to_json


@click.command(cls=Command)
@click.option("--model", metavar="RUN_DIR", help="A finished training: its test queries, judgments, runs and metrics.")
@click.option("--qrels", callback=source, help="Judgments: a file, or `ir_datasets:ID`.  [default: those of --model]")
@click.option("--features", callback=source, metavar="FILE", help="Features with grades, in place of --qrels.")
@click.option("--run", type=FILE, help="The TREC run to evaluate.  [default: the test runs of --model]")
@click.option(
    "--queries",
    metavar="run|qrels|FILE",
    help="The judged queries to evaluate: those of the run, all, or a file of ids.  "
    "[default: the test queries of --model; without it, all]",
)
@click.option("--baseline", type=FILE, help="A run to compare it with.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    shell_complete=_complete.of_metrics,
    help="May repeat.  [default: of --model, or ndcg_cut_10, map, RR@10]",
)
@click.option(
    "--relevance-level", type=click.IntRange(min=1), help="Lowest relevant grade.  [default: that of --model, or 1]"
)
@click.option("--per-query", type=NEW_FILE, metavar="FILE", help="Write each query's values there.")
@force_option
@json_option
@common_options
def command(metrics: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Evaluate a run with trec_eval's measures, alone or against a baseline.

    With --model alone, all stages of a training's test are evaluated: the numbers that `train` printed.

    \b
    Example:
      rankcli evaluate --model runs/config
      rankcli evaluate --model runs/config --run other.run --baseline runs/config/test.run
      rankcli evaluate --qrels qrels.txt --run reranked.run --baseline bm25.run --metric ndcg_cut_10 --metric RR@10
      rankcli evaluate --features rank.test --run ltr.run --metric ndcg_exp_cut_10
    """
    from rankcli.verbs.evaluate import evaluate

    found = evaluate(metrics=metrics, **options)
    click.echo(to_json(found.to_json()) if as_json else found.table())
