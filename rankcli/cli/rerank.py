"""`rankcli rerank`."""

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
    source,
    topics_option,
)


def mixture(ctx: click.Context, param: click.Parameter, value: str) -> str | float:
    """Check `--mix`."""
    if value in ("auto", "none"):
        return value
    try:
        alpha = float(value)
    except ValueError:
        alpha = -1.0
    if not 0 <= alpha <= 1:
        raise click.BadParameter(f"{value!r} is not auto, none or a number from 0 to 1.", ctx, param)
    return alpha


@click.command(cls=Command)
@click.option("--model", required=True, metavar=MODEL, help="The model; or gs://..., or a hub id.")
@weights_option
@click.option("--docs", callback=source, metavar="PATH", help="Documents: JSONL, TSV or TREC.")
@click.option("--queries", callback=source, metavar="PATH", help="Queries: JSONL, TSV or TREC topics.")
@topics_option
@click.option(
    "--run", type=FILE, help="Candidates, as a TREC run (with --features: scores).  [default: searched as in training]"
)
@click.option(
    "--features", callback=source, metavar="FILE", help="Features, for a model on them: its lists are reranked."
)
@click.option("-o", "--output", type=NEW_FILE, required=True, help="The reranked run.")
@click.option(
    "--depth", type=click.IntRange(min=1), help="Candidates scored per query; the rest follow.  [default: all]"
)
@click.option(
    "--split",
    type=click.Choice(["train", "dev", "test"]),
    default="test",
    show_default=True,
    help="Part of the run directory's own data.",
)
@click.option(
    "--mix",
    callback=mixture,
    default="none",
    show_default=True,
    metavar="auto|none|ALPHA",
    help="Mix in the first stage: ALPHA is the weight of the reranker; auto takes mixture or weight of the training.",
)
@click.option("--probability", is_flag=True, help="Write probabilities of relevance, of the scored documents alone.")
@evalbatch_option
@amp_option
@strategy_option
@force_option
@json_option
@common_options
def command(run: Path | str | None, as_json: bool, **options: Any) -> None:
    """Rerank a TREC run with a trained model.

    Without --docs, --queries and --run, a run directory reranks the candidates of its own --split. Without --run alone,
    queries are searched as those of the training were. They come in the order of the run; one of any length takes the
    same memory. With --mix auto, the mixture is that which `train` measures as mixed or, without signals, as
    interpolated. A FILE of features is read as the run directory's own are; if scores of a run are one of them, --run
    gives those of the FILE's documents.

    \b
    Example:
      rankcli rerank --model runs/config --output test.run
      rankcli rerank --model runs/config --mix auto --output interpolated.run
      rankcli rerank --model runs/config --docs corpus.jsonl --queries queries.jsonl --mix auto --output mixed.run
      rankcli rerank --model runs/config --docs corpus.jsonl --queries queries.jsonl --run bm25.run --output out.run
      rankcli rerank --model runs/ltr --features new.txt --output ltr.run
    """
    from rankcli.verbs.rerank import rerank

    print_result(rerank(run=str(run) if run else None, **options), as_json)
