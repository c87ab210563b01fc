"""Search the queries of a file and write a run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rankcli.config.metrics import canonical, depth_of
from rankcli.data import formats
from rankcli.data.documents import open_store
from rankcli.data.files import check_apart
from rankcli.data.joins import join_queries
from rankcli.data.source import Documents
from rankcli.data.topics import read_judgments, read_topics
from rankcli.data.trec import Run, write_run
from rankcli.evaluation import trec
from rankcli.log import say, warn
from rankcli.runs.candidates import searched, warn_unanswered
from rankcli.searchers.bm25 import BM25
from rankcli.searchers.tune import Tuned


def search(
    docs: str,
    queries: str,
    output: str,
    options: Any,
    scratch: Path,
    *,
    format: formats.Format | None = None,
    fields: Sequence[str] = (),
    tag: str = "rankcli",
    tune_qrels: str | None = None,
    metric: str = "ndcg_cut_10",
    relevance_level: int = 1,
) -> dict[str, Any]:
    """Search every query of a file and write the run.

    Of TREC topics, the chosen `fields` are the query.

    With `tune_qrels`, the k1 and b that are best for `metric` on those judgments replace those of `options`, which must
    then be BM25's. Returns a summary: documents, queries, answered (queries with a result), lines, seconds and, with
    tuning, k1, b and the table of all settings that were tried.
    """
    start = time.monotonic()
    check_apart(output, docs, queries, tune_qrels)
    if tune_qrels is not None:
        metric = canonical(metric)
        trec.check_metrics([metric], where="--metric")
    store = open_store(docs, format, scratch)
    topics = read_topics(queries, format, fields)
    done: dict[str, Any] = {"documents": len(store), "queries": len(topics)}
    if tune_qrels is not None:
        tuned = _tuned(store, topics, tune_qrels, options, metric, relevance_level)
        options = dataclasses.replace(options, **tuned.chosen)
        done |= tuned.chosen
        done["edges"] = tuned.edges
        done["table"] = [{**setting, metric: value} for setting, value in tuned.table]
    run = searched(store, topics, options)
    write_run(output, run, tag)
    warn_unanswered(run, topics)
    answered = sum(bool(found) for found in run.values())
    return done | {"answered": answered, "lines": sum(map(len, run.values())), "seconds": time.monotonic() - start}


def _tuned(
    store: Documents, topics: dict[str, str], path: str, options: BM25, metric: str, relevance_level: int
) -> Tuned:
    qrels = read_judgments(path)
    judged = {qid: qrels[qid] for qid in join_queries(topics, qrels, path)}
    say(f"tuning on {len(judged)} judged queries")
    warn("the tuned settings have seen these judgments: figures on the same queries are inflated")

    def value(run: Run) -> float:
        return trec.means(trec.evaluate(judged, run, [metric], relevance_level))[metric]

    return options.tuned(store, {qid: topics[qid] for qid in sorted(judged)}, value, depth_of(metric))
