"""Per-query effectiveness, computed by trec_eval's own code, plus RR@k and ndcg_exp_cut_k from the same judgments.

trec_eval's code crashes on an id that is not valid Unicode, on a cutoff of 0 and on huge grades, scores NaN silently,
and leaves out judged queries that are missing in the run. So all inputs are checked before it runs, and missing queries
are added after.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rankcli.config.metrics import FIX, NDCG_EXP, OURS, RR, unknown_names
from rankcli.data.trec import MAX_GRADE, ranking
from rankcli.errors import ConfigError, DataError

Qrels = Mapping[str, Mapping[str, int]]
Run = Mapping[str, Mapping[str, float]]
PerQuery = dict[str, dict[str, float]]  # metric -> qid -> value


def check_metrics(names: Iterable[str], *, where: str = "") -> None:
    """Raise a ConfigError that lists the metrics that cannot be computed, each with the nearest legal name."""
    if unknown := unknown_names(names):
        raise ConfigError(unknown, where=where, fix=FIX)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Numbers of queries: judged, judged without a retrieved document, not judged but with a retrieved document."""

    judged: int
    missing: int
    unjudged: int


def coverage(qrels: Qrels, run: Run, *, where: str = "") -> Coverage:
    """Count how `qrels` and `run` join; DataError if no query is in both, since every value would be 0."""
    retrieved = {qid for qid, scores in run.items() if scores}
    joined = len(retrieved & qrels.keys())
    if not joined:
        raise DataError(
            f"no judged query has a retrieved document: {len(qrels)} queries in the qrels{_example(qrels)}, "
            f"{len(retrieved)} in the run{_example(retrieved)}",
            where=where,
            fix="check that both files are of one collection and write query ids alike",
        )
    return Coverage(judged=len(qrels), missing=len(qrels) - joined, unjudged=len(retrieved) - joined)


def check_documents(qrels: Qrels, run: Run, *, where: str = "") -> None:
    """DataError if no retrieved document of any query is judged, since every value would be 0."""
    judged = {docid for grades in qrels.values() for docid in grades}
    retrieved = {docid for scores in run.values() for docid in scores}
    if judged.isdisjoint(retrieved):
        raise DataError(
            f"no retrieved document is judged: {len(judged)} documents in the qrels{_example(judged)}, "
            f"{len(retrieved)} in the run{_example(retrieved)}",
            where=where,
            fix="check that both files are of one collection and write document ids alike",
        )


def _example(qids: Iterable[str]) -> str:
    first = min(qids, default=None)
    return "" if first is None else f" (such as {first!r})"


def evaluate(qrels: Qrels, run: Run, metrics: Sequence[str], relevance_level: int = 1) -> PerQuery:
    """The value of every metric for every query of `qrels`, in the order of `metrics` and of sorted query ids.

    A judged query without a retrieved document counts as 0, a query that is not judged is left out. Grades of at least
    `relevance_level` are relevant to the binary measures; nDCG and similar measures take grades as gains, for any
    level. Documents are ranked as in trec_eval: by score in float32, ties by id descending; the order of the dicts does
    not matter. ConfigError for unknown metrics or a level below 1, DataError for bad ids, scores or grades.
    """
    check_metrics(metrics)
    if relevance_level < 1:
        raise ConfigError(f"relevance level {relevance_level} makes unjudged documents relevant", fix="use 1 or more")
    coverage(qrels, run)
    joined = {qid: _scores(qid, run[qid]) for qid in sorted(qrels) if qrels[qid] and run.get(qid)}
    _check_judgments(qrels)
    by_query = _trec_eval({qid: qrels[qid] for qid in joined}, joined, metrics, relevance_level)
    results: PerQuery = {}
    for metric in dict.fromkeys(metrics):
        if metric.startswith(OURS):
            values = {qid: _own(metric, qrels[qid], joined[qid], relevance_level) for qid in joined}
        else:
            values = {qid: by_query[qid][metric] for qid in joined}
        results[metric] = {qid: values.get(qid, 0.0) for qid in sorted(qrels)}
    return results


def reciprocal_rank(grades: Mapping[str, int], scores: Mapping[str, float], k: int, relevance_level: int = 1) -> float:
    """1 / rank of the first of the best `k` documents with a grade of at least `relevance_level`; 0 without one."""
    ranked = ranking(scores)[:k]
    return next((1 / rank for rank, docid in enumerate(ranked, 1) if grades.get(docid, 0) >= relevance_level), 0.0)


def ndcg_exp(grades: Mapping[str, int], scores: Mapping[str, float], k: int) -> float:
    """nDCG of the best `k` documents with gains 2^grade - 1 (Burges et al., ICML 2005), as LightGBM and TF-Ranking
    compute it; 0 without a relevant document. Grades below 0 count as 0, as in trec_eval.
    """
    found = [grades.get(docid, 0) for docid in ranking(scores)[:k]]
    best = _dcg_exp(sorted(grades.values(), reverse=True)[:k])
    return _dcg_exp(found) / best if best else 0.0


def _dcg_exp(grades: Sequence[int]) -> float:
    return sum((2.0 ** max(grade, 0) - 1) / math.log2(rank + 1) for rank, grade in enumerate(grades, 1))


def _own(metric: str, grades: Mapping[str, int], scores: Mapping[str, float], relevance_level: int) -> float:
    """The value of a metric that trec_eval lacks."""
    if metric.startswith(NDCG_EXP):
        return ndcg_exp(grades, scores, int(metric.removeprefix(NDCG_EXP)))
    return reciprocal_rank(grades, scores, int(metric.removeprefix(RR)), relevance_level)


def means(values: PerQuery) -> dict[str, float]:
    """The mean of every metric over its queries."""
    return {metric: float(np.mean(list(by_query.values()))) for metric, by_query in values.items()}


def _trec_eval(qrels: Qrels, run: Run, metrics: Sequence[str], level: int) -> dict[str, dict[str, float]]:
    import pytrec_eval

    named = {metric for metric in metrics if not metric.startswith(OURS)}
    if not named:
        return {}
    # An evaluator keeps state between calls, so each call has its own.
    return dict(pytrec_eval.RelevanceEvaluator(qrels, named, relevance_level=level).evaluate(run))


def _scores(qid: str, scores: Mapping[str, float]) -> dict[str, float]:
    """Return `scores` as plain floats; DataError for ids that are no C strings or scores not finite in float32."""
    where = f"run, query {qid!r}"
    _check_ids([qid, *scores], where)
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.fromiter(scores.values(), np.float64, len(scores)).astype(np.float32))
    if not finite.all():
        docid = list(scores)[int(np.argmin(finite))]
        raise DataError(f"score {scores[docid]} of document {docid!r} is not a finite float32", where=where)
    return {docid: float(score) for docid, score in scores.items()}


def _check_judgments(qrels: Qrels) -> None:
    for qid, grades in qrels.items():
        where = f"qrels, query {qid!r}"
        _check_ids([qid, *grades], where)
        for docid, grade in grades.items():
            if not isinstance(grade, int) or abs(grade) > MAX_GRADE:
                raise DataError(f"grade {grade!r} of document {docid!r} is no int within {MAX_GRADE}", where=where)


def _check_ids(ids: Sequence[str], where: str) -> None:
    text = "\n".join(ids)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"an id holds {text[error.start]!r}, which is no Unicode character", where=where) from error
    if "\0" in text:
        raise DataError("an id holds a NUL character", where=where)
