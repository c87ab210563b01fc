"""Mix the scores of first stage and reranker: (1 - alpha) first + alpha reranked, each scaled to 0..1 per query."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rankcli.data.scales import normalise
from rankcli.evaluation.trec import Qrels, Run, evaluate

ALPHAS = tuple(step / 20 for step in range(21))
_SAME = 1e-9  # a smaller difference of means is only rounding

Scores = dict[str, dict[str, float]]


def interpolate(first: Run, reranked: Run, alpha: float) -> Scores:
    """Mix two runs, with `alpha` the weight of `reranked`, over the documents of either.

    A document that is missing in a run has the lowest score of that run, 0 after scaling.
    """
    return _mix(_scaled(first, reranked), alpha)


def best_alpha(qrels: Qrels, first: Run, reranked: Run, metric: str, relevance_level: int = 1) -> float:
    """The alpha of 0, .05, ... 1 with the highest mean of `metric`; the lowest of equals, which changes the least."""
    scaled = _scaled(first, reranked)
    best, highest = 0.0, -np.inf
    for alpha in ALPHAS:
        values = evaluate(qrels, _mix(scaled, alpha), [metric], relevance_level)[metric]
        mean = float(np.mean(list(values.values())))
        if mean > highest + _SAME:
            best, highest = alpha, mean
    return best


def _scaled(first: Run, reranked: Run) -> dict[str, dict[str, tuple[float, float]]]:
    """Both scores after scaling, by query and document."""
    scaled = {}
    for qid in sorted({*first, *reranked}):
        ours, theirs = normalise(first.get(qid, {})), normalise(reranked.get(qid, {}))
        scaled[qid] = {docid: (ours.get(docid, 0.0), theirs.get(docid, 0.0)) for docid in {**ours, **theirs}}
    return scaled


def _mix(scaled: Mapping[str, Mapping[str, tuple[float, float]]], alpha: float) -> Scores:
    return {
        qid: {docid: (1 - alpha) * first + alpha * reranked for docid, (first, reranked) in by_document.items()}
        for qid, by_document in scaled.items()
    }
