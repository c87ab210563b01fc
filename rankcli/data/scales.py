"""Scales that make the scores of different rankers comparable, query by query."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt


def normalise(scores: Mapping[str, float]) -> dict[str, float]:
    """Min-max of one query's scores: the highest becomes 1, the lowest 0; all 0 if they are equal."""
    low, high = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
    scale = high - low or 1.0
    return {docid: (score - low) / scale for docid, score in scores.items()}


def standardise(scores: Mapping[str, float]) -> dict[str, float]:
    """The scores of one query with mean 0 and standard deviation 1; all 0 if they are equal."""
    return dict(zip(scores, standard(np.array(list(scores.values()))).tolist(), strict=True))


def standard(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Values with mean 0 and standard deviation 1; all 0 if they are equal."""
    if not len(values) or (values == values[0]).all():  # a mean that is rounded would leave a spread
        return np.zeros(len(values))
    spread = values - values.mean()
    return np.asarray(spread / spread.std())


SCALES: dict[str, Callable[[Mapping[str, float]], dict[str, float]]] = {
    "none": dict,
    "minmax": normalise,
    "zscore": standardise,
}
