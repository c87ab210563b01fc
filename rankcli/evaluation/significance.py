"""Significance tests of the difference between two systems, over the per-query values of one metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FLIPS, SEED = 10_000, 0
_BLOCK = 500  # rows of signs drawn at a time, so that thousands of queries take little memory


@dataclass(frozen=True, slots=True)
class PairedTest:
    """A system against a baseline on one metric, over the same queries.

    `p` is of the two-sided paired t-test, `p_rand` of the randomisation test, `p_holm` is `p` adjusted for the number
    of metrics compared together; `wins`, `ties` and `losses` count queries.
    """

    mean: float
    baseline: float
    p: float
    p_rand: float
    p_holm: float
    wins: int
    ties: int
    losses: int

    @property
    def delta(self) -> float:
        """The system's mean minus the baseline's."""
        return self.mean - self.baseline


def compare(
    system: Mapping[str, Mapping[str, float]], baseline: Mapping[str, Mapping[str, float]]
) -> dict[str, PairedTest]:
    """Compare `evaluate`'s values of two systems, metric by metric; Holm's adjustment is over all of these metrics."""
    pairs = {}
    for metric, values in system.items():
        qids = sorted(values)
        pairs[metric] = np.array([values[qid] for qid in qids]), np.array([baseline[metric][qid] for qid in qids])
    p_values = [t_test(*pair) for pair in pairs.values()]
    return {
        metric: _comparison(*pair, p, p_holm)
        for (metric, pair), p, p_holm in zip(pairs.items(), p_values, holm(p_values), strict=True)
    }


def _comparison(
    system: npt.NDArray[np.float64], baseline: npt.NDArray[np.float64], p: float, p_holm: float
) -> PairedTest:
    return PairedTest(
        mean=float(system.mean()),
        baseline=float(baseline.mean()),
        p=p,
        p_rand=sign_flip_test(system, baseline),
        p_holm=p_holm,
        wins=int((system > baseline).sum()),
        ties=int((system == baseline).sum()),
        losses=int((system < baseline).sum()),
    )


def t_test(system: npt.ArrayLike, baseline: npt.ArrayLike) -> float:
    """Two-sided p of the paired t-test over values of the same queries, [n] each.

    1 if there is nothing to test: a single query, or no difference at all. 0 if all differ by the same amount.
    """
    from scipy.special import stdtr

    d = np.asarray(system, np.float64) - np.asarray(baseline, np.float64)
    if d.size < 2 or not d.any():
        return 1.0
    if (d == d[0]).all():
        return 0.0
    t = d.mean() / (d.std(ddof=1) / np.sqrt(d.size))
    return float(2 * stdtr(d.size - 1, -abs(t)))


def sign_flip_test(system: npt.ArrayLike, baseline: npt.ArrayLike, *, flips: int = FLIPS, seed: int = SEED) -> float:
    """Two-sided p of Fisher's randomisation test over values of the same queries, [n] each.

    p is the share of draws whose mean difference is at least as far from 0 as the observed one, if the sign of each
    difference is drawn at random. The observed signs count as one draw, so p is never 0. Without differences it is 1.
    """
    d = np.asarray(system, np.float64) - np.asarray(baseline, np.float64)
    d = d[d != 0]  # flipping the sign of 0 changes nothing
    reached = abs(d.sum()) - 1e-9 * np.abs(d).sum()  # equal sums may differ by rounding
    generator = np.random.default_rng(seed)
    as_far = 0
    for start in range(0, flips, _BLOCK):
        signs = generator.integers(0, 2, (min(_BLOCK, flips - start), d.size), np.int8) * 2 - 1
        as_far += int((np.abs(signs @ d) >= reached).sum())
    return (as_far + 1) / (flips + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: the smallest p times m, the next times m - 1, ...; never decreasing, at most 1."""
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for step, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[index]))
        adjusted[index] = highest
    return adjusted
