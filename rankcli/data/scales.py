"""Scales that make the scores of different rankers comparable, query by query."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np


def normalise(scores: Mapping[str, float]) -> dict[str, float]:
    """Min-max of one query's scores: the highest becomes 1, the lowest 0; all 0 if they are equal."""
    low, high = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
    scale = high - low or 1.0
    return {docid: (score - low) / scale for docid, score in scores.items()}


def standardise(scores: Mapping[str, float]) -> dict[str, float]:
    """The scores of one query with mean 0 and standard deviation 1; all 0 if they are equal."""
    values = np.array(list(scores.values()))
    spread = values - values.mean() if len(values) else values
    return dict(zip(scores, (spread / (spread.std() if spread.any() else 1.0)).tolist(), strict=True))


SCALES: dict[str, Callable[[Mapping[str, float]], dict[str, float]]] = {
    "none": dict,
    "minmax": normalise,
    "zscore": standardise,
}
