"""`rankcli search`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from rankcli.cli._options import FILE, OUTPUT, debug_option, json_option, print_result, source


@click.command()
@click.option("--docs", callback=source, metavar="PATH", required=True, help="Documents: JSONL, TSV or TREC.")
@click.option("--queries", callback=source, metavar="PATH", required=True, help="Queries: JSONL, TSV or TREC topics.")
@click.option("--output", type=OUTPUT, required=True, help="The run.")
@click.option("--k", type=int, help="Documents per query.  [default: 1000]")
@click.option("--k1", type=float, help="How slowly a repeated word stops adding to the score.  [default: 0.9]")
@click.option("--b", type=float, help="How much long documents are held back.  [default: 0.4]")
@click.option("--stemmer", help="A Snowball stemmer or `none`.  [default: english]")
@click.option("--stopwords", help="Words to leave out: `english` or `none`.  [default: english]")
@click.option("--tune", type=FILE, metavar="QRELS", help="Choose k1 and b on these judgments.")
@click.option("--metric", default="ndcg_cut_10", show_default=True, help="What --tune looks at.")
@json_option
@debug_option
def command(
    docs: str, queries: str, output: Path | str, tune: Path | str | None, metric: str, as_json: bool, **options: Any
) -> None:
    """Rank documents with BM25, as a first stage.

    \b
    Example:
      rankcli search --docs corpus.jsonl --queries queries.jsonl --output bm25.run --k 1000
      rankcli search --docs corpus.jsonl --queries dev.jsonl --output dev.run --tune dev.txt
    """
    from rankcli.config.registry import SEARCHERS
    from rankcli.config.validate import component_from

    said = {name: value for name, value in options.items() if value is not None}
    searcher = component_from(SEARCHERS, {"name": "bm25", **said}, source="command line")
    from rankcli.storage.places import local_root
    from rankcli.verbs.search import search

    done = search(
        docs, queries, str(output), searcher, local_root(), tune_qrels=str(tune) if tune else None, metric=metric
    )
    print_result({"result": done, "text": _text(done, output)}, as_json)


def _text(done: Mapping[str, Any], output: Path | str) -> str:
    tuned = f"k1 {done['k1']}, b {done['b']} (best of {len(done['table'])} settings)\n" if "k1" in done else ""
    return (
        f"{tuned}{output}: {done['lines']} lines for {done['answered']} of {done['queries']} queries, "
        f"{done['documents']} documents, {done['seconds']:.1f} s"
    )
