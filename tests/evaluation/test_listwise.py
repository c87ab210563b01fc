"""A linear mixture: its gradient, its optimum, and the choice of how strongly weights are held."""

from __future__ import annotations

import numpy as np
import pytest

from rankcli.evaluation.listwise import GRID, Lists, chosen_l2, fitted, loss

PRIOR = np.array([1.0, 0.0, 0.5])


def made(seed: int = 3, queries: int = 7) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Lists of different lengths; the first has no relevant document."""
    draw = np.random.default_rng(seed)
    features = [draw.normal(size=(4 + n % 3, 3)) for n in range(queries)]
    grades = [draw.integers(0, 3, len(x)).astype(float) for x in features]
    grades[0][:] = 0
    for each in grades[1:]:
        each[0] = 2
    return features, grades


def by_hand(weights: np.ndarray, features: list[np.ndarray], grades: list[np.ndarray], l2: float) -> float:
    """The loss, query by query."""
    found = []
    for x, y in zip(features, grades, strict=True):
        if y.sum():
            p = np.exp(x @ weights) / np.exp(x @ weights).sum()
            found.append(-(y / y.sum() * np.log(p)).sum())
    return float(np.mean(found) + l2 * ((weights - PRIOR) ** 2).sum())


def test_the_loss_is_the_formula_and_its_gradient_that_of_differences() -> None:
    features, grades = made()
    lists, weights = Lists.of(features, grades), np.array([0.3, -0.7, 1.1])
    assert len(lists.used) == 6
    value, gradient = loss(weights, lists, 0.05, PRIOR)
    assert value == pytest.approx(by_hand(weights, features, grades, 0.05), rel=1e-12)
    for n, step in enumerate(np.eye(3) * 1e-6):
        ends = [by_hand(weights + sign * step, features, grades, 0.05) for sign in (1, -1)]
        assert gradient[n] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-8)


def test_high_scores_do_not_overflow() -> None:
    lists = Lists.of([np.array([[1000.0], [-1000.0]])], [np.array([0.0, 1.0])])
    value, gradient = loss(np.array([1.0]), lists, 0.0, np.zeros(1))
    assert value == 2000 and gradient.tolist() == [2000]


def test_weights_are_the_optimum_that_newtons_method_finds() -> None:
    features, grades = made()
    kept = [(x, y / y.sum()) for x, y in zip(features, grades, strict=True) if y.sum()]
    weights = np.zeros(3)
    for _ in range(30):
        gradient, hessian = 0.1 * 2 * (weights - PRIOR), np.eye(3) * 0.2
        for x, share in kept:
            p = np.exp(x @ weights) / np.exp(x @ weights).sum()
            gradient = gradient + x.T @ (p - share) / len(kept)
            hessian = hessian + x.T @ (np.diag(p) - np.outer(p, p)) @ x / len(kept)
        weights = weights - np.linalg.solve(hessian, gradient)
    found = fitted(Lists.of(features, grades), 0.1, PRIOR)
    assert found == pytest.approx(weights, abs=1e-6)
    assert found.tolist() == fitted(Lists.of(features, grades), 0.1, PRIOR).tolist()
    assert fitted(Lists.of(features, grades), 1e6, PRIOR) == pytest.approx(PRIOR, abs=1e-5)


def test_the_l2_that_measures_best_on_held_out_queries_is_chosen() -> None:
    features, grades = (dict(zip("abcdefg", each, strict=True)) for each in made())
    sizes = []

    def value(scores: dict[str, np.ndarray]) -> float:
        sizes.append({qid: len(each) for qid, each in scores.items()})
        return 1.0 if len(sizes) in (3, 5) else 0.0

    l2, table = chosen_l2(features, grades, PRIOR, value)
    assert l2 == GRID[4] and list(table) == list(GRID), "of equal ones the highest"
    assert sizes[0] == {qid: len(each) for qid, each in features.items()}


def test_no_query_is_scored_by_weights_that_have_seen_it() -> None:
    features, grades = (dict(zip("abcdefg", each, strict=True)) for each in made())
    seen: list[dict[str, np.ndarray]] = []
    chosen_l2(features, grades, PRIOR, lambda scores: seen.append(scores) or 0.0)  # type: ignore[func-returns-value]
    other = {**grades, "c": grades["c"][::-1]}
    again: list[dict[str, np.ndarray]] = []
    chosen_l2(features, other, PRIOR, lambda scores: again.append(scores) or 0.0)  # type: ignore[func-returns-value]
    assert seen[0]["c"].tolist() == again[0]["c"].tolist()
    assert any(seen[0][qid].tolist() != again[0][qid].tolist() for qid in features)
