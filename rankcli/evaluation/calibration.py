"""Probabilities of relevance from scores: a sigmoid that is fitted on judged queries, and how true it is on others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rankcli.evaluation.interpolate import Scores
from rankcli.evaluation.trec import Qrels

Array = npt.NDArray[np.float64]
BINS = 10  # of equal width, from 0 to 1


@dataclass(frozen=True)
class Sigmoid:
    """The probability 1 / (1 + exp(-(slope * score + offset))), higher for higher scores."""

    slope: float
    offset: float

    def __call__(self, scores: Array) -> Array:
        """Return the probabilities of scores."""
        from scipy.special import expit

        return np.asarray(expit(self.slope * scores + self.offset))


def pairs_of(scores: Scores, qrels: Qrels, relevance_level: int) -> tuple[Array, Array]:
    """Return all scores, and 1 for each relevant document, else 0. A document that is not judged is not relevant."""
    found = [
        (score, qrels.get(qid, {}).get(docid, 0) >= relevance_level)
        for qid, own in scores.items()
        for docid, score in own.items()
    ]
    values = np.array(found, np.float64).reshape(-1, 2)
    return values[:, 0], values[:, 1]


def fitted_sigmoid(scores: Array, relevant: Array) -> Sigmoid | None:
    """Return the sigmoid of the highest likelihood (Platt 1999, with his targets); None without both classes.

    With N relevant scores their target is (N + 1) / (N + 2), and 1 / (M + 2) is that of the M others.
    """
    from scipy.optimize import minimize

    count, others = relevant.sum(), (1 - relevant).sum()
    if not count or not others:
        return None
    targets = np.where(relevant > 0, (count + 1) / (count + 2), 1 / (others + 2))
    middle, spread = scores.mean(), scores.std() or 1.0
    scaled = (scores - middle) / spread

    def loss(parts: Array) -> tuple[float, Array]:
        logits = parts[0] * scaled + parts[1]
        away = Sigmoid(1.0, 0.0)(logits) - targets
        value = np.logaddexp(0, logits) - targets * logits
        return float(value.mean()), np.array([away @ scaled, away.sum()]) / len(scores)

    start = np.array([1.0, np.log((count + 1) / (others + 1))])
    bounds = [(0, None), (None, None)]  # a higher score is never less probable
    exact = {"gtol": 1e-9, "ftol": 1e-15}
    slope, offset = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=exact).x
    return Sigmoid(float(slope / spread), float(offset - slope * middle / spread))


def reliability(probabilities: Array, relevant: Array) -> list[dict[str, Any]]:
    """Return the bins that are not empty: pairs, their mean probability and the share that is relevant."""
    places = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    return [
        {
            "from": place / BINS,
            "pairs": int(here.sum()),
            "predicted": float(probabilities[here].mean()),
            "relevant": float(relevant[here].mean()),
        }
        for place in range(BINS)
        if (here := places == place).any()
    ]


def calibration_error(bins: list[dict[str, Any]]) -> float:
    """Return the expected calibration error: the mean of |predicted - relevant| over all pairs, by bins."""
    total = sum(each["pairs"] for each in bins)
    return float(sum(each["pairs"] * abs(each["predicted"] - each["relevant"]) for each in bins) / max(total, 1))


def calibration(
    dev: tuple[Scores, Qrels], test: tuple[Scores, Qrels], relevance_level: int
) -> Mapping[str, Any] | None:
    """Fit a sigmoid on dev, and return it with its error and reliability on test; None where dev cannot teach one."""
    sigmoid = fitted_sigmoid(*pairs_of(*dev, relevance_level))
    if sigmoid is None:
        return None
    scores, relevant = pairs_of(*test, relevance_level)
    bins = reliability(sigmoid(scores), relevant)
    return {"slope": sigmoid.slope, "offset": sigmoid.offset, "error": calibration_error(bins), "bins": bins}
