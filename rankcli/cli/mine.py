"""`rankcli mine`."""

from __future__ import annotations

import math
import re
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

_RANKS = re.compile(r"([1-9][0-9]{0,8}):([1-9][0-9]{0,8})")
FORMATS = ("ids", "triplet", "n-tuple", "labeled-pair", "labeled-list", "flagembedding", "tevatron")


def _ranks(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int]:
    """Return the numbers of `1:100`."""
    match = _RANKS.fullmatch(value)
    if not match or int(match[1]) > int(match[2]):
        raise click.BadParameter(f"{value!r} is not a first and a last rank, for example 1:100.", ctx, param)
    return int(match[1]), int(match[2])


def _finite(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Refuse `nan` and `inf`."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.", ctx, param)
    return value


@click.command(cls=Command)
@click.option("--qrels", callback=source, required=True, metavar="PATH", help="Judgments.")
@click.option("--run", type=FILE, required=True, help="Candidates, as a TREC run.")
@click.option("--model", metavar=MODEL, help="A model whose scores replace those of the run.")
@weights_option
@click.option("--docs", callback=source, metavar="PATH", help="Documents, for --model and for texts in the output.")
@click.option("--queries", callback=source, metavar="PATH", help="Queries, likewise.")
@topics_option
@click.option("-o", "--output", type=NEW_FILE, required=True, help="The rows, JSONL.")
@click.option(
    "--format",
    type=click.Choice(FORMATS),
    default="ids",
    show_default=True,
    help="ids: for sampler hardnegatives; the others have texts, for other tools.",
)
@click.option(
    "--ranks",
    callback=_ranks,
    default="1:100",
    show_default=True,
    metavar="FIRST:LAST",
    help="Ranks of the run to mine from.",
)
@click.option(
    "--negatives",
    type=click.IntRange(min=1),
    help="At most so many for each relevant document, the best.  [default: all]",
)
@click.option("--seed", type=int, help="Draw --negatives at random, in place of the best.")
@click.option("--judged", is_flag=True, help="Judged documents only.  [default: unjudged ones, too]")
@click.option("--relevance-level", type=int, default=1, show_default=True, help="Lowest grade of a relevant document.")
@click.option("--max-score", type=float, callback=_finite, help="Drop what scores higher.")
@click.option(
    "--margin",
    type=click.FloatRange(min=0),
    callback=_finite,
    help="Drop what scores less than so much below the relevant document.",
)
@click.option(
    "--relative-margin",
    type=click.FloatRange(min=0, max=1, max_open=True),
    callback=_finite,
    help="The same as a share of the relevant document's score.",
)
@evalbatch_option
@amp_option
@strategy_option
@force_option
@json_option
@common_options
def command(
    run: Path | str,
    ranks: tuple[int, int],
    negatives: int | None,
    seed: int | None,
    judged: bool,
    relevance_level: int,
    max_score: float | None,
    margin: float | None,
    relative_margin: float | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Mine hard negatives from a run: candidates that nobody judged relevant, for each relevant document.

    A bound on scores keeps out what may be relevant although nobody judged it. Scores are the run's, or those of a
    model; a mining with a model that was stopped goes on with the same command.

    \b
    Example:
      rankcli mine --qrels qrels.txt --run bm25.run --ranks 5:100 --negatives 20 --output mined.jsonl
    """
    from rankcli.runs.mining import Mining
    from rankcli.samplers.guards import Guards
    from rankcli.verbs.mine import mine

    guards = Guards(max_score=max_score, margin=margin, relative_margin=relative_margin)
    first, last = ranks
    mining = Mining(
        first=first,
        last=last,
        guards=guards,
        most=negatives,
        judged=judged,
        seed=seed,
        relevance_level=relevance_level,
    )
    print_result(mine(run=str(run), options=mining, **options), as_json)
