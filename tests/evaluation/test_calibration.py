"""Probabilities from scores: the likeliest sigmoid, and its error on other pairs."""

from __future__ import annotations

import numpy as np
import pytest

from rankcli.evaluation.calibration import (
    Sigmoid,
    calibration,
    calibration_error,
    fitted_sigmoid,
    pairs_of,
    reliability,
)


def drawn(count: int, slope: float = 2.0, offset: float = -1.0) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(3)
    scores = chance.normal(5, 3, count)
    return scores, (chance.random(count) < 1 / (1 + np.exp(-(slope * (scores - 5) + offset)))).astype(float)


def test_the_sigmoid_that_made_the_judgments_is_found() -> None:
    found = fitted_sigmoid(*drawn(200_000))
    assert found is not None
    assert found.slope == pytest.approx(2, rel=0.02) and found.offset == pytest.approx(-11, rel=0.02)
    bins = reliability(found(drawn(50_000)[0]), drawn(50_000)[1])
    assert calibration_error(bins) < 0.01 and sum(each["pairs"] for each in bins) == 50_000


def test_the_gradient_is_zero_at_platts_targets() -> None:
    scores, relevant = drawn(40)
    found = fitted_sigmoid(scores, relevant)
    assert found is not None
    count, others = relevant.sum(), (1 - relevant).sum()
    targets = np.where(relevant > 0, (count + 1) / (count + 2), 1 / (others + 2))
    away = found(scores) - targets
    assert away.sum() == pytest.approx(0, abs=1e-5) and away @ scores == pytest.approx(0, abs=1e-4)


def test_a_higher_score_is_never_less_probable() -> None:
    scores, relevant = drawn(500)
    found = fitted_sigmoid(-scores, relevant)
    assert found is not None and found.slope == 0
    assert found(scores)[0] == pytest.approx((relevant.sum()) / 500, abs=0.01)


def test_reliability_and_error_by_hand() -> None:
    bins = reliability(np.array([0.05, 0.05, 0.95, 1.0]), np.array([0.0, 1.0, 1.0, 1.0]))
    assert [(each["from"], each["pairs"], each["relevant"]) for each in bins] == [(0.0, 2, 0.5), (0.9, 2, 1.0)]
    assert [each["predicted"] for each in bins] == pytest.approx([0.05, 0.975])
    assert calibration_error(bins) == pytest.approx((2 * 0.45 + 2 * 0.025) / 4)
    assert calibration_error([]) == 0


def test_pairs_are_labelled_by_the_relevance_level() -> None:
    scores, relevant = pairs_of({"q": {"a": 3.0, "b": 2.0, "c": 1.0}}, {"q": {"a": 2, "b": 1}}, 2)
    assert scores.tolist() == [3, 2, 1] and relevant.tolist() == [1, 0, 0]
    assert calibration(({"q": {"a": 1.0}}, {}), ({}, {}), 1) is None, "nothing relevant on dev"
    assert Sigmoid(2.0, 1.0)(np.array([-0.5]))[0] == 0.5
