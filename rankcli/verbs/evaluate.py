"""Evaluate a run file with judgments, alone or compared with a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankcli.data.files import replacing
from rankcli.data.trec import read_qrels, read_run
from rankcli.evaluation.report import Evaluation
from rankcli.evaluation.significance import compare
from rankcli.evaluation.trec import Coverage, PerQuery, Qrels, check_documents, check_metrics, coverage
from rankcli.evaluation.trec import evaluate as evaluate_run
from rankcli.log import warn

METRICS = ("ndcg_cut_10", "map", "RR@10")


def evaluate(
    qrels: str | Path,
    run: str | Path,
    *,
    baseline: str | Path | None = None,
    metrics: Sequence[str] = METRICS,
    relevance_level: int = 1,
    per_query: str | Path | None = None,
) -> Evaluation:
    """Evaluate `run` over all queries of `qrels`, compare it with `baseline`, write each query's values to `per_query`.

    Judged queries that are missing from a run count as 0; queries without judgments are left out. Both give a warning.
    """
    check_metrics(metrics, where="--metric")
    judged = read_qrels(qrels)
    joined, values = _evaluated(judged, run, metrics, relevance_level)
    compared = None
    if baseline is not None:
        compared = compare(values, _evaluated(judged, baseline, metrics, relevance_level)[1])
    if per_query is not None:
        _write_per_query(per_query, values)
    return Evaluation(joined, values, compared)


def _evaluated(
    qrels: Qrels, path: str | Path, metrics: Sequence[str], relevance_level: int
) -> tuple[Coverage, PerQuery]:
    run = read_run(path)
    joined = coverage(qrels, run, where=str(path))
    check_documents(qrels, run, where=str(path))
    if joined.missing:
        warn(f"{path}: {joined.missing} of {joined.judged} judged queries have no retrieved document and count as 0")
    if joined.unjudged:
        warn(f"{path}: {joined.unjudged} queries are not judged and are left out")
    return joined, evaluate_run(qrels, run, metrics, relevance_level)


def _write_per_query(path: str | Path, values: PerQuery) -> None:
    """Write lines `metric <tab> query <tab> value`, as `trec_eval -q` prints them but with more digits."""
    with replacing(path) as stream:
        for metric, by_query in values.items():
            stream.writelines(f"{metric}\t{qid}\t{value:.6f}\n" for qid, value in by_query.items())
