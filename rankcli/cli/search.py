"""`rankcli search`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from rankcli.cli import _complete
from rankcli.cli._command import Command
from rankcli.cli._model import MODEL
from rankcli.cli._options import (
    NEW_FILE,
    common_options,
    force_option,
    json_option,
    print_result,
    source,
    topics_option,
)

DEFAULT = {"k1": 0.9, "b": 0.4}
CHOSEN = (*DEFAULT, "fb_docs", "fb_terms", "fb_original")


@click.command(cls=Command)
@click.option("--docs", callback=source, metavar="PATH", required=True, help="Documents: JSONL, TSV or TREC.")
@click.option("--queries", callback=source, metavar="PATH", required=True, help="Queries: JSONL, TSV or TREC topics.")
@topics_option
@click.option("-o", "--output", type=NEW_FILE, required=True, help="The run.")
@click.option("--dense", metavar=MODEL, help="Search the vectors of this bi-encoder, exactly, in place of BM25.")
@click.option("--k", type=int, help="Documents per query.  [default: 1000]")
@click.option("--k1", type=float, help="How slowly a repeated word stops adding to the score.  [default: 0.9]")
@click.option("--b", type=float, help="Length normalisation, 0 to 1.  [default: 0.4]")
@click.option("--stemmer", help="A Snowball stemmer or `none`.  [default: english]")
@click.option("--stopwords", help="Words to leave out: `english` or `none`.  [default: english]")
@click.option("--feedback", type=click.Choice(["none", "rm3"]), help="Search again with words of the first documents.")
@click.option("--fb-docs", type=int, help="Documents that the words are taken from.  [default: 10]")
@click.option("--fb-terms", type=int, help="Words that are taken.  [default: 10]")
@click.option("--fb-original", type=float, help="Weight of the original query, 0 to 1.  [default: 0.5]")
@click.option("--tune", callback=source, metavar="QRELS", help="Choose k1, b and --fb-* on these judgments.")
@click.option(
    "--metric",
    default="ndcg_cut_10",
    show_default=True,
    shell_complete=_complete.of_metrics,
    help="The measure that --tune makes best.",
)
@force_option
@json_option
@common_options
def command(
    docs: str,
    queries: str,
    output: Path | str,
    tune: str | None,
    dense: str | None,
    metric: str,
    as_json: bool,
    topics: tuple[str, ...],
    **options: Any,
) -> None:
    """Rank documents with BM25 or with vectors, as a first stage.

    \b
    Example:
      rankcli search --docs corpus.jsonl --queries queries.jsonl --output bm25.run --k 1000
      rankcli search --docs corpus.jsonl --queries dev.jsonl --output dev.run --tune dev.txt
      rankcli search --docs corpus.jsonl --queries queries.jsonl --output rm3.run --feedback rm3
      rankcli search --docs corpus.jsonl --queries queries.jsonl --output dense.run --dense runs/config
    """
    said = {name: value for name, value in options.items() if value is not None}
    if dense and (tune or said.keys() - {"k"}):
        raise click.UsageError("--dense has no option but --k: the others are BM25's.")
    if tune and any(options[name] is not None for name in CHOSEN):
        raise click.UsageError("--tune chooses k1, b and --fb-*: leave them out.")
    from rankcli.config.registry import SEARCHERS
    from rankcli.config.validate import component_from

    chosen = {"name": "dense", "pretrained": dense} if dense else {"name": "bm25"}
    searcher = component_from(SEARCHERS, {**chosen, **said}, source="command line")
    from rankcli.storage.places import local_root
    from rankcli.verbs.search import search

    done = search(
        docs,
        queries,
        str(output),
        searcher,
        local_root(),
        fields=topics,
        tune_qrels=tune,
        metric=metric,
    )
    print_result({"result": done, "text": _text(done, output)}, as_json)


def _text(done: Mapping[str, Any], output: Path | str) -> str:
    return (
        f"{_tuned(done)}{output}: {done['lines']} lines for {done['answered']} of {done['queries']} queries, "
        f"{done['documents']} documents, {done['seconds']:.1f} s"
    )


def _tuned(done: Mapping[str, Any]) -> str:
    """Return lines about the tuned settings, and the option of a config that takes them; an empty text without them."""
    if "table" not in done:
        return ""
    rows, chosen = done["table"], {name: done[name] for name in CHOSEN if name in done}
    metric = list(rows[0])[-1]
    best, default = (next(row[metric] for row in rows if row.items() >= at.items()) for at in (chosen, DEFAULT))
    edge = f"{' and '.join(done['edges'])}: at the edge of the {len(rows)} settings tried\n" if done["edges"] else ""
    said = ", ".join(f"{name} {value:g}" for name, value in chosen.items())
    option = ", ".join(f"{name}: {value:g}" for name, value in chosen.items())
    feedback = "feedback: rm3, " if "fb_docs" in chosen else ""
    return (
        f"{said}: {metric} {best:.4f} (default {default:.4f}; {len(rows)} settings tried)\n"
        f"{edge}data: {{run: {{name: bm25, {feedback}{option}}}}}\n"
    )
