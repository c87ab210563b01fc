"""Interpolated scores and the choice of alpha, by hand."""

from __future__ import annotations

import pytest

from rankcli.data.scales import normalise
from rankcli.evaluation.interpolate import ALPHAS, best_alpha, interpolate


def test_normalise_scales_to_zero_and_one() -> None:
    assert normalise({"a": -1.0, "b": 3.0, "c": 1.0}) == {"a": 0.0, "b": 1.0, "c": 0.5}
    assert normalise({"a": 7.0, "b": 7.0}) == {"a": 0.0, "b": 0.0}
    assert normalise({}) == {}


def test_interpolate_by_hand() -> None:
    first = {"q": {"a": 10.0, "b": 5.0, "c": 0.0}}
    reranked = {"q": {"a": -2.0, "b": 2.0, "d": 0.0}}
    mixed = interpolate(first, reranked, 0.25)
    assert mixed == {"q": pytest.approx({"a": 0.75, "b": 0.625, "c": 0.0, "d": 0.125})}


def test_a_query_of_one_run_only_keeps_its_order() -> None:
    mixed = interpolate({"1": {"a": 1.0, "b": 2.0}}, {"2": {"a": 4.0, "b": 2.0}}, 0.5)
    assert mixed == {"1": {"a": 0.0, "b": 0.5}, "2": {"a": 0.5, "b": 0.0}}


def test_alphas_are_steps_of_a_twentieth() -> None:
    assert len(ALPHAS) == 21
    assert ALPHAS[:3] == (0.0, 0.05, 0.1)
    assert ALPHAS[-1] == 1.0


def test_best_alpha_is_the_least_that_gives_the_best_value() -> None:
    qrels = {"q": {"b": 1}}
    first = {"q": {"a": 1.0, "b": 0.5, "c": 0.0}}
    reranked = {"q": {"a": 0.0, "b": 1.0, "c": 0.5}}
    # b passes a where (1 - x) / 2 + x > 1 - x, so above 1/3; every higher alpha is as good.
    assert best_alpha(qrels, first, reranked, "RR@10") == 0.35


def test_best_alpha_changes_nothing_where_nothing_is_gained() -> None:
    run = {"q": {"a": 1.0, "b": 0.5}}
    assert best_alpha({"q": {"a": 1}}, run, {"q": {"a": 0.9, "b": 0.1}}, "map") == 0.0


def test_best_alpha_may_be_the_reranker_alone() -> None:
    qrels = {"q": {"b": 1}}
    first, reranked = {"q": {"a": 1.0, "b": 0.0}}, {"q": {"a": 0.0, "b": 1.0}}
    assert best_alpha(qrels, first, reranked, "map") == 0.5  # at 1/2 they tie, and ties rank b first
    assert best_alpha({"q": {"a": 1}}, {"q": {"a": 0.0, "b": 1.0}}, {"q": {"a": 1.0, "b": 0.0}}, "map") == 0.55


def test_best_alpha_heeds_the_relevance_level() -> None:
    qrels = {"q": {"a": 1, "b": 2}}
    first, reranked = {"q": {"a": 1.0, "b": 0.0}}, {"q": {"a": 0.0, "b": 1.0}}
    assert best_alpha(qrels, first, reranked, "RR@10") == 0.0
    assert best_alpha(qrels, first, reranked, "RR@10", relevance_level=2) == 0.5
