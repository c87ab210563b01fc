"""Join a first-stage run and new scores of its top documents to one run."""

from __future__ import annotations

from collections.abc import Mapping

from rankcli.data.trec import ranking
from rankcli.evaluation.interpolate import Scores


def top(run: Mapping[str, Mapping[str, float]], depth: int) -> Scores:
    """Each query's first `depth` documents with their scores."""
    return {qid: {docid: scores[docid] for docid in ranking(scores)[:depth]} for qid, scores in run.items()}


def rerank(first: Mapping[str, Mapping[str, float]], scores: Mapping[str, Mapping[str, float]]) -> Scores:
    """Reorder `first` by `scores`; documents without a new score follow in first-stage order, below the lowest of them.

    Nothing is dropped: a query without new scores keeps its first-stage scores.
    """
    run: Scores = {}
    for qid, known in first.items():
        head = scores.get(qid)
        if not head:
            run[qid] = dict(known)
            continue
        lowest = min(head.values())
        tail = [docid for docid in ranking(known) if docid not in head]
        step = max(1.0, abs(lowest) * 2.0**-20)  # scores are compared as float32: a smaller step could make ties
        run[qid] = {**head, **{docid: lowest - step * (place + 1) for place, docid in enumerate(tail)}}
    return run
