"""Putting scores and first stage together, by hand."""

from __future__ import annotations

import numpy as np

from rankcli.data.trec import ranking
from rankcli.evaluation.runs import rerank, top


def test_top_takes_the_best_in_the_order_of_trec_eval() -> None:
    assert top({"q": {"a": 1.0, "b": 2.0, "c": 2.0}}, 2) == {"q": {"c": 2.0, "b": 2.0}}


def test_documents_without_a_score_follow_in_first_stage_order() -> None:
    run = rerank({"q": {"a": 9.0, "b": 8.0, "c": 7.0, "d": 6.0}}, {"q": {"a": -3.0, "b": 5.0}})
    assert ranking(run["q"]) == ("b", "a", "c", "d")
    assert run["q"] == {"b": 5.0, "a": -3.0, "c": -4.0, "d": -5.0}


def test_a_query_without_scores_keeps_its_first_stage() -> None:
    assert rerank({"q": {"a": 1.0, "b": 2.0}}, {}) == {"q": {"a": 1.0, "b": 2.0}}


def test_the_tail_stays_ordered_as_float32_under_huge_scores() -> None:
    first = {"q": {f"d{place:04d}": float(-place) for place in range(1000)}}
    tail = rerank(first, {"q": {"d0000": 3e8}})["q"]
    values = np.array([tail[f"d{place:04d}"] for place in range(1000)], np.float32)
    assert (np.diff(values) < 0).all()
