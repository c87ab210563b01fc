"""Significance tests against scipy, exact enumeration and worked examples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from rankcli.evaluation.significance import compare, holm, sign_flip_test, t_test


@pytest.mark.parametrize("seed", range(5))
def test_t_test_equals_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = rng.random(20 + seed), rng.random(20 + seed)
    assert t_test(ours, theirs) == pytest.approx(stats.ttest_rel(ours, theirs).pvalue, rel=1e-9)


def test_t_test_without_anything_to_test() -> None:
    assert t_test([0.5, 0.2, 0.1], [0.5, 0.2, 0.1]) == 1.0
    assert t_test([0.5], [0.2]) == 1.0
    assert t_test([0.75, 0.5], [0.5, 0.25]) == 0.0


@pytest.mark.parametrize("differences", [[0.3, -0.1, 0.2, 0.4], [0.1, 0.1, 0.1, 0.1, 0.1], [0.5, -0.5, 0.25, 0.0]])
def test_sign_flips_approach_the_exact_p_of_all_sign_assignments(differences: list[float]) -> None:
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=len(differences))]
    exact = np.mean([total >= abs(sum(differences)) - 1e-12 for total in sums])
    assert sign_flip_test(differences, np.zeros(len(differences))) == pytest.approx(exact, abs=0.015)


def test_sign_flips_are_the_same_every_time_and_never_zero() -> None:
    ours, theirs = np.linspace(0.5, 1, 40), np.zeros(40)
    assert sign_flip_test(ours, theirs) == sign_flip_test(ours, theirs) == 1 / 10_001


def test_sign_flips_without_any_difference() -> None:
    assert sign_flip_test([0.5, 0.2], [0.5, 0.2]) == 1.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_compare_counts_and_adjusts() -> None:
    system = {
        "map": {"1": 0.5, "2": 0.4, "3": 0.3, "4": 0.9},
        "P_5": {"4": 0.2, "3": 0.2, "2": 0.2, "1": 0.2},
    }
    baseline = {
        "map": {"4": 0.6, "3": 0.4, "2": 0.4, "1": 0.2},
        "P_5": {"1": 0.2, "2": 0.2, "3": 0.2, "4": 0.2},
    }
    found = compare(system, baseline)
    assert (found["map"].wins, found["map"].ties, found["map"].losses) == (2, 1, 1)
    assert found["map"].mean == pytest.approx(0.525)
    assert found["map"].delta == pytest.approx(0.125)
    p = stats.ttest_rel([0.5, 0.4, 0.3, 0.9], [0.2, 0.4, 0.4, 0.6]).pvalue
    assert found["map"].p == pytest.approx(p)
    assert found["map"].p_holm == pytest.approx(2 * p)
    assert (found["P_5"].p, found["P_5"].p_rand, found["P_5"].p_holm, found["P_5"].ties) == (1.0, 1.0, 1.0, 4)
